"""auroc against scikit-learn, and to the bit against its definition, on every path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import DTYPES, LEVELS, at_level, default, skip_unavailable, threads
from sklearn.metrics import roc_auc_score

from skn import ops
from skn.ops import reference_auroc

WORDS = {
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float64: torch.int64,
}


@pytest.fixture(params=(*LEVELS, "eager"), scope="session")
def auroc(request):
    skip_unavailable(request.param)
    return default("auroc") if request.param == "eager" else at_level(request.param, "auroc")


def columns(n, seed=0, dtype=torch.float32):
    """One column of every kind."""
    rng = np.random.default_rng(seed)
    some = np.array([np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 6e-8, -6e-8, 60000.0])
    kinds = [
        rng.normal(size=n),
        rng.normal(size=n) * 1e-3,
        np.maximum(rng.normal(size=n), 0),
        rng.integers(3, size=n),
        rng.integers(-n - 1, n + 1, size=n) / 8,
        np.full(n, -2.5),
        np.zeros(n) * np.where(rng.random(n) < 0.5, -1, 1),
        rng.choice(some, size=n),
        np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
        np.where(rng.random(n) < 0.5, np.nan, rng.choice(some, size=n)),
        np.where(rng.random(n) < 0.5, np.nan, -np.nan),
        np.arange(n),
        -np.arange(n),
        1 + rng.permutation(n) * (1e-14 if dtype == torch.float64 else 1.2e-7),  # different in the last bits only
    ]
    return torch.from_numpy(np.stack(kinds, axis=1).reshape(n, len(kinds)).astype(float)).to(dtype)


def labels_of(n, classes, seed=0):
    return torch.from_numpy(np.random.default_rng(seed + 100).integers(classes, size=n))


def by_sklearn(values, labels, classes):
    values, labels = values.to(torch.float64).numpy(), labels.numpy()
    area = np.full((classes, values.shape[1]), np.nan)
    for k, column in enumerate(values.T):
        valid = ~np.isnan(column)
        for c in range(classes):
            own = labels[valid] == c
            if own.any() and not own.all():
                area[c, k] = roc_auc_score(
                    own, np.unique(column[valid], return_inverse=True)[1]
                )  # it refuses infinities
    return area


def equal(found, expected):
    """To the bit; all NaNs are one."""
    area, other = (result[0].nan_to_num(nan=7.0).view(torch.int64) for result in (found, expected))
    return torch.equal(area, other) and torch.equal(found[1], expected[1])


# Values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_kind_of_column_against_sklearn(auroc, dtype, classes):
    values, labels = columns(203, classes, dtype), labels_of(203, classes)
    area, nan = auroc(values, labels, classes)
    assert (area.dtype, nan.dtype) == (torch.float64, torch.int64)
    np.testing.assert_allclose(area.numpy(), by_sklearn(values, labels, classes), rtol=0, atol=1e-12)
    assert torch.equal(nan, values.isnan().sum(dim=0))


def test_one_small_column_by_hand(auroc):
    values = torch.tensor([[1.0], [-0.0], [torch.nan], [0.0], [-torch.inf], [torch.inf]])
    area, nan = auroc(values, torch.tensor([1, 1, 1, 0, 0, 0]), 2)
    # 1 > 0, 1 > -inf, 1 < inf, -0 = 0, -0 > -inf, -0 < inf
    assert area.flatten().tolist() == [2.5 / 6, 3.5 / 6] and nan.tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "classes"), [(31, 2), (32, 2), (33, 3), (872, 2), (3000, 6), (3001, 6), (5000, 2)])
def test_every_kind_of_column_equals_the_definition(auroc, n, classes, dtype):
    """On both sides of the change of digits."""
    values, labels = columns(n, n, dtype), labels_of(n, classes)
    assert equal(auroc(values, labels, classes), reference_auroc.auroc(values, labels, classes))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 150),
    columns=st.integers(0, 70),
    classes=st.integers(1, 9),
    values=st.sampled_from([1, 2, 5, 40, 1000, None]),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_equals_the_definition(auroc, seed, n, columns, classes, values, dtype):
    generator = torch.Generator().manual_seed(seed)
    if values is None:  # every bit pattern, NaNs and subnormal numbers among them
        word = WORDS[dtype]
        low, high = torch.iinfo(word).min, torch.iinfo(word).max
        drawn = torch.randint(low, high, (n, columns), generator=generator, dtype=word).view(dtype)
    else:
        drawn = torch.randint(-values, values, (n, columns), generator=generator).to(dtype)
    labels = torch.randint(classes, (n,), generator=generator)
    found = auroc(drawn, labels, classes)
    assert found[0].shape == (classes, columns) and found[1].shape == (columns,)
    assert equal(found, reference_auroc.auroc(drawn, labels, classes))


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_too_few_examples_have_no_area(auroc, n, classes):
    area, nan = auroc(torch.ones(n, 20), torch.zeros(n, dtype=torch.int64), classes)
    assert area.shape == (classes, 20) and area.isnan().all() and nan.tolist() == [0] * 20


def test_a_class_without_examples_has_no_area(auroc):
    values, labels = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), labels_of(50, 2) * 2
    area, _ = auroc(values, labels, 3)
    assert area[1].isnan().all() and not area[[0, 2]].isnan().any()
    values[labels == 2, 1] = torch.nan
    area, nan = auroc(values, labels, 3)
    assert area.isnan().tolist() == [[False, True, False], [True] * 3, [False, True, False]]
    assert nan.tolist() == [0, int((labels == 2).sum()), 0]


def test_the_most_classes(auroc):
    most = 2**16
    labels = torch.tensor([0, most - 1, most - 1, 77])
    for dtype in DTYPES:
        area, _ = auroc(torch.tensor([[3.0], [1.0], [4.0], [2.0]], dtype=dtype), labels, most)
        assert area[[0, most - 1, 77], 0].tolist() == [2 / 3, 0.5, 1 / 3] and area.isnan().sum() == most - 3


def test_more_pairs_than_32_bits_hold():
    n = 100_000
    values, labels = torch.arange(n, dtype=torch.float32)[:, None], (torch.arange(n) >= n // 2).long()
    assert ops.auroc(values, labels, 2)[0].flatten().tolist() == [0.0, 1.0]


# Layouts, threads, modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides(auroc, dtype):
    values, labels = torch.cat([columns(70, 1, dtype)] * 3, dim=1), labels_of(70, 3)
    expected = auroc(values, labels, 3)
    wide = torch.full((140, 3 * values.shape[1]), 5.0, dtype=dtype)
    wide[::2, ::3] = values
    by_two = torch.zeros(140, dtype=torch.int64)
    by_two[::2] = labels
    for same in (wide[::2, ::3], values.T.contiguous().T, wide[::2].contiguous()[:, ::3]):
        assert equal(auroc(same, by_two[::2], 3), expected)


def test_expanded(auroc):
    values, labels = columns(70, 1)[:, :1].expand(-1, 20), labels_of(70, 2)
    assert equal(auroc(values, labels, 2), reference_auroc.auroc(values, labels, 2))
    rows = columns(70, 1)[:1].expand(70, -1)
    assert equal(auroc(rows, labels, 2), reference_auroc.auroc(rows, labels, 2))


@pytest.mark.parametrize("classes", [2, 5])
def test_threads_change_no_bit(auroc, classes):
    values, labels = torch.cat([columns(4000, 1)] * 12, dim=1), labels_of(4000, classes)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(auroc(values, labels, classes))
    assert equal(results[0], results[1]) and equal(results[0], results[2])


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no such mode")
@pytest.mark.parametrize("level", LEVELS)
def test_subnormal_numbers_differ_in_flush_mode_too(level):
    skip_unavailable(level)
    double = torch.tensor([[1e-40, 5e-324], [2e-40, 1e-323]], dtype=torch.float64)
    single = double.float()
    torch.set_flush_denormal(True)
    try:
        found = [at_level(level, "auroc")(x, torch.tensor([0, 1]), 2)[0][1].tolist() for x in (double, single)]
    finally:
        torch.set_flush_denormal(False)
    assert found[0] == [1, 1] and found[1][1] == 0.5


# Contracts ------------------------------------------------------------------------------------------------

GOOD, LABELS = torch.zeros(4, 2), torch.tensor([0, 1, 1, 0])
WRONG = [
    (torch.zeros(4), LABELS, 2, r"values must be float32, bfloat16, float16 or float64 \[N, K\], got float32 \[4\]"),
    (GOOD.long(), LABELS, 2, r"values must be float32, .* got int64 \[4, 2\]"),
    (GOOD, LABELS[:3], 2, r"labels must be int64 \[N\] = \[4\], got int64 \[3\]"),
    (GOOD, LABELS.int(), 2, r"labels must be int64 \[N\] = \[4\], got int32 \[4\]"),
    (GOOD, LABELS[:, None], 2, r"labels must be int64 \[N\] = \[4\], got int64 \[4, 1\]"),
    (GOOD, LABELS, 0, r"classes must lie in \[1, 65536\], got 0"),
    (GOOD, LABELS, 65537, r"classes must lie in \[1, 65536\], got 65537"),
    (torch.zeros(1, 1).expand(2**31, 1), torch.zeros(1).long().expand(2**31), 2, "N must be at most 2147483647, got"),
]


@pytest.mark.parametrize(("values", "labels", "classes", "message"), WRONG)
def test_wrong_arguments_are_named(auroc, values, labels, classes, message):
    with pytest.raises(RuntimeError, match=f"auroc: {message}"):
        auroc(values, labels, classes)


@pytest.mark.parametrize(("values", "labels", "classes", "message"), WRONG)
def test_the_fake_refuses_the_same(values, labels, classes, message):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        values, labels = mode.from_tensor(values), mode.from_tensor(labels)
        with pytest.raises(RuntimeError, match=message):
            ops.auroc(values, labels, classes)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_labels_out_of_range_are_named(auroc, wrong):
    labels = torch.tensor([0, 1, wrong, 0])
    with pytest.raises(RuntimeError, match=rf"auroc: labels must lie in \[0, 2\), got {wrong} at example 2"):
        auroc(GOOD, labels, 2)


def test_tensors_of_two_devices_are_refused():
    with pytest.raises(RuntimeError, match="auroc: labels must be on the device of values"):
        ops.auroc(GOOD, LABELS.to("meta"), 2)


def test_no_gradient(auroc):
    assert not auroc(torch.randn(4, 2, requires_grad=True), LABELS, 2)[0].requires_grad
