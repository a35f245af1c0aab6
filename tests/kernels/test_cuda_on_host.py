"""kendall_tau as CUDA serves it, kernels, launches and registration, on the host: see tests/kernels/cuda/on_host.h.

A device runs the same sources, and ``scripts/gpu_check.sh`` tests them there.
"""

import pytest
import torch
from kendall_cases import ALL, assert_right, columns
from nvcc import NVCC
from on_host import operator_on_host

from skn import ops  # noqa: F401  defines the operator whose schema is taken

pytestmark = [pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine"), pytest.mark.slow]


@pytest.fixture(scope="module")
def on_host(tmp_path_factory):
    changes = {
        "kendall_tau.cu": {"extern __shared__ double raw[];": "double* raw = dynamic_shared.data();"},
        "register_kendall.cpp": {"kWordsLimit = int64_t{1} << 28": "kWordsLimit = 4096"},
    }
    yield from operator_on_host(tmp_path_factory.mktemp("on_host"), "kendall_tau", "register_kendall.cpp", 5, changes)


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


def test_words_of_a_few_columns_at_a_time(on_host):
    x, y = columns(66, ["few", "normal"], 1), columns(66, ALL, 2)  # 5 columns are 4,096 bytes
    assert_right(on_host(x, y), x, y)


def test_no_gradient(on_host):
    x, y = columns(9, ALL, 1).requires_grad_(), columns(9, ALL, 2)
    assert not any(result.requires_grad for result in on_host(x, y))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), "x must be float32, bfloat16, float16 or float64"),
        (torch.zeros(3, 2), torch.zeros(4, 2), "y must have the rows of x, 3, got"),
        (torch.zeros(1, 2), torch.zeros(1, 2), "n must lie in"),
    ],
)
def test_wrong_arguments_are_named(on_host, x, y, message):
    with pytest.raises(RuntimeError, match=f"kendall_tau: {message}"):
        on_host(x, y)
