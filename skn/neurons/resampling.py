"""Resample ablation: masked neurons take the activations that they have for another example of the split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.alignment import share_alone
from skn.inference.batches import Encoded
from skn.inference.engine import choose_engine
from skn.inference.loaded import LoadedRun
from skn.inference.resample import Resample
from skn.neurons.mask_options import RESAMPLE
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


def engine_for(kind: str, wanted: str | None) -> str | None:
    """Return the engine to load a run with for this kind of mask: "hf" for kind "resample", otherwise the user's.

    Raises :class:`InputError` if the user wants another one.
    """
    if kind != RESAMPLE:
        return wanted
    if wanted == "fast":
        raise InputError("--engine fast: it changes all tokens alike, and --kind resample does not; use --engine hf")
    return "hf"


def served(run: LoadedRun, kind: str) -> LoadedRun:
    """Return the run on the engine that serves this kind of mask.

    Raises :class:`InputError` for a run in bf16x3, which the Hugging Face forward cannot compute.
    """
    if kind != RESAMPLE:
        return run
    return replace(run, provenance={**run.provenance, "engine": choose_engine(run.model.backbone, "hf")})
