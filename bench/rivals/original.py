"""The original code's way: hooks, host copies of every activation, logits of the whole vocabulary, padded batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skn.inference.batches import Batch, Encoded, collate
from skn.model.tuned import TunedModel

BATCH_SIZE = 32


def in_order(encoded: Encoded) -> list[Batch]:
    """Return padded batches of 32 in the data set's order."""
    starts = range(0, len(encoded), BATCH_SIZE)
    return [collate(encoded, list(range(s, min(s + BATCH_SIZE, len(encoded))))) for s in starts]


def forward(model: TunedModel, batch: Batch, copies: list[np.ndarray] | None = None) -> Tensor:
    """Return logits [B, S, vocabulary] of the masked language model.

    Each layer's activations [B, S, F] go into ``copies``.
    """
    backbone = model.backbone
    prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)

    def copy(_module, _inputs, out):
        copies.append(out.cpu().numpy().copy())

    handles = []
    if copies is not None:
        handles = [site.activation.register_forward_hook(copy) for site in backbone.ffn_sites]
    names = ("inputs_embeds", "attention_mask", "position_ids")
    logits = backbone.model(**{name: getattr(prompted, name) for name in names}).logits
    for handle in handles:
        handle.remove()
    return logits


def probe(model: TunedModel, train: Encoded, held_out: Encoded) -> None:
    """Compute thresholds from train and counts on the held-out split, both in numpy."""
    prompt = slice(0, model.prompt_length)
    sums = None
    for batch in in_order(train):
        copies: list[np.ndarray] = []
        forward(model, batch, copies)
        act = np.stack([copy[:, prompt] for copy in copies])
        sums = act.sum(axis=1) if sums is None else sums + act.sum(axis=1)
    threshold = sums / len(train)
    hits = np.zeros((2, *threshold.shape), dtype=np.int64)
    for batch in in_order(held_out):
        copies = []
        forward(model, batch, copies)
        act = np.stack([copy[:, prompt] for copy in copies])
        for label in (0, 1):
            hits[label] += (act[:, batch.label.numpy() == label] > threshold[:, None]).sum(axis=1)


def evaluate(model: TunedModel, encoded: Encoded) -> Tensor:
    """Return the predicted class of every row."""
    found = [forward(model, batch)[:, 0, model.label_ids].argmax(dim=-1) for batch in in_order(encoded)]
    return torch.cat(found)
