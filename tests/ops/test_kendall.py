"""kendall_tau against scipy and against a NumPy oracle that looks at every pair, on every path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kendall_cases import ALL, assert_right, by_scipy, columns, tie_sums
from levels import DTYPES, LEVELS, paths_of, skip_unavailable, threads

from skn import ops

PATHS = paths_of(["kendall_tau"])
LIMIT = 2**20  # rows


@pytest.fixture(params=PATHS, scope="session")
def tau(request):
    skip_unavailable(request.param)
    return PATHS[request.param].kendall_tau


@pytest.fixture(params=[*LEVELS, "eager"], scope="session")
def checked(request):
    """The paths that check shapes, too; ``reference`` leaves that to ``skn.ops``."""
    skip_unavailable(request.param)
    return PATHS[request.param].kendall_tau


@pytest.fixture(params=LEVELS, scope="session")
def native_level(request):
    skip_unavailable(request.param)
    return PATHS[request.param].kendall_tau


# Oracles --------------------------------------------------------------------------------------------------


# Values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 17, 63, 64, 65, 66, 128, 129, 130, 351])
def test_every_kind_of_column_against_scipy(tau, n):
    x, y = columns(n, ALL, 1), columns(n, ALL, 2)
    assert_right(tau(x, y), x, y)


@pytest.mark.parametrize("n", [1000, 2000])
def test_more_rows(tau, n):
    x, y = columns(n, ["normal", "few", "close and tied"], 1), columns(n, ["normal", "many"], 2)
    assert_right(tau(x, y), x, y)


@pytest.mark.parametrize("n", [4096, 4097, 5000])
def test_both_sides_of_the_change_to_merge_sort(native_level, n):
    x = columns(n, ["normal", "few", "nan", "constant"], 1)
    y = columns(n, ["few", "normal"], 2)
    result = native_level(x, y)
    np.testing.assert_array_equal(result[0].numpy(), by_scipy(x, y))
    for side, ties in ((x, result[2]), (y, result[3])):
        np.testing.assert_array_equal(ties.numpy(), [tie_sums(column) for column in side.numpy().T])
    swapped = native_level(y[:, :1], x)
    assert torch.equal(swapped[1][0], result[1][:, 0]) and torch.equal(swapped[3], result[2])


@pytest.mark.parametrize("other", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_read_exactly(tau, dtype, other):
    x, y = columns(90, ALL, 1, dtype), columns(90, ALL[:6], 2, other)
    assert_right(tau(x, y), x, y)


@pytest.mark.parametrize("shape", [(1, 1), (16, 3), (3, 16), (17, 17), (40, 9)])
def test_numbers_of_columns(checked, shape):
    kinds = [ALL[i % len(ALL)] for i in range(max(shape))]
    x, y = columns(20, kinds[: shape[0]], 1), columns(20, kinds[: shape[1]], 2)
    assert_right(checked(x, y), x, y)


def test_more_columns_than_are_prepared_at_once(native_level):
    kinds = [ALL[i % len(ALL)] for i in range(300)]
    x, y = columns(20, kinds, 1), columns(20, kinds[:280], 2)
    tau, concordance, ties_x, ties_y = native_level(x, y)
    for a in range(0, 300, 100):
        part = native_level(x[:, a : a + 100], y)  # the other side is prepared then
        assert torch.equal(part[1], concordance[a : a + 100]) and torch.equal(part[2], ties_x[a : a + 100])
        assert torch.equal(part[0].nan_to_num(9), tau[a : a + 100].nan_to_num(9)) and torch.equal(part[3], ties_y)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 150),
    p=st.integers(0, 20),
    q=st.integers(0, 5),
    values=st.sampled_from([1, 2, 5, 40, 1000]),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=60, deadline=None)
def test_whole_numbers_match_the_pairs(tau, seed, n, p, q, values, dtype):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randint(-values, values, (n, size), generator=generator).to(dtype) for size in (p, q))
    assert_right(tau(x, y), x, y)


# Layouts, threads, modes ----------------------------------------------------------------------------------


def test_strides(tau):
    x, y = columns(70, ALL * 2, 1, torch.float32), columns(70, ALL[:5], 2)
    expected = tau(x, y)
    wide = torch.full((140, 3 * x.shape[1]), 5.0)
    wide[::2, ::3] = x
    for same in (wide[::2, ::3], x.T.contiguous().T, x.flip(0).flip(0)):
        for result, right in zip(tau(same, y.T.contiguous().T), expected, strict=True):
            assert torch.equal(torch.nan_to_num(result.double()), torch.nan_to_num(right.double()))


def test_expanded(tau):
    one, y = columns(70, ["normal"], 1), columns(70, ALL[:5], 2)
    x = one.expand(-1, 20)
    assert_right(tau(x, y), x, y)
    rows = columns(2, ALL, 1)[:1].expand(70, -1)  # all of them constant
    assert_right(tau(rows, y), rows, y)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_no_columns(tau, sizes):
    x, y = (columns(30, ["few"] * 3, i)[:, :size] for i, size in enumerate(sizes))
    result = tau(x, y)
    assert [tuple(r.shape) for r in result] == [sizes, sizes, (sizes[0], 3), (sizes[1], 3)]
    for side, ties in ((x, result[2]), (y, result[3])):
        assert ties.tolist() == [list(tie_sums(column)) for column in side.numpy().T]


@pytest.mark.parametrize("n", [351, 4200])
def test_threads_change_no_bit(native_level, n):
    x, y = columns(n, ["normal", "few", "many", "normal"] * 9, 1, torch.float32), columns(n, ["few", "normal"], 2)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(native_level(x, y))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no such mode")
def test_subnormal_numbers_differ_in_flush_mode_too(native_level):
    x = torch.tensor([[1e-40, 5e-324], [2e-40, 1e-323], [0.0, 0.0]], dtype=torch.float64)
    single, y = torch.tensor([[1e-40], [2e-40], [0.0]]), torch.tensor([[2.0], [3.0], [1.0]])
    torch.set_flush_denormal(True)
    try:
        found = [native_level(x, y)[1].flatten().tolist(), native_level(single, y)[1].item()]
    finally:
        torch.set_flush_denormal(False)
    assert found == [[3, 3], 3]


# Contracts ------------------------------------------------------------------------------------------------

GOOD = torch.zeros(4, 2)
WRONG = [
    (torch.zeros(4), GOOD, r"x must be float32, bfloat16, float16 or float64 \[n, p\], got float32 \[4\]"),
    (GOOD.long(), GOOD, r"x must be float32, .* got int64 \[4, 2\]"),
    (GOOD, torch.zeros(4, 2, 1), r"y must be float32, .* \[n, q\], got float32 \[4, 2, 1\]"),
    (GOOD, GOOD.int(), r"y must be float32, .* got int32 \[4, 2\]"),
    (GOOD, torch.zeros(5, 2), r"y must have the rows of x, 4, got float32 \[5, 2\]"),
    (torch.zeros(1, 2), torch.zeros(1, 3), r"n must lie in \[2, 1048576\], got 1"),
    (torch.zeros(0, 2), torch.zeros(0, 3), r"n must lie in \[2, 1048576\], got 0"),
    (torch.zeros(1, 1).expand(LIMIT + 1, 1), torch.zeros(1, 1).expand(LIMIT + 1, 1), "got 1048577"),
]


@pytest.mark.parametrize(("x", "y", "message"), WRONG)
def test_wrong_arguments_are_named(checked, x, y, message):
    with pytest.raises(RuntimeError, match=f"kendall_tau: .*{message}"):
        checked(x, y)


@pytest.mark.parametrize(("x", "y", "message"), WRONG)
def test_the_fake_refuses_the_same(x, y, message):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x, y = mode.from_tensor(x), mode.from_tensor(y)
        with pytest.raises(RuntimeError, match=message):
            ops.kendall_tau(x, y)


def test_tensors_of_two_devices_are_refused():
    with pytest.raises(RuntimeError, match="kendall_tau: y must be on the device of x"):
        ops.kendall_tau(GOOD, GOOD.to("meta"))


def test_no_gradient(tau):
    x, y = columns(9, ALL[:5], 1).requires_grad_(), columns(9, ALL[:2], 2)
    assert not any(result.requires_grad for result in tau(x, y))


def test_the_most_rows_do_not_overflow(native_level):
    result = native_level(torch.ones(1, 1).expand(LIMIT, 1), torch.arange(LIMIT, dtype=torch.float64)[:, None])
    assert torch.isnan(result[0]).all() and result[1].item() == 0
    assert result[2].tolist() == [[LIMIT * (LIMIT - 1) // 2, LIMIT * (LIMIT - 1) * (LIMIT - 2),
                                   LIMIT * (LIMIT - 1) * (2 * LIMIT + 5)]]  # fmt: skip
