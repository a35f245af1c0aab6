"""Measure this machine's rates, with which a figure is compared."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from contest import Work

SHAPES = ((1792, 768, 768), (1792, 768, 3072), (1024, 1024, 4096))
COUNTED = "population count"
ENOUGH = 5.0  # seconds: a processor without bfloat16 or int8 instructions takes that for one product
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measured_rates() -> dict[str, float]:
    """Return bytes a second of a copy in memory, read and written, operations a second of torch's matrix product, and, where
    there is a C compiler, words a second of a population count.
    """
    rates = {name: _matmul_rate(dtype) for name, dtype in DTYPES.items()}
    counted = {COUNTED: _count_rate()} if _compiler() else {}
    return {"copy": copy_rate(256 << 20), **rates, "int8": _int8_rate(), **counted}


def copy_rate(size: int) -> float:
    """Return bytes a second, read and written, of a copy of ``size`` bytes into memory that is allocated already."""
    source, target = torch.ones(size // 4), torch.ones(size // 4)
    return 2 * size / _best(lambda: target.copy_(source), 20)


def least_ms(work: Work, rates: dict[str, float]) -> float | None:
    """Return the milliseconds for the bytes or the operations at these rates, whichever is more; None without the rate."""
    if work.operations and work.dtype not in rates:
        return None
    of_operations = work.operations / rates[work.dtype] if work.operations else 0.0
    return 1e3 * max(work.bytes / rates["copy"], of_operations)


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


def _count_rate() -> float:
    """Words of 64 bits a second through and, population count and addition, on as many threads as torch has."""
    words, times, threads = torch.randint(-(2**62), 2**62, (1792,)), 100_000, torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "population_count.so"
        source = Path(__file__).with_name("population_count.c")
        flags = ("-O3", "-march=native", "-fPIC", "-shared", "-o", str(library))
        subprocess.run([_compiler(), *flags, str(source)], check=True)
        count = ctypes.CDLL(str(library)).count_words
    count.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_size_t)
    count.restype = ctypes.c_uint64

    def on_all_threads() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda mask: count(words.data_ptr(), len(words), mask, times), range(threads)))

    return threads * len(words) * times / _best(on_all_threads, 10)


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def _best(call: Callable[[], object], times: int) -> float:
    """The least seconds of ``times`` calls, or of those that began within ``ENOUGH`` seconds."""
    call()
    seconds, begin = [], time.perf_counter()
    while len(seconds) < times and time.perf_counter() - begin < ENOUGH:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
