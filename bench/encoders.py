"""What the benchmarks of the encoder share: a plain call, whether contestants agree, and the number of operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from contest import Contestant, Missing, Sample
from torch import Tensor, nn


def eager(model: nn.Module, ids: Tensor) -> Callable[[], Tensor]:
    """Plain modules; the head scores only the label words at the scored position."""
    return lambda: model.backbone.scores(model.assemble(ids, torch.ones_like(ids), None), model.label_ids)


def agree(contestants: dict[str, Contestant], exact: Callable[[], Tensor], tolerance: Callable[[str], float]) -> None:
    """Check that the scores of each contestant are those of ``exact``.

    :param tolerance: from a contestant's name to the largest error, over the largest score.
    """
    expected = exact().float().numpy()
    for name, contestant in contestants.items():
        if isinstance(contestant, Missing):
            continue
        found = contestant.call() if isinstance(contestant, Sample) else contestant()
        error = np.abs(_array(found) - expected).max() / np.abs(expected).max()
        assert error < tolerance(name), f"{name} is off by {error}"


def _array(found: Tensor | np.ndarray) -> np.ndarray:
    return found.float().numpy() if isinstance(found, Tensor) else np.asarray(found)


def operations(model: nn.Module, batch: int, length: int) -> float:
    """Count multiplications and additions of the packed encoder on ``batch`` texts of ``length`` rows, prompt included.

    After keys and values, the last layer has one row for each text.
    """
    hidden, rows = model.backbone.hidden_size, batch * length
    total = 0.0
    for site in model.backbone.ffn_sites:
        read = batch if site is model.backbone.ffn_sites[-1] else rows
        projections = 4 * rows * hidden * hidden + 4 * read * hidden * hidden
        total += projections + 4 * read * length * hidden + 4 * read * hidden * site.width
    return total
