"""The paths of an operator: the native kernels of each instruction set, or the eager definition."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from skn import ops
from skn.ops import (
    areas,
    backends,
    digests,
    encoder,
    ffn,
    kendall,
    native,
    permutations,
    reference,
    reference_kendall,
    statistics,
)

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
LEVELS = ("baseline", "avx2", "avx512")


def at_level(level, name):
    def call(*arguments, **named):
        with native.limited_isa(level):
            assert native.kernel_isa(name) == level
            return getattr(ops, name)(*arguments, **named)

    return call


def default(name):
    """Return what the dispatcher runs if nothing is registered over the default: the checks, then the eager definition."""
    files = (areas, digests, encoder, ffn, kendall, permutations, statistics)
    return next(getattr(file, f"_default_{name}") for file in files if hasattr(file, f"_default_{name}"))


def paths_of(names):
    """Return the operators on each path, by the path's name."""
    return {
        **{level: SimpleNamespace(**{name: at_level(level, name) for name in names}) for level in LEVELS},
        "eager": SimpleNamespace(**{name: default(name) for name in names}),
        "reference": SimpleNamespace(**{name: _definition(name) for name in names}),
    }


def _definition(name):
    return getattr(reference_kendall if name == "kendall_tau" else reference, name)


def skip_unavailable(path):
    if path in LEVELS and backends.native_library() is None:
        pytest.skip(f"no native library: {native.build_record()['reason']}")
    if path in LEVELS and path not in native.available():
        pytest.skip(f"this machine has {native.machine_isa()}")


@pytest.fixture(params=("eager", *native.LEVELS))
def level(request):
    """The path of an operator with matrix products: "eager", or natively at one instruction set."""
    if request.param == "eager":
        yield "eager"
        return
    if request.param not in native.available():
        pytest.skip(f"this machine has {native.machine_isa()}")
    with native.limited_isa(request.param):
        yield request.param


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
