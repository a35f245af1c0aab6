"""The activation of a few neurons at every token of a few texts, by a second pass over these texts alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skn.inference.batches import Batch
from skn.model.backbone import FfnSite
from skn.neurons.token_pass import TokenPass

NEURONS = 10  # the most neurons whose texts are shaded
TEXTS = 10  # the most texts of each end


@dataclass(frozen=True)
class Shades:
    """The tokens of texts [2, neurons, texts]: of the highest and of the lowest end.

    ``activation`` [2, neurons, texts, T] float32 is NaN where no own token of the text is. ``span`` [2, neurons, texts,
    T, 3] int64 holds each token's text (0, or 1 for the second of a pair), first character, and the one behind its last;
    −1 where no own token is.
    """

    activation: Tensor
    span: Tensor


def shades_of(texts: TokenPass, neurons: list[tuple[int, int]], rows: Tensor) -> Shades | None:
    """Read ``neurons`` at the tokens of ``rows`` [2, neurons, texts] int64 of a split, −1 where there is no text.

    Returns None if there is no text at all, or if the tokenizer does not tell which characters a token stands for.
    """
    distinct, places = rows.unique(return_inverse=True)
    kept = texts.take([row for row in distinct.tolist() if row >= 0])
    spans = kept.run.reader.spans(kept.examples) if len(kept.examples) else None
    if spans is None:
        return None
    values = _values(kept, neurons)
    tensor = torch.full((len(spans), values.shape[2], 3), -1)
    for row, several in enumerate(spans):
        for token, span in enumerate(several):
            if span is not None:
                tensor[row, token] = torch.tensor(span)
    if len(distinct) > len(spans):  # the first of the distinct rows is −1, no text
        values = torch.cat([torch.full_like(values[:1], torch.nan), values])
        tensor = torch.cat([torch.full_like(tensor[:1], -1), tensor])
    return Shades(values[places, torch.arange(len(neurons))[None, :, None]], tensor[places])


def _values(texts: TokenPass, neurons: list[tuple[int, int]]) -> Tensor:
    """Return [texts, neurons, T] float32, NaN where no own token is."""
    longest = max(map(len, texts.encoded.input_ids))
    values = torch.full((len(texts.encoded), len(neurons), longest), torch.nan)
    sites = {site.layer: site.neurons.tolist() for site in texts.run.model.backbone.ffn_sites}
    columns = [(layer, sites[layer].index(neuron)) for layer, neuron in neurons]

    def add(site: FfnSite, activation: Tensor, batch: Batch) -> None:
        for slot, (layer, column) in enumerate(columns):
            if layer == site.layer:
                own = activation[:, :, column].float().cpu().masked_fill(~batch.own, torch.nan)
                values[batch.rows, slot, : own.shape[1]] = own

    texts.read(add, "shade")
    return values
