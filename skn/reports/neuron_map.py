"""A map with a point for each neuron, layer by layer, the best neuron of a layer first.

The page's script shows the value under the pointer from these numbers.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from skn.neurons.significance import LEVEL
from skn.reports.run_data import FamilyWise

STEPS = 10_000  # a score is stored in steps of 0.01%, in 16 bits
ABSENT = 65_535


@dataclass(frozen=True)
class NeuronMap:
    """Scores [L, F] from 0 to 1, NaN without a neuron, and the name of the scores. ``family`` marks the neurons beyond
    chance.
    """

    score: np.ndarray
    what: str
    family: FamilyWise | None = None

    @property
    def layers(self) -> int:
        return self.score.shape[0]

    @property
    def width(self) -> int:
        return self.score.shape[1]

    @property
    def row_height(self) -> int:
        """The pixels of a layer.

        The pixels do not depend on the number of neurons, because the page stretches only the width of the map.
        """
        return round(max(6, min(24, 360 / self.layers)))

    @property
    def highest(self) -> float:
        """The score with the darkest colour. 50%, a coin's accuracy, has the lightest colour."""
        return max(float(np.nan_to_num(self.score).max(initial=0.0)), 0.51)

    @property
    def base64(self) -> str:
        """The scores layer by layer, two bytes each, the lower byte first."""
        steps = np.where(np.isnan(self.score), ABSENT, np.rint(np.nan_to_num(self.score) * STEPS))
        return base64.b64encode(steps.astype("<u2").tobytes()).decode()

    @property
    def marks(self) -> str:
        """A bit for each neuron, layer by layer, the lowest bit of a byte first: whether it is beyond chance."""
        return base64.b64encode(np.packbits(self._beyond, bitorder="little").tobytes()).decode()

    @property
    def marked(self) -> str | None:
        """What a mark means, and how many neurons have one; None without permutation tests."""
        if self.family is None:
            return None
        tested = int((~np.isnan(self.family.p)).sum())
        return (
            f"An orange mark at the foot of a row: the permutation tests of balanced accuracy on {self.family.split} put the neuron's "
            f"family-wise p at {LEVEL:g} or less. {int(self._beyond.sum()):,} of {tested:,} tested neurons have one."
        )

    @property
    def _beyond(self) -> np.ndarray:
        return np.zeros(self.score.shape, dtype=bool) if self.family is None else self.family.p <= LEVEL
