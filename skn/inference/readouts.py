"""Read-outs: the positions at which activations are read, in a pass over texts that stand behind a prompt or in a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skn import ops
from skn.errors import InputError
from skn.inference.batches import Batch
from skn.model.prompted import PromptedBatch
from skn.names import did_you_mean

# "prompt" reads each prompt position, "mask" the encoder's mask, "last" the last real token of all. "mean" and "max" pool
# over the text's own tokens: neither special tokens nor those of a prompt or template.
PROMPT, MASK, LAST, MEAN, MAX = READOUTS = ("prompt", "mask", "last", "mean", "max")
# Behind the name of a read-out: it reads act(gate) alone in a gated layer, instead of act(gate)·up.
OF_GATE = "-gate"

# Every token as it was tokenized, P = T, for a reader that tells them apart by ``Batch.own``. No option offers this one.
TOKENS = "tokens"


def main_readout(templated: bool, causal: bool) -> str:
    """Return the read-out at which later stages read a run's neurons: where the label words are scored."""
    if not templated:
        return PROMPT
    return LAST if causal else MASK


def is_of_gate(readout: str) -> bool:
    """Whether a read-out reads act(gate) alone."""
    return readout.endswith(OF_GATE)


def options_of(readout: str) -> str:
    """Return the options of ``skn probe`` that read this read-out."""
    return f"--at {readout.removesuffix(OF_GATE)}" + (" --neuron gate" if is_of_gate(readout) else "")


def check_readouts(asked: Sequence[str], templated: bool, causal: bool, option: str = "--at") -> list[str]:
    """Return the read-outs, each once. Raises :class:`InputError` for a read-out that a run of this kind does not have."""
    for name in asked:
        if name not in READOUTS:
            raise InputError(f"{option} {name}: expected {', '.join(READOUTS)}{did_you_mean(name, READOUTS)}")
        if name == PROMPT and templated:
            raise InputError(
                f"{option} prompt: this run has a template and no tuned prompt; read {main_readout(templated, causal)}, mean or max"
            )
        if name == MASK and causal:
            raise InputError(f"{option} mask: a decoder has no mask; read last, mean or max")
    return list(dict.fromkeys(asked))


def places(readout: str, batch: Batch, prompted: PromptedBatch) -> slice | Places:
    """Find a read-out in a batch: a slice of columns that all examples share, or each example's own columns."""
    readout = readout.removesuffix(OF_GATE)
    if readout == PROMPT:
        return prompted.prompt
    width = prompted.inputs_embeds.shape[1]
    if readout == MASK and isinstance(prompted.scored, int):
        return slice(prompted.scored, prompted.scored + 1)
    if readout == LAST and prompted.text_start is None:  # the prompt stands behind the texts
        return slice(width - 1, width)
    if readout == MASK:
        return Places.at(prompted.scored)
    start = prompted.text_start
    if readout == TOKENS and start is not None:
        return slice(start, start + batch.own.shape[1])
    starts = text_starts(batch, prompted)
    if readout == LAST:
        return Places.at(starts + batch.lengths - 1)
    if readout == TOKENS:  # what stands behind a text that is moved to the right is not the text's own
        return Places.at((starts[:, None] + torch.arange(batch.own.shape[1])).clamp(max=width - 1))
    return Places.pooled(readout, _own(batch, starts, width, prompted.scored))


def text_starts(batch: Batch, prompted: PromptedBatch) -> Tensor:
    """[B] int64: the column of each example's first token."""
    start = prompted.text_start
    return torch.full_like(batch.lengths, start) if start is not None else prompted.prompt.start - batch.lengths


def _own(batch: Batch, starts: Tensor, width: int, scored: int | Tensor) -> Tensor:
    """[B, S] bool: the texts' own tokens. A text without any, an empty one, is read at the scored position."""
    own = torch.zeros(len(starts), width, dtype=torch.bool)
    columns = torch.arange(batch.own.shape[1]) + starts[:, None]
    inside = columns < width  # a text that is moved to the right leaves its padding behind
    own[torch.arange(len(own))[:, None].expand_as(columns)[inside], columns[inside]] = batch.own[inside]
    empty = ~own.any(dim=1)
    if empty.any():
        own[empty.nonzero()[:, 0], scored if isinstance(scored, int) else scored[empty]] = True
    return own


@dataclass(frozen=True)
class Places:
    """Each example's columns in one batch, with all tensors on the CPU.

    Without ``pool``, ``columns`` [B, P] are read. With ``pool``, ``columns`` [B, S] lists the example's tokens first,
    ``start`` and ``length`` [B] are the span of the tokens, and ``whole`` says that nothing else lies within any span.
    """

    pool: str | None
    columns: Tensor
    start: Tensor | None = None
    length: Tensor | None = None
    whole: bool = True

    @classmethod
    def at(cls, columns: Tensor) -> Places:
        """Read one column of each example, or [B, P] columns."""
        return cls(None, columns[:, None] if columns.dim() == 1 else columns)

    @classmethod
    def pooled(cls, pool: str, tokens: Tensor) -> Places:
        """Pool over the tokens [B, S] bool, at least one of each example: "mean" or "max"."""
        length = tokens.sum(dim=1)
        columns = (~tokens).long().argsort(dim=1, stable=True)  # the tokens in order, then the others
        start, last = columns[:, 0], columns.gather(1, length[:, None] - 1)[:, 0]
        return cls(pool, columns, start, length, whole=bool((last - start + 1 == length).all()))

    def read(self, activation: Tensor) -> Tensor:
        """Return [B, P, width] from [B, S, width].

        The result is a copy, so the memory of the layer's activations can be freed.
        """
        device = activation.device
        rows = torch.arange(len(activation), device=device)[:, None]
        if self.pool is None:
            return activation[rows, self.columns.to(device, non_blocking=True)]
        start = self.start
        if not self.whole:
            activation = activation[rows, self.columns.to(device, non_blocking=True)]
            start = torch.zeros_like(start)
        return ops.pool_tokens(activation, self.length, start, self.pool)[:, None]
