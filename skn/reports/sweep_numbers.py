"""The numbers in the figures of a sweep, in long form: a row for each drawn cell, point or square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skn.reports.numbers import Numbers
from skn.reports.sweep_data import Grid
from skn.reports.sweep_figures import Curve

THIRDS = {1: "top", -1: "bottom", 0: None}


def of_grid(grid: Grid) -> Numbers:
    """A row for each cell. A cell that is not done has only its state."""
    unknown = np.full((*grid.accuracy.shape, 2), np.nan)
    ends = (unknown if grid.interval is None else grid.interval).tolist()
    rows = [
        [task, seed, grid.state[r][c], grid.accuracy[r, c].item(), *ends[r][c]]
        for r, task in enumerate(grid.tasks)
        for c, seed in enumerate(grid.seeds)
    ]
    header = ["task", "seed", "state", "validation_accuracy", "validation_accuracy_low", "validation_accuracy_high"]
    return Numbers(header, rows)


def of_masked(curves: Sequence[Curve]) -> Numbers:
    """A row for each attribute and k. The random ends are the ends of the band."""
    header = ["attribute", "top", "cells", "nothing_masked", "top_masked", "random_mean", "random_low", "random_high"]
    rows = []
    for curve in curves:
        lines = np.transpose([curve.unmasked, curve.masked, curve.random, curve.low, curve.high]).tolist()
        for top, cells, values in zip(curve.top, curve.cells, lines, strict=True):
            rows.append([curve.attribute, top, cells, *values])
    return Numbers(header, rows)


def of_drop(drop: np.ndarray, emotions: Sequence[str], tests: Sequence[dict[str, Any]], apart: np.ndarray) -> Numbers:
    """A row for each emotion and attribute: ``drop`` and ``apart`` are [emotion, test], with one test for each
    attribute.

    ``third`` says whether the emotion is in the top or the bottom third of the emotions that the attribute sets apart.
    """
    rows = [
        [emotion, test["attribute"], test["top"], drop[r, c].item(), THIRDS[apart[r, c]]]
        for r, emotion in enumerate(emotions)
        for c, test in enumerate(tests)
    ]
    return Numbers(["emotion", "attribute", "top", "drop", "third"], rows)
