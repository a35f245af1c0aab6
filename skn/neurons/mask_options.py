"""The options of ``skn.mask``: what is done to the neurons, and which random sets stand beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skn.data.spec import SPLITS
from skn.errors import InputError
from skn.names import one_of
from skn.neurons.masking import MASK_KINDS

MATCHES = ("layer", "overall", "activity")
WITH_ALPHA = ("gaussian", "scale")
RESAMPLE = "resample"
KINDS = (*MASK_KINDS, RESAMPLE)
_DRAWN = ("gaussian", RESAMPLE)  # kinds that draw something themselves


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How to mask the neurons, and which random sets to compare them with.

    ``kind`` is "zero", "mean", "gaussian", "scale" or "resample". "gaussian" adds noise of standard deviation
    ``alpha``, by default 0.1. "scale" multiplies by the factor ``alpha``, by default 0.5, or by the factors that the
    set itself holds. "resample" sets each neuron to the activation that it has for another, random example of the
    split, at about twice the time. For each set, skn draws ``controls`` random sets. ``match``
    says how they match the set: "layer" has as many neurons in each layer, "overall" has as many neurons in all,
    "activity" has for each neuron of the set another neuron of its layer from which the mask takes as much. A list of
    matches, ``["layer", "activity"]``, draws ``controls`` random sets of each. ``seed`` is the seed of the draws, of
    the noise and of the other examples.
    """

    kind: str = "zero"
    alpha: float | None = None
    controls: int = 20
    match: str | Sequence[str] = "layer"
    split: str = "test"
    seed: int = 0

    @property
    def matches(self) -> list[str]:
        """The matches in the given order, each once."""
        return [self.match] if isinstance(self.match, str) else list(dict.fromkeys(self.match))

    def check(self) -> None:
        """Raises :class:`InputError` for values that have no meaning."""
        one_of(self.kind, KINDS, "--kind")
        if not self.matches:
            raise InputError(f"--match: none is given; give one or several of {', '.join(MATCHES)}")
        for match in self.matches:
            one_of(match, MATCHES, "--match")
        one_of(self.split, SPLITS, "--split")
        if not isinstance(self.controls, int) or self.controls < 0:
            raise InputError(f"--controls {self.controls}: a number of draws, 0 or more")
        if self.controls == 0 and self.matches != ["layer"]:
            raise InputError(
                f"--match {','.join(self.matches)}: has no effect with --controls 0; leave it out, or draw controls"
            )
        if self.controls == 0 and self.kind not in _DRAWN and self.seed != 0:
            raise InputError(f"--seed {self.seed}: has no effect with --controls 0; leave it out, or draw controls")
        if self.alpha is not None and self.kind not in WITH_ALPHA:
            raise InputError(f"--alpha {self.alpha:g}: goes with --kind {' or '.join(WITH_ALPHA)}, not {self.kind}")
        if self.alpha is not None and not math.isfinite(self.alpha):
            raise InputError(f"--alpha {self.alpha}: a finite number")


def refuse_int8(dtype: str | None) -> None:
    """Refuse a dtype that a user gives for a mask, or that of a run. Raises :class:`InputError`."""
    if dtype == "int8":
        raise InputError("--dtype int8: a mask needs the model as it was trained; leave it out")
