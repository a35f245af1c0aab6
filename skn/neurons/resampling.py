"""Resample ablation: masked neurons take the activations that they have for another example of the split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.alignment import share_alone
from skn.inference.batches import Encoded
from skn.inference.loaded import LoadedRun
from skn.inference.resample import Resample
from skn.seeds import generator


@dataclass(frozen=True)
class Resampling:
    """The donors of a split, ``donor`` [N] int64, which all masks share.

    ``kept_own`` is the share of all positions that have no aligned position in the donor, so the neurons keep their own
    activations there.
    """

    donor: Tensor
    kept_own: float

    @classmethod
    def of(cls, run: LoadedRun, encoded: Encoded, seed: int) -> Resampling:
        """Raises :class:`InputError` for a split of fewer than two examples."""
        donor = donors(seed, len(encoded))
        return cls(donor, share_alone(encoded, donor, run.model.prompt_length))

    def mask(self, chosen: Tensor) -> Resample:
        return Resample(chosen, self.donor)


def donors(seed: int, count: int) -> Tensor:
    """Return [N] int64: a donor for each of ``count`` examples, never the example itself, and each the donor of one.

    The donors depend on the seed and the count alone.
    """
    if count < 2:
        raise InputError(f"--kind resample: needs another example of the split as donor; the split has {count}")
    order = torch.randperm(count, generator=generator(seed, "donor", count))
    donor = torch.empty_like(order)
    donor[order] = order.roll(-1)  # one cycle through all examples
    return donor
