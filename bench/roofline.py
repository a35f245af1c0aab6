"""Measure this machine's rates, with which a figure is compared."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from contest import Work

SHAPES = ((1792, 768, 768), (1792, 768, 3072), (1024, 1024, 4096))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measured_rates() -> dict[str, float]:
    """Return bytes a second of a copy in memory, read and written, and operations a second of torch's matrix product."""
    rates = {name: _matmul_rate(dtype) for name, dtype in DTYPES.items()}
    return {"copy": copy_rate(256 << 20), **rates, "int8": _int8_rate()}


def copy_rate(size: int) -> float:
    """Return bytes a second, read and written, of a copy of ``size`` bytes into memory that is allocated already."""
    source, target = torch.ones(size // 4), torch.ones(size // 4)
    return 2 * size / _best(lambda: target.copy_(source), 20)


def least_ms(work: Work, rates: dict[str, float]) -> float:
    """Return the milliseconds for the bytes or the operations at these rates, whichever is more."""
    return 1e3 * max(work.bytes / rates["copy"], work.operations / rates[work.dtype])


def _matmul_rate(dtype: torch.dtype) -> float:
    rates = []
    for m, k, n in SHAPES:
        a, b, out = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype), torch.empty(m, n, dtype=dtype)
        rates.append(2 * m * k * n / _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 10))
    return max(rates)


def _int8_rate() -> float:
    rates = []
    for m, k, n in SHAPES:
        a, b = (torch.randint(-127, 127, size, dtype=torch.int8) for size in ((m, k), (k, n)))
        rates.append(2 * m * k * n / _best(lambda a=a, b=b: torch._int_mm(a, b), 10))
    return max(rates)


def _best(call: Callable[[], object], times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
