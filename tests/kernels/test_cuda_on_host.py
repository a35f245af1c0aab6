"""kendall_tau as CUDA serves it, kernels and launcher, on the host: see tests/kernels/cuda/on_host.h.

A device runs the same sources, and ``scripts/gpu_check.sh`` tests them there.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from kendall_cases import ALL, by_pairs, by_scipy, columns
from nvcc import NVCC
from repository import REPOSITORY
from skn.kernels import tau

pytestmark = [pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine"), pytest.mark.slow]

LAUNCH = re.compile(r"(\w+(?:<[\w, ]+>)?)<<<(.*?)>>>\((.*?)\);", re.DOTALL)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The source with its launches as calls, compiled for the host."""
    folder = tmp_path_factory.mktemp("on_host")
    source = (REPOSITORY / "csrc" / "cuda" / "kendall_tau.cu").read_text()
    source = source.replace("extern __shared__ double raw[];", "double* raw = dynamic_shared.data();")
    source, launches = LAUNCH.subn(r"launch([&] { \1(\3); }, \2);", source)
    assert launches == 3
    (folder / "tau.cpp").write_text('#include "on_host.h"\n' + source)
    includes = ("-I", Path(__file__).parent / "cuda", "-I", REPOSITORY / "csrc" / "cuda")
    command = (NVCC, "-std=c++20", "-O2", "-shared", "-Xcompiler=-fPIC,-pthread,-Wno-unknown-pragmas", *includes)
    done = subprocess.run(
        [*map(str, command), str(folder / "tau.cpp"), "-o", str(folder / "tau.so")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "tau.so"


@pytest.fixture
def on_host(library, monkeypatch):
    """The launcher on CPU tensors, with the library of the host."""
    monkeypatch.setattr(tau.native, "CUDA_LIBRARY", library)
    monkeypatch.setattr(tau, "_stream", lambda: None)
    tau._library.cache_clear()
    yield tau.kendall_tau
    tau._library.cache_clear()


def assert_right(result, x, y):
    assert [r.dtype for r in result] == [torch.float64, torch.int64, torch.int64, torch.int64]
    # A unit in the last place: the root of torch on the CPU is not always the nearest number; that of CUDA is.
    np.testing.assert_allclose(result[0].numpy(), by_scipy(x, y), rtol=4e-16, atol=0)
    for found, expected in zip(result[1:], by_pairs(x, y), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("n", [2, 3, 33, 66])
def test_every_kind_of_column(on_host, n):
    x, y = columns(n, ALL, 1), columns(n, ALL, 2)
    assert_right(on_host(x, y), x, y)


@pytest.mark.parametrize(
    ("dtype", "other"),
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.bfloat16),
        (torch.bfloat16, torch.float64),
        (torch.float64, torch.float16),
    ],
)
def test_dtypes_are_read_exactly(on_host, dtype, other):
    x, y = columns(40, ALL, 1, dtype), columns(40, ALL[:6], 2, other)
    assert_right(on_host(x, y), x, y)


@pytest.mark.parametrize("shape", [(1, 15), (5, 16), (37, 2), (0, 3), (3, 0)])
def test_numbers_of_columns_and_strides(on_host, shape):
    x, y = (columns(20, [ALL[i % len(ALL)] for i in range(2 * max(1, p))], p).float()[:, ::2][:, :p] for p in shape)
    assert_right(on_host(x.t().contiguous().t(), y), x, y)
    assert_right(on_host(x[:, :1].expand(-1, shape[0]), y), x[:, :1].expand(-1, shape[0]), y)


def test_beyond_the_words_plain_loops_count(on_host):
    n = 3100  # in float64 3,071 rows are the last that fit
    x, y = columns(n, ["few", "nan", "normal"], 1), columns(n, ["few"], 2)
    assert_right(on_host(x, y), x, y)


def test_words_of_a_few_columns_at_a_time(on_host, monkeypatch):
    x, y = columns(50, ["few", "normal"], 1), columns(50, ALL, 2)
    whole = on_host(x, y)
    monkeypatch.setattr(tau, "WORKSPACE", 3 * tau._library().skn_concordance_workspace(50, 0, True))
    assert tau._columns_at_once(x) == 3
    for a, b in zip(on_host(x, y), whole, strict=True):
        assert torch.equal(a.nan_to_num(9), b.nan_to_num(9))
