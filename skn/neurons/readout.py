"""Where to read a batch's activations: the columns of each example's own tokens, and which of them to take or to pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from skn import ops
from skn.errors import InputError
from skn.inference.hf import MAX, MEAN

FIRST, LAST = "first", "last"
NAMES = (FIRST, LAST, MEAN, MAX)


@dataclass(frozen=True)
class Readout:
    """A checked read-out: the mean or the maximum over an example's tokens (``pool``), or some ``positions``.

    Positions count from the first real token. Negative positions count from behind the last real token.
    """

    given: str | tuple[int, ...]
    pool: str | None
    positions: tuple[int, ...]

    @classmethod
    def of(cls, given: str | Sequence[int]) -> Readout:
        """Raises :class:`InputError` for anything except a known name or a list of whole numbers."""
        if isinstance(given, str):
            if given not in NAMES:
                raise InputError(f"readout '{given}': use {', '.join(map(repr, NAMES))} or a list of positions")
            pool = given if given in (MEAN, MAX) else None
            return cls(given, pool, {FIRST: (0,), LAST: (-1,)}.get(given, ()))
        listed = tuple(given) if isinstance(given, (list, tuple, range)) else ()
        if not listed or any(isinstance(p, bool) or not isinstance(p, Integral) for p in listed):
            raise InputError(f"readout {given!r}: a list of positions holds whole numbers, at least one")
        positions = tuple(map(int, listed))
        return cls(positions, None, positions)

    @property
    def named(self) -> bool:
        """Whether the read-out is given by name. A named read-out has one position, and results have no axis for it."""
        return isinstance(self.given, str)

    @property
    def count(self) -> int:
        """P, the number of rows that are read of each example."""
        return len(self.positions) or 1

    def places(self, attention_mask: Tensor) -> Places:
        """Find the read-out in a batch with this mask ([B, S], 1 is a real token).

        Raises :class:`InputError` for a bad mask.
        """
        real = _checked(attention_mask)
        length = real.sum(dim=1)
        for position in self.positions:
            short = length < (position + 1 if position >= 0 else -position)
            if short.any():
                example = int(short.nonzero()[0])
                raise InputError(
                    f"readout: example {example} has {int(length[example])} real tokens and no position {position}"
                )
        # first the columns of the real tokens in order, then the columns of the padding
        columns = (~real).long().argsort(dim=1, stable=True)
        wanted = torch.tensor(self.positions, dtype=torch.int64).expand(len(real), -1)
        own = columns.gather(1, torch.where(wanted < 0, wanted + length[:, None], wanted))
        start = columns[:, 0]
        last = columns.gather(1, length[:, None] - 1)[:, 0]
        return Places(
            self.pool, columns, own, start=start, length=length, whole=bool((last - start + 1 == length).all())
        )


@dataclass(frozen=True)
class Places:
    """A read-out in one batch, with all tensors on the CPU.

    ``columns`` [B, S] lists the columns of the real tokens first. ``own`` [B, P] lists the columns that are read.
    ``start`` and ``length`` [B] give the span of the real tokens. ``whole`` says that no padding lies within any span.
    """

    pool: str | None
    columns: Tensor
    own: Tensor
    start: Tensor
    length: Tensor
    whole: bool

    def read(self, activation: Tensor) -> Tensor:
        """Return [B, P, width] from [B, S, width].

        The result is a copy, so the memory of the layer's activations can be freed.
        """
        device = activation.device
        rows = torch.arange(len(activation), device=device)[:, None]
        if self.pool is None:
            return activation[rows, self.own.to(device)]
        start = self.start
        if not self.whole:
            activation, start = activation[rows, self.columns.to(device)], torch.zeros_like(start)
        return ops.pool_tokens(activation, self.length.to(device), start.to(device), self.pool)[:, None]


def _checked(attention_mask: Tensor) -> Tensor:
    """Return the mask as bool [B, S] on the CPU."""
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        given = list(attention_mask.shape) if isinstance(attention_mask, Tensor) else type(attention_mask).__name__
        raise InputError(f"attention_mask must be a tensor [B, S] with 1 at real tokens and 0 at padding, got {given}")
    mask = attention_mask.detach().cpu()
    real = mask != 0
    if (real & (mask != 1)).any():
        raise InputError("attention_mask holds other values than 0 and 1; give the mask as the tokenizer does")
    empty = ~real.any(dim=1)
    if empty.any():
        raise InputError(f"attention_mask: example {int(empty.nonzero()[0])} has no real token")
    return real
