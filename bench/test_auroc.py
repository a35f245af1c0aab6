"""Areas under the ROC curve of every column, exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contest import Sample, Work
from sklearn.metrics import roc_auc_score

from skn import ops
from skn.ops import reference_auroc

EXAMPLES, COLUMNS = 10_000, 4096
SKLEARN, TORCH = 8, 256  # the numbers of columns for scikit-learn and torch, because all columns would take minutes


@pytest.mark.parametrize("classes", [2, 6])
def test_auroc(contest, classes):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(EXAMPLES, COLUMNS, generator=generator)
    labels = torch.randint(classes, (EXAMPLES,), generator=generator)
    few, some = values[:, :SKLEARN].double().numpy().T.copy(), values[:, :TORCH].contiguous()
    sides = [(labels == c).numpy() for c in range(classes)]

    def sklearn():
        if classes == 2:  # the other area is one less this
            one = np.array([roc_auc_score(sides[1], column) for column in few])
            return np.stack([1 - one, one])
        return np.array([[roc_auc_score(side, column) for column in few] for side in sides])

    def in_torch():
        return reference_auroc.auroc(some, labels, classes)

    found = ops.auroc(values, labels, classes)[0]
    np.testing.assert_allclose(found[:, :SKLEARN].numpy(), sklearn(), rtol=0, atol=1e-12)
    assert torch.equal(found[:, :TORCH], in_torch()[0])
    contest(
        f"auroc, {classes} classes",
        {
            "skn": lambda: ops.auroc(values, labels, classes),
            "scikit-learn": Sample(sklearn, COLUMNS / SKLEARN),
            "torch.sort": Sample(in_torch, COLUMNS / TORCH),
        },
        f"areas of {COLUMNS:,} columns of {EXAMPLES:,} examples, float32, each of {classes} classes against the rest; "
        f"scikit-learn on {SKLEARN} columns, one at a time, and torch on {TORCH}, both scaled up",
        Work(bytes=values.nbytes),
        targets={"scikit-learn": 100},
    )
