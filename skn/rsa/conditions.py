"""Names and pairs of conditions.

Pairs have the order of the strict lower triangle by column: (0, 1), (0, 2), …, (1, 2), …
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from skn.errors import InputError


def pair_count(conditions: int) -> int:
    return conditions * (conditions - 1) // 2


def condition_count(pairs: int) -> int | None:
    """Return how many conditions have that many pairs; None if no number of conditions has."""
    conditions = (1 + math.isqrt(1 + 8 * pairs)) // 2
    return conditions if pairs > 0 and pair_count(conditions) == pairs else None


def pair_numbers(conditions: int) -> Tensor:
    """[C, C] int64, symmetric: the number of each pair of conditions; −1 on the diagonal."""
    numbers = torch.full((conditions, conditions), -1)
    first, second = torch.triu_indices(conditions, conditions, 1)
    numbers[first, second] = numbers[second, first] = torch.arange(pair_count(conditions))
    return numbers


def pairs_of(chosen: Sequence[int], conditions: int) -> Tensor:
    """Return the pairs of the ``chosen`` conditions, in their order, as numbers of pairs of all: [pairs of chosen]
    int64.
    """
    index = torch.tensor(chosen)
    first, second = torch.triu_indices(len(chosen), len(chosen), 1)
    return pair_numbers(conditions)[index[first], index[second]]


def refuse_repeated(names: Sequence[str], where: str, what: str = "condition") -> None:
    """Raises :class:`InputError` if a name occurs twice."""
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise InputError(f"{where}: {what} '{repeated}' stands there twice; keep one")


def listed(names: Sequence[object], most: int = 5) -> str:
    """List the first few of many names, and count the others."""
    rest = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {rest} more" if rest > 0 else "")
