"""The forward of :mod:`skn.inference.resample` over ``encode``: chosen neurons are recorded in the donors' pass, and take
what was recorded in the batch's pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from skn.inference.alignment import same_columns
from skn.inference.batches import Batch
from skn.inference.fast import Changes, Packed, packed_weights
from skn.inference.hf import PromptedModel, Scores, Tap, scores_of
from skn.inference.resample import Resample
from skn.model.prompted import PromptedBatch


@contextmanager
def resampled_fast_forward(model: PromptedModel, tap: Tap | None, mask: Resample) -> Iterator[Scores]:
    """Like :func:`skn.inference.resample.resampled_forward`, but on the operator ``encode``."""
    backbone = model.backbone
    neurons = [mask.neurons(site) for site in backbone.ffn_sites]
    donors_pass = _DonorsPass(model, packed_weights(backbone), neurons)

    def hidden(batch: Batch, prompted: PromptedBatch) -> Tensor:
        packed = Packed.of(backbone, batch, prompted)
        return packed.scored(backbone, donors_pass.weights, tap, donors_pass.changes(packed))

    yield scores_of(model, hidden)


@dataclass(frozen=True)
class _DonorsPass:
    """The donors' unmasked pass. ``neurons`` has the masked neurons [K] of each layer, on the CPU."""

    model: PromptedModel
    weights: list[Tensor]
    neurons: list[Tensor]

    def changes(self, packed: Packed) -> Changes:
        """Return what the masked neurons of a batch take: one row of values for each row with an aligned one."""
        source, parts, count = torch.full((len(packed.rows),), -1), [], 0
        for donors in packed.batch.donors:
            theirs = Packed.of(self.model.backbone, donors, self.model.assemble(*donors.inputs))
            rows, their_rows = _aligned(packed, theirs)
            source[rows] = torch.arange(count, count + len(rows))
            count += len(rows)
            parts.append(self._read(theirs, their_rows))
        values = [torch.cat(layer) for layer in zip(*parts, strict=True)]
        return Changes(neurons=self.neurons, values=values, source=source)

    def _read(self, donors: Packed, rows: Tensor) -> list[Tensor]:
        """Return the activations of each layer's masked neurons in some rows. Layers behind the last one do not run."""
        masked = [layer for layer, neurons in enumerate(self.neurons) if len(neurons)]
        first = self.neurons[: masked[-1] + 1 if masked else 0]
        at = rows.to(donors.rows.device, non_blocking=True)
        found = [act[at] for act in donors.recorded(self.model.backbone, self.weights, first)] if first else []
        return found + [donors.rows.new_empty(len(rows), 0) for _ in self.neurons[len(first) :]]


def _aligned(packed: Packed, donors: Packed) -> tuple[Tensor, Tensor]:
    """Return the rows of a batch with an aligned row among the donors', and these: two times [n] int64, on the CPU."""
    columns = same_columns(packed.batch, packed.prompted, donors.batch, donors.prompted)
    donor, column = (columns >= 0).nonzero(as_tuple=True)
    example = donors.batch.rows[donor]
    return packed.bounds[example] + column, donors.bounds[donor] + columns[donor, column]
