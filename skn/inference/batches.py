"""Turn a split into batches: tokens, truncation, padding, and rows of similar length together."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from skn.data.splits import Examples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """A tokenized split. ``label`` [N] int64. ``truncated`` counts the texts that were too long."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    label: Tensor
    truncated: int

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Batch:
    """Rows of a split, padded on the right. ``rows`` [B] int64 are row numbers in the split, ``lengths`` [B] int64
    tokens.

    ``rows``, ``lengths`` and ``label`` stay on the CPU, whatever the device, so reading them never waits for the
    device.
    """

    rows: Tensor
    lengths: Tensor
    label: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """Move the model's inputs to a device, without waiting for it."""
        moved = {}
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            tensor = getattr(self, name)
            moved[name] = None if tensor is None else tensor.to(device, non_blocking=True)
        return replace(self, **moved)


def tokenize(examples: Examples, tokenizer: Any, max_tokens: int) -> Encoded:
    """Tokenize texts or pairs. Texts over ``max_tokens`` are truncated and counted."""
    texts = (examples.text,) if examples.pair is None else (examples.text, examples.pair)
    full = tokenizer(*texts, add_special_tokens=True, verbose=False)["input_ids"]
    truncated = sum(len(ids) > max_tokens for ids in full)
    encoded = tokenizer(*texts, truncation=True, max_length=max_tokens) if truncated else tokenizer(*texts)
    if truncated:
        log.warning("%d of %d texts are longer than %d tokens and were truncated", truncated, len(full), max_tokens)
    return Encoded(
        encoded["input_ids"], encoded.get("token_type_ids"), torch.tensor(examples.label, dtype=torch.int64), truncated
    )


def collate(encoded: Encoded, rows: list[int]) -> Batch:
    """Make a batch of the given rows, padded to the longest row."""
    ids = [encoded.input_ids[i] for i in rows]
    types = encoded.token_type_ids
    return Batch(
        rows=torch.tensor(rows, dtype=torch.int64),
        lengths=torch.tensor([len(row) for row in ids], dtype=torch.int64),
        label=encoded.label[rows],
        input_ids=_pad(ids),
        attention_mask=_pad([[1] * len(row) for row in ids]),
        token_type_ids=None if types is None else _pad([types[i] for i in rows]),
    )


def _pad(lists: list[list[int]]) -> Tensor:
    rows = [torch.tensor(row, dtype=torch.int64) for row in lists]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def batches_by_length(encoded: Encoded, tokens: int, prompt_length: int) -> list[list[int]]:
    """Return the rows of each batch, with every row exactly once.

    Rows of similar length share a batch. The longest come first, so that memory peaks at the start. A batch holds at
    most ``tokens`` tokens, prompt and padding included, or one single row that is longer.
    """
    order = sorted(range(len(encoded)), key=lambda i: (-len(encoded.input_ids[i]), i))
    batches = []
    while order:
        rows = max(1, tokens // (len(encoded.input_ids[order[0]]) + prompt_length))
        batches.append(order[:rows])
        order = order[rows:]
    return batches
