"""The Hugging Face forward in which neurons take the activations that they have for another example, the donor.

The donors of a batch first run unmasked, and the activations of the masked neurons are kept. Then the batch runs, and
each masked neuron takes its donor's activation at every position that has an aligned one (:mod:`skn.inference.alignment`).
:mod:`skn.inference.resample_fast` has the other forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skn.inference.alignment import same_columns
from skn.inference.batches import Batch, Encoded, batches_by_length, collate
from skn.inference.hf import PromptedModel, Scores, Tap, hooks, plain_hidden, scores_of
from skn.model.backbone import FfnSite
from skn.model.prompted import PromptedBatch


@dataclass(frozen=True)
class Resample:
    """Every neuron of ``chosen`` [L, F] bool takes the activations of the row ``donor`` [N] int64 of the split."""

    chosen: Tensor
    donor: Tensor

    def donors(self, encoded: Encoded, rows: list[int], tokens: int, prompt_length: int) -> tuple[Batch, ...]:
        """Return the donors of a batch's rows, in batches of at most ``tokens`` tokens, because donors can be longer.

        The ``rows`` of these batches are places in the batch.
        """
        taken = encoded.take(self.donor[rows].tolist())
        return tuple(collate(taken, part) for part in batches_by_length(taken, tokens, prompt_length))

    def neurons(self, site: FfnSite) -> Tensor:
        """Return [K] int64: the places of the chosen neurons within a layer, rising, on the CPU."""
        return self.chosen[site.layer, site.neurons.cpu()].nonzero()[:, 0]


@contextmanager
def resampled_forward(model: PromptedModel, tap: Tap | None, mask: Resample) -> Iterator[Scores]:
    """Like :func:`skn.inference.hf.plain_forward`, but for batches with ``donors``."""
    backbone = model.backbone
    neurons = {site.layer: mask.neurons(site).to(site.device) for site in backbone.ffn_sites}

    def hidden(batch: Batch, prompted: PromptedBatch) -> Tensor:
        given = _Given(neurons, len(batch.rows), prompted.inputs_embeds.shape[1])
        for donors in batch.donors:
            theirs = model.assemble(*donors.inputs)
            given.expect(donors.rows, same_columns(batch, prompted, donors, theirs))
            with hooks(backbone, given.keep):
                backbone.last_hidden(theirs)
        # the hooks of the mask come first, so that a tap reads the input of the down-projection
        with hooks(backbone, given.replace), plain_hidden(backbone, tap, None) as forward:
            return forward(batch, prompted)

    yield scores_of(model, hidden)


@dataclass
class _Given:
    """The donors' activations for one batch of ``examples`` examples and ``width`` columns, by layer [B, S, K].

    ``neurons`` has the masked neurons of each layer.
    """

    neurons: dict[int, Tensor]
    examples: int
    width: int
    values: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aligned = torch.zeros(self.examples, self.width, dtype=torch.bool)

    def expect(self, rows: Tensor, columns: Tensor) -> None:
        """Say for which rows [b] of the batch the next donors run, and which of their columns [b, S] are read."""
        self.rows, self.columns = rows, columns
        self.aligned[rows] = columns >= 0

    def keep(self, site: FfnSite, activation: Tensor) -> None:
        """The hook of the donors' pass: keep the activations of the masked neurons at the batch's own columns."""
        neurons = self.neurons[site.layer]
        if not len(neurons):
            return
        if site.layer not in self.values:
            self.values[site.layer] = activation.new_zeros(self.examples, self.width, len(neurons))
        columns = self.columns.clamp(min=0).to(activation.device)
        donor = torch.arange(len(columns), device=activation.device)
        found = activation[donor[:, None, None], columns[:, :, None], neurons]
        self.values[site.layer][self.rows.to(activation.device)] = found

    def replace(self, site: FfnSite, activation: Tensor) -> Tensor | None:
        """The hook of the batch's pass. What a layer was given is freed then."""
        neurons = self.neurons[site.layer]
        if not len(neurons):
            return None
        aligned = self.aligned.to(activation.device)[:, :, None]
        taken = torch.where(aligned, self.values.pop(site.layer), activation[..., neurons])
        return activation.index_copy(2, neurons, taken)
