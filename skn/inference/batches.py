"""Turn a split into batches: tokens, truncation, padding, and rows of similar length together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from skn.data.splits import Examples
from skn.data.template import Template
from skn.inference.filling import filled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """A tokenized split. ``label`` [N] int64. ``truncated`` counts the texts that were too long.

    ``own`` says of each token whether it is a token of the text (1), or of a template or the tokenizer (0). ``scored``
    is the place of the scored token in each row, if a template stands around the texts.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    label: Tensor
    truncated: int
    own: list[list[int]] | None = None  # None: all tokens are the text's
    scored: list[int] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def take(self, rows: Sequence[int]) -> Encoded:
        """Return these rows alone."""

        def some(column: list | None) -> list | None:
            return None if column is None else [column[i] for i in rows]

        columns = {name: some(getattr(self, name)) for name in ("input_ids", "token_type_ids", "own", "scored")}
        return replace(self, label=self.label[list(rows)], truncated=0, **columns)


@dataclass(frozen=True)
class Batch:
    """Rows of a split, padded on the right. ``rows`` [B] int64 are row numbers in the split, ``lengths`` [B] int64
    tokens. ``own`` [B, T] bool says which tokens are the texts'. ``scored`` [B] int64 is the place of the scored token,
    if a template stands around the texts. ``donors`` are the examples whose activations a mask takes
    (:mod:`skn.inference.resample`).

    ``rows``, ``lengths``, ``label``, ``own`` and ``scored`` stay on the CPU, whatever the device, so reading them never
    waits for the device.
    """

    rows: Tensor
    lengths: Tensor
    label: Tensor
    own: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None
    scored: Tensor | None = None
    donors: tuple[Batch, ...] = ()

    @property
    def one_class(self) -> Tensor:
        """Labels [B] int64 that put all rows into one class."""
        return torch.zeros_like(self.label)

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        """The arguments of a prompted model's ``assemble``."""
        return self.input_ids, self.attention_mask, self.token_type_ids, self.scored

    def to(self, device: torch.device) -> Batch:
        """Move the model's inputs to a device, without waiting for it."""
        moved = {}
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            tensor = getattr(self, name)
            moved[name] = None if tensor is None else tensor.to(device, non_blocking=True)
        return replace(self, **moved, donors=tuple(donors.to(device) for donors in self.donors))


def tokenize(examples: Examples, tokenizer: Any, max_tokens: int, template: Template | None = None) -> Encoded:
    """Tokenize texts or pairs, inside the template if there is one. Texts over ``max_tokens`` are truncated and counted.

    In a template, only the text is truncated. Raises :class:`InputError` for a template that leaves no room for a text.
    """
    if template is None:
        encoded, truncated = _plain(examples, tokenizer, max_tokens)
    else:
        encoded, truncated = filled(template, examples, tokenizer, max_tokens)
    if truncated:
        log.warning(
            "%d of %d texts are longer than %d tokens and were truncated", truncated, len(examples.text), max_tokens
        )
    label = torch.tensor(examples.label, dtype=torch.int64)
    return Encoded(
        encoded["input_ids"],
        encoded.get("token_type_ids"),
        label,
        truncated,
        own=encoded["own"],
        scored=encoded.get("scored"),
    )


def _plain(examples: Examples, tokenizer: Any, max_tokens: int) -> tuple[dict[str, list], int]:
    texts = (examples.text,) if examples.pair is None else (examples.text, examples.pair)
    asked = {"add_special_tokens": True, "return_special_tokens_mask": True}
    encoded = tokenizer(*texts, verbose=False, **asked)
    truncated = sum(len(ids) > max_tokens for ids in encoded["input_ids"])
    if truncated:
        encoded = tokenizer(*texts, truncation=True, max_length=max_tokens, **asked)
    own = [[1 - special for special in row] for row in encoded["special_tokens_mask"]]
    return {**encoded, "own": own}, truncated


def collate(encoded: Encoded, rows: list[int]) -> Batch:
    """Make a batch of the given rows, padded to the longest row."""
    ids = [encoded.input_ids[i] for i in rows]
    types, own, scored = encoded.token_type_ids, encoded.own, encoded.scored
    real = _pad([[1] * len(row) for row in ids])
    return Batch(
        rows=torch.tensor(rows, dtype=torch.int64),
        lengths=torch.tensor([len(row) for row in ids], dtype=torch.int64),
        label=encoded.label[rows],
        own=(real if own is None else _pad([own[i] for i in rows])).bool(),
        input_ids=_pad(ids),
        attention_mask=real,
        token_type_ids=None if types is None else _pad([types[i] for i in rows]),
        scored=None if scored is None else torch.tensor([scored[i] for i in rows]),
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
