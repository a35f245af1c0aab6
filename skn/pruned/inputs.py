"""Texts as a pruned classifier takes them: padded on the right, and no longer than its positions."""

from __future__ import annotations

import torch
from torch import Tensor


def tidied(
    text: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, room: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same texts without padding on the left, each of at most ``room`` tokens.

    A longer text keeps its first tokens and its last one, as a tokenizer cuts a single text between its special tokens.

    :param text: ids [B, T] or embeddings [B, T, H].
    :param attention_mask: [B, T], ones at the tokens of a text, which stand together.
    """
    columns = text.shape[1]
    if torch.compiler.is_compiling():  # an exported graph has right padding and lengths that fit
        return text, attention_mask, token_type_ids
    first, length = attention_mask.argmax(dim=1), attention_mask.sum(dim=1)
    if columns <= room and not text.is_cuda and not first.any():  # a device would have to be waited for
        return text, attention_mask, token_type_ids
    column = torch.arange(min(columns, room), device=text.device)
    place = column + first[:, None]
    place[:, -1] = torch.where(length > room, first + length - 1, place[:, -1])
    place = place.clamp(max=columns - 1)
    mask = (column < length[:, None]).to(attention_mask.dtype)
    types = None if token_type_ids is None else token_type_ids.gather(1, place) * mask
    if text.is_floating_point():
        return text.gather(1, place[:, :, None].expand(-1, -1, text.shape[2])), mask, types
    return text.gather(1, place), mask, types
