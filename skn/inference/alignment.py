"""Which position of one example stands for which position of another example.

Prompt positions stand for each other. Tokens around the texts, of a template or of the tokenizer, are counted from the
start, and the n-th stands for the n-th. Text tokens are counted from the last such token before them, so the first token
of a text stands for the first token of the other text, and so does that of the second text of a pair. A longer text has
tokens that no token of the other text stands for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skn.inference.batches import Batch, Encoded, collate
from skn.inference.readouts import text_starts
from skn.model.prompted import PromptedBatch

_WIDE = 2**32  # more than the tokens of any text
_ROWS = 256  # how many examples are compared at once


def same_tokens(own: Tensor, lengths: Tensor, other_own: Tensor, other_lengths: Tensor) -> Tensor:
    """Return [B, T] int64: the token of the other example that stands for each token; −1 without one, and at padding.

    :param own: [B, T] bool, which tokens are the texts'; ``lengths`` [B] int64 counts the tokens without padding.
    :param other_own: [B, T'] bool, with ``other_lengths`` the same of the other examples.
    """
    places, others = _places(own, lengths), _places(other_own, other_lengths)
    at = torch.searchsorted(others, places).clamp(max=others.shape[1] - 1)
    real = torch.arange(own.shape[1]) < lengths[:, None]
    return torch.where(real & (others.gather(1, at) == places), at, -1)


def same_columns(batch: Batch, prompted: PromptedBatch, others: Batch, others_prompted: PromptedBatch) -> Tensor:
    """Return [b, S] int64 on the CPU: for each column of ``batch`` the column of the other example; −1 without one.

    :param others: [b] examples. Their ``rows`` say for which rows of ``batch`` they stand.
    """
    rows = others.rows
    columns = torch.full((len(rows), prompted.inputs_embeds.shape[1]), -1)
    if prompted.prompt is not None:
        columns[:, prompted.prompt] = torch.arange(others_prompted.prompt.start, others_prompted.prompt.stop)
    tokens = same_tokens(batch.own[rows], batch.lengths[rows], others.own, others.lengths)
    row, token = (tokens >= 0).nonzero(as_tuple=True)
    starts, others_starts = text_starts(batch, prompted)[rows], text_starts(others, others_prompted)
    columns[row, starts[row] + token] = others_starts[row] + tokens[row, token]
    return columns


def share_alone(encoded: Encoded, other: Tensor, prompt_length: int) -> float:
    """Return the share of all positions, those of the prompt included, for which no position of the other example stands.

    :param other: [N] int64, the row of the other example for each row.
    """
    alone = positions = 0
    for rows in torch.arange(len(encoded)).split(_ROWS):
        batch, others = (collate(encoded, part.tolist()) for part in (rows, other[rows]))
        tokens = same_tokens(batch.own, batch.lengths, others.own, others.lengths)
        alone += int(batch.lengths.sum() - (tokens >= 0).sum())
        positions += int(batch.lengths.sum()) + len(rows) * prompt_length
    return alone / positions


def _places(own: Tensor, lengths: Tensor) -> Tensor:
    """Return [B, T] int64, rising along each row: equal for tokens that stand for each other, the greatest at padding."""
    column = torch.arange(own.shape[1])
    around = torch.where(own, -1, column).cummax(dim=1).values  # the last token around the texts, up to each token
    place = (~own).cumsum(dim=1) * _WIDE + column - around
    return place.masked_fill(column >= lengths[:, None], torch.iinfo(torch.int64).max)
