"""Statistics → predictivity → neuron sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skn.commands import parse
from skn.errors import InputError
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.selection import (
    Contrast,
    aggregate,
    balanced_accuracy,
    carried_over,
    cut,
    default_contrasts,
    keep_count,
    plain_accuracy,
    predictivity,
    random_like,
    rank,
    unite,
)
from skn.seeds import generator


def random_hits(classes=3, seed=0):
    """Predictions [N, L, P, F] and labels, with their hits and count."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, 60)
    exceeds = rng.random((60, 2, 3, 5)) < 0.4
    hits = torch.tensor(np.stack([exceeds[label == c].sum(0) for c in range(classes)]))
    return exceeds, label, hits, torch.tensor(np.bincount(label, minlength=classes))


@pytest.mark.parametrize("contrast", [Contrast((1,), (0,)), Contrast((2,), (0, 1)), Contrast((0, 2), (1,))])
def test_accuracies_equal_their_definition(contrast):
    exceeds, label, hits, count = random_hits()
    positive, negative = np.isin(label, contrast.positive), np.isin(label, contrast.negative)
    balanced = (exceeds[positive].mean(0) + (~exceeds[negative]).mean(0)) / 2
    np.testing.assert_allclose(balanced_accuracy(hits, count, contrast), balanced, rtol=1e-14)
    used = positive | negative
    plain = (exceeds[used] == positive[used, None, None, None]).mean(0)
    np.testing.assert_allclose(plain_accuracy(hits, count, contrast), plain, rtol=1e-14)
    np.testing.assert_allclose(predictivity(torch.tensor(plain)), np.maximum(plain, 1 - plain).max(1), rtol=1e-14)


def test_plain_accuracy_calls_a_dead_neuron_predictive_of_a_rare_class_and_ours_does_not():
    hits, count = torch.zeros(2, 1, 1, 1, dtype=torch.int64), torch.tensor([95, 5])
    contrast = default_contrasts(2)[0]
    assert plain_accuracy(hits, count, contrast).item() == 0.95
    assert balanced_accuracy(hits, count, contrast).item() == 0.5


def test_contrasts():
    assert [str(c) for c in default_contrasts(2)] == ["1:0"]
    assert [str(c) for c in default_contrasts(3)] == ["0:1,2", "1:0,2", "2:0,1"]
    assert Contrast(*parse.contrast("2:rest")).among(4) == Contrast((2,), (0, 1, 3))
    for bad in ("1", "1:1", "5:0", ":0", "a:b", "1:"):
        with pytest.raises(InputError, match="contrasts="):
            Contrast(*parse.contrast(bad)).among(3)


def test_absent_class_is_refused():
    with pytest.raises(InputError, match="0 positive"):
        balanced_accuracy(torch.zeros(2, 1, 1, 1, dtype=torch.int64), torch.tensor([4, 0]), Contrast((1,), (0,)))


def test_the_best_of_all_layers_are_the_same_however_many_are_asked_for():
    score = torch.tensor([0.5, 0.7, 0.6, float("nan")])[torch.arange(1200) % 4].reshape(3, 400).double()
    neurons = NeuronSets(score=score)
    known = [divmod(i, 400) for i in range(1200) if i % 4 != 3]
    expected = sorted(known, key=lambda neuron: (-score[neuron].item(), neuron))
    for count in (1, 10, 12, 301, 5000):
        assert neurons.best(count) == expected[:count]


def test_aggregate():
    scores = [torch.tensor([[0.5, 0.9]]), torch.tensor([[0.7, 0.6]])]
    torch.testing.assert_close(aggregate(scores, "mean"), torch.tensor([[0.6, 0.75]]))
    torch.testing.assert_close(aggregate(scores, "min"), torch.tensor([[0.5, 0.6]]))


def test_rank_breaks_ties_by_index_and_puts_nan_last_and_absent_out():
    score = torch.tensor([[0.6, torch.nan, 0.9, 0.6, 0.8]])
    present = torch.tensor([[True, True, True, True, False]])
    assert rank(score, present).tolist() == [[1, 3, 0, 2, -1]]


@given(st.integers(1, 200), st.floats(0, 1))
def test_cut_takes_the_best_share(width, fraction):
    score = torch.rand(2, width, generator=torch.Generator().manual_seed(width))
    ranks = rank(score, torch.ones(2, width, dtype=torch.bool))
    chosen = cut(ranks, fraction, range(1))
    assert chosen[0].sum() == keep_count(fraction, width) and chosen[1].sum() == 0
    if chosen[0].any() and not chosen[0].all():
        assert score[0][chosen[0]].min() >= score[0][~chosen[0]].max()


def test_fraction_survives_float_rounding():
    assert keep_count(0.29, 100) == 29 and keep_count(0.02, 3072) == 61


def test_unite_gives_equal_shares_at_every_cut():
    """The original: the first task's best p, then the second task's best that are not yet chosen, until 2p."""
    torch.manual_seed(0)
    first, second = (rank(torch.rand(1, 50), torch.ones(1, 50, dtype=torch.bool)) for _ in range(2))
    united = unite([first, second])
    assert sorted(united[0].tolist()) == list(range(50))
    for size in range(51):
        chosen = set((united[0] < size).nonzero()[:, 0].tolist())
        shares = [max((int(r[0, n]) for n in chosen), default=-1) for r in (first, second)]
        depth = next(
            k
            for k in range(51)
            if len({n for r in (first, second) for n in (r[0] < k).nonzero()[:, 0].tolist()}) >= size
        )
        everyone = {n for r in (first, second) for n in (r[0] < depth).nonzero()[:, 0].tolist()}
        assert chosen <= everyone and len(chosen) == size, (size, shares)


def test_random_controls_match_and_are_keyed():
    chosen = torch.zeros(3, 40, dtype=torch.bool)
    chosen[0, :4], chosen[2, :9] = True, True
    present = torch.ones_like(chosen)
    present[2, 20:] = False
    draws = [random_like(chosen, present, generator(0, "control", i)) for i in range(30)]
    assert all(d.sum(1).tolist() == [4, 0, 9] and not (d & ~present).any() for d in draws)
    assert torch.equal(draws[3], random_like(chosen, present, generator(0, "control", 3)))
    assert len({tuple(d.flatten().tolist()) for d in draws}) == 30
    assert torch.stack(draws)[:, 0].any(0).float().mean() > 0.8  # every neuron can be drawn


def test_carried_over_reads_the_other_split_as_the_first_one_says():
    chosen = torch.tensor([0.4, 0.1, 0.7]).reshape(1, 1, 3, 1)  # best: position 1, where it says the opposite
    other = torch.tensor([0.9, 0.35, 0.8]).reshape(1, 1, 3, 1)
    assert carried_over(chosen, other, [(0, 0)]) == [pytest.approx(0.65)]


def test_fractions_on_the_command_line():
    assert parse.fractions("0.1,0.2") == [0.1, 0.2] and parse.fractions("0.3,0.0:0.2:0.1") == [0.3, 0.0, 0.1, 0.2]
