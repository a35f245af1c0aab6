"""A contest: its contestants, their turns, and the result."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Missing:
    """A contestant that cannot take part here, and the reason."""

    why: str


@dataclass(frozen=True)
class Sample:
    """A contestant that does one part in ``parts`` of the work. Its time is scaled up to the whole work."""

    call: Callable[[], object]
    parts: float


Contestant = Callable[[], object] | Sample | Missing


@dataclass(frozen=True)
class Work:
    """The least work of the task: bytes to or from memory, and operations at a measured rate."""

    bytes: float = 0.0
    operations: float = 0.0
    dtype: str = "float32"


def one_turn(contestants: dict[str, Contestant], seconds: dict[str, list[float]]) -> None:
    """Run every contestant once, and add its seconds.

    Each turn has its own order, so that none always stands behind the same one, which leaves caches and memory in its own
    state.
    """
    here = [name for name, contestant in contestants.items() if not isinstance(contestant, Missing)]
    random.Random(len(next(iter(seconds.values()), []))).shuffle(here)
    for name in here:
        contestant = contestants[name]
        call, parts = (contestant.call, contestant.parts) if isinstance(contestant, Sample) else (contestant, 1.0)
        start = time.perf_counter()
        call()
        seconds.setdefault(name, []).append((time.perf_counter() - start) * parts)


def quartiles(seconds: Sequence[float]) -> list[float]:
    """First quartile, median and third quartile, in milliseconds."""
    return [round(1e3 * float(q), 3) for q in np.percentile(seconds, [25, 50, 75])]


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return the lowest, median and highest ratio over the turns."""
    found = [a / b for a, b in zip(of, to, strict=True)]
    return [round(value, 4) for value in (min(found), statistics.median(found), max(found))]
