"""What the engine says of class scores."""

from __future__ import annotations

import itertools

import pytest
import torch

from skn.inference.measures import accuracy, auc


def pairs_won(score, positive):
    """The definition: the share of (positive, negative) pairs in which the positive scores higher, ties half."""
    wins = [
        float(score[i] > score[j]) + 0.5 * float(score[i] == score[j])
        for i, j in itertools.product(range(len(score)), repeat=2)
        if positive[i] and not positive[j]
    ]
    return sum(wins) / len(wins)


def drawn(classes, rows=40):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randint(-3, 4, (rows, classes), generator=generator).float()  # integers, so that some tie
    return logits, torch.randint(0, classes, (rows,), generator=generator)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_auc_is_the_share_of_pairs_won(classes):
    logits, label = drawn(classes)
    others = logits.sum(1, keepdim=True) - logits
    margin = logits * (classes - 1) - others
    expected = [pairs_won(margin[:, c].tolist(), (label == c).tolist()) for c in range(classes)]
    assert auc(logits, label) == pytest.approx(sum(expected) / classes, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_shift_of_a_class_changes_accuracy_and_not_auc(classes):
    logits, label = drawn(classes)
    shifted = logits + torch.tensor([50.0] + [0.0] * (classes - 1))
    assert auc(shifted, label) == auc(logits, label)
    assert accuracy(shifted, label) == (label == 0).double().mean() != accuracy(logits, label)


def test_auc_of_perfect_reversed_and_absent_classes():
    label = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[2.0, 0], [1, 0], [0, 1], [0, 2]])
    assert auc(logits, label) == 1.0 and auc(-logits, label) == 0.0
    assert auc(torch.zeros(4, 2), label) == 0.5
    assert auc(logits, torch.zeros(4, dtype=torch.int64)) is None
    three = torch.cat([logits, torch.full((4, 1), -9.0)], dim=1)
    assert auc(three, label) == 1.0  # the absent class has no area of its own
