"""The texts on which neurons have their highest values, gathered batch by batch in memory of a fixed size."""

from __future__ import annotations

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF  # the lower 32 bits of a key
_EMPTY = torch.iinfo(torch.int64).min


class TopTexts:
    """The ``k`` texts with the highest values of each of n neurons: two tensors [n, k] int64, however many texts there are.

    A key holds a value and a row: the value's bits in an order-preserving form above, the complement of the row below. So
    keys differ, ``topk`` has one answer, and of equal values the lower row wins, in whatever batches the texts come.
    """

    def __init__(self, neurons: int, k: int, device: torch.device | str = "cpu"):
        self.keys = torch.full((neurons, k), _EMPTY, dtype=torch.int64, device=device)
        self.tokens = torch.full((neurons, k), -1, dtype=torch.int64, device=device)

    def merge(self, values: Tensor, tokens: Tensor, rows: Tensor) -> None:
        """Take the texts of a batch: ``values`` and ``tokens`` [B, n], ``rows`` [B] int64. A value of −infinity is no
        value.
        """
        keys = torch.cat([self.keys, _keys(values.float(), rows[:, None]).T], dim=1)
        self.keys, places = keys.topk(self.keys.shape[1], dim=1)
        self.tokens = torch.cat([self.tokens, tokens.T], dim=1).gather(1, places)

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return values float32, rows and tokens int64 [n, k], the highest value first. A place without a text has NaN, −1
        and −1.
        """
        empty = self.keys == _EMPTY
        values = _flipped((self.keys >> 32).to(torch.int32)).view(torch.float32).masked_fill(empty, torch.nan)
        rows = (_LOW - (self.keys & _LOW)).masked_fill(empty, -1)
        return values, rows, self.tokens.masked_fill(empty, -1)


def _keys(values: Tensor, rows: Tensor) -> Tensor:
    ordered = _flipped((values + 0.0).view(torch.int32)).long()  # −0.0 + 0.0 is 0.0, so the two are equal
    return (ordered * (_LOW + 1) + (_LOW - rows)).masked_fill(values == -torch.inf, _EMPTY)


def _flipped(bits: Tensor) -> Tensor:
    """Turn the bits of float32, as int32, into int32 in the order of the floats, or back."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


class Ends:
    """The texts at both ends of n neurons' ranges: a text's value is its highest, or its lowest, activation over its own
    tokens.
    """

    def __init__(self, neurons: int, k: int, device: torch.device | str = "cpu"):
        self.highest, self.lowest = TopTexts(neurons, k, device), TopTexts(neurons, k, device)

    def add(self, activation: Tensor, own: Tensor, rows: Tensor) -> None:
        """Take a batch: ``activation`` [B, T, n], ``own`` [B, T] bool the texts' own tokens, ``rows`` [B] int64.

        NaN is no value. Of equal tokens, the first counts. A text without own tokens is left out.
        """
        absent = ~own[:, :, None] | activation.isnan()
        values, tokens = activation.masked_fill(absent, -torch.inf).max(dim=1)
        self.highest.merge(values, tokens, rows)
        values, tokens = activation.masked_fill(absent, torch.inf).min(dim=1)
        self.lowest.merge(-values, tokens, rows)

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return values float32, rows and tokens int64 [2, n, k]: the highest ends, then the lowest."""
        (high, *of_high), (low, *of_low) = self.highest.result(), self.lowest.result()
        rows, tokens = (torch.stack(pair) for pair in zip(of_high, of_low, strict=True))
        return torch.stack([high, 0.0 - low]), rows, tokens
