"""Every neuron as a point of a map, layer by layer, whose value is shown under the pointer: numbers for the page's script."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

STEPS = 10_000  # a score is stored in steps of 0.01%, in 16 bits
ABSENT = 65_535


@dataclass(frozen=True)
class NeuronMap:
    """Scores [L, F] between 0 and 1, NaN where there is no neuron, and what they are called."""

    score: np.ndarray
    what: str

    @property
    def layers(self) -> int:
        return self.score.shape[0]

    @property
    def width(self) -> int:
        return self.score.shape[1]

    @property
    def row_height(self) -> int:
        """Pixels of a layer, however few neurons it has: the page stretches the map in width alone."""
        return round(max(6, min(24, 360 / self.layers)))

    @property
    def highest(self) -> float:
        """The score that has the darkest colour; 50%, a coin's accuracy, has the lightest."""
        return max(float(np.nan_to_num(self.score).max(initial=0.0)), 0.51)

    @property
    def base64(self) -> str:
        """Layer by layer, two bytes each, the lower first."""
        steps = np.where(np.isnan(self.score), ABSENT, np.rint(np.nan_to_num(self.score) * STEPS))
        return base64.b64encode(steps.astype("<u2").tobytes()).decode()
