"""Texts of one length behind a prompt, embedded by few operations: what a service asks one text at a time.

Such a call has no padding to leave out, so most of the small operations that place texts and prompt in a batch have
nothing to do. An operation costs about as much for one text as for many.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skn.inference.packing import at_hidden_size
from skn.model.backbone import Backbone


def embedded_unpadded(
    backbone: Backbone,
    prompt: Tensor,
    text: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_start: int,
) -> Tensor | None:
    """Return the embeddings [B · S, H] of a prompt [P, E] before texts, which are ids [B, T] or embeddings [B, T, E]; None
    if they are padded or too long, or if the embeddings do more than add, normalize and project.

    The modules of the embeddings were found to be transformers' own (:func:`skn.inference.known.stranger`), so their
    weights say what they compute.
    """
    modules = backbone.base.embeddings
    words, positions = modules.word_embeddings, modules.position_embeddings
    types = modules.token_type_embeddings if backbone.family.encoder.typed else None
    last = position_start + len(prompt) + text.shape[1]
    room = min(position_start + backbone.max_positions, positions.num_embeddings)
    if last > room or any(_renormalized(table) for table in (words, positions, types)):
        return None
    if attention_mask is not None and not (attention_mask.shape == text.shape[:2] and attention_mask.all()):
        return None
    rows = text if text.is_floating_point() else F.embedding(text, words.weight)
    prompt = prompt.to(rows.dtype)
    if types is not None:
        first = types.weight[0]
        one_type = token_type_ids is None or types.num_embeddings < 2  # a tokenizer of another family may give a second
        prompt, rows = prompt + first, rows + (first if one_type else F.embedding(token_type_ids, types.weight))
    rows = torch.cat([prompt.expand(len(rows), -1, -1), rows], dim=1) + positions.weight[position_start:last]
    norm = modules.LayerNorm
    rows = F.layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return at_hidden_size(backbone, rows.flatten(0, 1))


def _renormalized(table: nn.Embedding | None) -> bool:
    """Whether a look-up edits the table."""
    return table is not None and table.max_norm is not None
