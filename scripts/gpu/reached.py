"""Assert that a check reaches its kernel. On CUDA, other code answers for a shape or a build without the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def served(op: str, device: str, *wanted: str) -> str:
    """Return what serves an operator. On CUDA, ``AssertionError`` says that it is none of ``wanted``."""
    from skn.ops import backends

    found = backends.implementation(op, device)
    assert device == "cpu" or found in wanted, f"{op} is served by {found}, so that no kernel of skn was reached"
    return found


class Counting:
    """A launcher, or a Triton kernel, that counts its calls."""

    def __init__(self, real: object, calls: list):
        self.real, self.calls = real, calls

    def __call__(self, *arguments, **named):
        self.calls.append(1)
        return self.real(*arguments, **named)

    def __getitem__(self, grid):
        return Counting(self.real[grid], self.calls)

    def __get__(self, owner, _type=None):
        return self if owner is None else Counting(self.real.__get__(owner), self.calls)


@contextmanager
def counted(owner: object, name: str) -> Iterator[list]:
    """Yield a list that grows with every call of ``owner.name`` inside the context."""
    calls, real = [], getattr(owner, name)
    setattr(owner, name, Counting(real, calls))
    try:
        yield calls
    finally:
        setattr(owner, name, real)


@contextmanager
def launched(device: str, module: str, name: str, times: int) -> Iterator[None]:
    """Expect exactly ``times`` launches of ``skn.kernels.<module>.<name>`` on CUDA. Other devices are not checked."""
    if device == "cpu":
        yield
        return
    import importlib

    with counted(importlib.import_module(f"skn.kernels.{module}"), name) as calls:
        yield
    assert len(calls) == times, f"{module}.{name} was launched {len(calls)} times and not {times}: another way served"


def way_of_pruned(device: str, dtype: torch.dtype, hidden: int, neurons: int) -> str:
    """Return the module of ``skn.kernels`` that serves ``ffn_pruned``: C++ where it was built, for few neurons in
    bfloat16 that its shared memory holds.
    """
    if device == "cpu":
        return "ffn_pruned"
    from skn.kernels import ffn_resident

    few = dtype == torch.bfloat16 and neurons <= ffn_resident.most_neurons(hidden, torch.device(device, 0))
    return "ffn_resident" if few else "ffn_pruned"
