"""Where to read a batch's activations: the columns of each example's own tokens, and which of them to take or to pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.readouts import LAST, MAX, MEAN, Places

FIRST = "first"
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

    def places(self, tokens: Tensor, name: str = "attention_mask") -> Places:
        """Find the read-out in a batch with these tokens ([B, S], 1 is a token that may be read).

        Raises :class:`InputError` for a bad mask, which the message calls ``name``.
        """
        real = _checked(tokens, name)
        if self.pool is not None:
            return Places.pooled(self.pool, real)
        length = real.sum(dim=1)
        for position in self.positions:
            short = length < (position + 1 if position >= 0 else -position)
            if short.any():
                example = int(short.nonzero()[0])
                raise InputError(
                    f"readout: example {example} has {int(length[example])} real tokens and no position {position}"
                )
        columns = (~real).long().argsort(dim=1, stable=True)  # of the real tokens in order, then of the padding
        wanted = torch.tensor(self.positions, dtype=torch.int64).expand(len(real), -1)
        return Places.at(columns.gather(1, torch.where(wanted < 0, wanted + length[:, None], wanted)))


def _checked(attention_mask: Tensor, name: str) -> Tensor:
    """Return the mask as bool [B, S] on the CPU."""
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        given = list(attention_mask.shape) if isinstance(attention_mask, Tensor) else type(attention_mask).__name__
        raise InputError(f"{name} must be a tensor [B, S] with 1 at real tokens and 0 at padding, got {given}")
    mask = attention_mask.detach().cpu()
    real = mask != 0
    if (real & (mask != 1)).any():
        raise InputError(f"{name} holds other values than 0 and 1; give the mask as the tokenizer does")
    empty = ~real.any(dim=1)
    if empty.any():
        raise InputError(f"{name}: example {int(empty.nonzero()[0])} has no real token")
    return real
