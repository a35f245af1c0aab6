"""How much more accuracy a mask costs than random masks of the same size, and whether it costs one task more than another.

The examples of a split are a sample, so they give the interval of one drop. The random sets are no sample of anything
in question: how many are drawn is ours to choose. They answer another question: how many sets that were drawn without
looking at a task tell two tasks apart as far as the chosen set does?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skn.intervals import paired_interval

ROUNDING = 1e-12  # differences that differ by less count as equal


def excess_drop(right: np.ndarray, random: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The mean accuracy under random masks less the accuracy under the mask, and its 95% interval over the examples.

    ``right`` [N] bool says which examples are right under the mask, ``random`` [draws, N] bool under each random mask.
    """
    each = random.mean(axis=0) - right
    return float(random.mean(axis=1).mean() - right.mean()), paired_interval(each)


@dataclass(frozen=True)
class Harmed:
    """Accuracies of one task: under the mask, under each random mask, and how far the unmasked model is above guessing."""

    accuracy: float
    draws: Sequence[float]
    above_guessing: float


def on_less_off(on: Harmed, off: Harmed) -> tuple[float, float]:
    """Return D and its p.

    D is the excess drop of the task ``on`` less that of the task ``off``, each as a share of what the unmasked model
    reaches above guessing. ``draws`` of both tasks are the same random sets in the same order. p is the share of all
    sets, the chosen one and the random ones, whose D is at least the chosen one's; so p is never below 1 / (draws + 1).
    """
    chosen, *drawn = np.subtract(_excess(on), _excess(off))
    reached = int(np.sum(np.array(drawn) >= chosen - ROUNDING))
    return float(chosen), (1 + reached) / (1 + len(drawn))


def _excess(task: Harmed) -> np.ndarray:
    """[1 + draws]: the excess drop of the chosen set, and of each random set, as a share of the unmasked skill."""
    return (np.mean(task.draws) - np.array([task.accuracy, *task.draws])) / task.above_guessing
