"""Triton statistics and pooling against the float64 oracle of test_ops, on tensors that are multiples of nothing."""

import numpy as np
import pytest
import torch
from levels import DTYPES
from skn.kernels import groups, pooling, statistics
from statistics_cases import draw_threshold, hard_pairings, hits_oracle, laid_out, laid_out_vector, moments_oracle
from triton_device import DEVICE, INTERPRETED, draw_readable, on_device

from skn.ops import reference

LAYOUTS = ["contiguous", "slice", "step", "transposed", "same examples"]
# Every layout with one type and every type with one layout: the interpreter is slow.
INPUTS = [*((torch.float32, layout) for layout in LAYOUTS), *((dtype, "slice") for dtype in DTYPES[1:])]


def batch(size, dtype, layout, classes):
    """act, labels of which a class is absent where there are several, and a generator."""
    rng = np.random.default_rng(len(layout) + size[0])
    labels = rng.integers(classes, size=size[0])
    labels[labels == classes // 2] = 0
    act = laid_out(draw_readable(rng, size, dtype), layout)
    return act, laid_out_vector(torch.from_numpy(labels), "step"), rng


def assert_sums(actual, expected, magnitude):
    """Equal but for the order of the float64 additions: the error is relative to the sum of the terms' magnitudes."""
    actual = actual.cpu().numpy()
    with np.errstate(invalid="ignore"):
        near = np.abs(actual - expected) <= 1e-12 * magnitude
    assert (near | (actual == expected) | (np.isnan(actual) & np.isnan(expected))).all()


@pytest.mark.parametrize(("dtype", "layout"), INPUTS)
@pytest.mark.parametrize("size", [(1, 1, 1), (21, 2, 131)])
def test_statistics_match_the_oracle(dtype, size, layout):
    classes = 5
    act, labels, rng = batch(size, dtype, layout, classes)
    cells = (classes, *size[1:])
    state_layout = "contiguous" if layout == "same examples" else layout
    threshold = laid_out(draw_threshold(rng, act, cells[1:])[None], state_layout)[0]
    start = torch.from_numpy(rng.normal(size=cells))
    count, total, total_sq, hits = (
        torch.arange(classes),
        *(laid_out(values, state_layout) for values in (start, start + 1, torch.arange(start.numel()).view(cells))),
    )
    moments = moments_oracle(count, total, total_sq, act, labels)
    finite = torch.nan_to_num(act.double().abs(), 0.0, 0.0, 0.0)
    magnitude = moments_oracle(count, total.abs(), total_sq.abs(), finite, labels)
    counts = hits_oracle(hits, act, threshold, labels)
    count, total, total_sq, hits, act, threshold, labels = on_device(
        count, total, total_sq, hits, act, threshold, labels
    )
    statistics.accumulate_moments(count, total, total_sq, act, labels)
    statistics.accumulate_hits(hits, act, threshold, labels)
    np.testing.assert_array_equal(hits.cpu().numpy(), counts)
    np.testing.assert_array_equal(count.cpu().numpy(), moments[0])
    assert_sums(total, moments[1], magnitude[1])
    assert_sums(total_sq, moments[2], magnitude[2])


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != torch.bfloat16 or not INTERPRETED])
def test_thresholds_between_two_activations(dtype):
    act, threshold, labels, exceeds = hard_pairings(dtype)
    hits, *given = on_device(torch.zeros(act.shape, dtype=torch.int64), act, threshold, labels)
    statistics.accumulate_hits(hits, *given)
    np.testing.assert_array_equal(hits[0].cpu().numpy(), exceeds)


@pytest.mark.parametrize("wrong", [-1, 3, 2**62])
def test_a_label_out_of_range_leaves_the_state_alone(wrong):
    act, labels, hits, threshold = on_device(
        torch.ones(3, 1, 2),
        torch.tensor([0, wrong, 2]),
        torch.zeros(3, 1, 2, dtype=torch.int64),
        torch.zeros(1, 2, dtype=torch.float64),
    )
    count, total = torch.zeros_like(hits[:, 0, 0]), torch.zeros_like(hits, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=rf"accumulate_hits: labels must lie .* got {wrong} at example 1"):
        statistics.accumulate_hits(hits, act, threshold, labels)
    with pytest.raises(RuntimeError, match=rf"accumulate_moments: labels must lie .* got {wrong} at example 1"):
        statistics.accumulate_moments(count, total, total, act, labels)
    assert not hits.any() and not count.any() and not total.any()


@pytest.mark.parametrize("shape", [(0, 2, 5), (4, 0, 5), (4, 2, 0)])
def test_empty_axes(shape):
    examples, positions, neurons = shape
    act, labels, count, cells, threshold = on_device(
        torch.ones(shape),
        torch.zeros(examples, dtype=torch.int64),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, positions, neurons, dtype=torch.int64),
        torch.zeros(positions, neurons, dtype=torch.float64),
    )
    statistics.accumulate_moments(count, cells.double(), cells.double(), act, labels)
    statistics.accumulate_hits(cells, act, threshold, labels)
    assert count.tolist() == [examples, 0] and not cells.any()


def test_groups_are_kept_until_the_labels_change():
    labels, device = torch.tensor([1, 0, 1]), torch.device(DEVICE)
    first = groups.group_by_class("op", labels, 2, device)
    assert first.order.tolist() == [1, 0, 2] and first.begin.tolist() == [0, 1, 3]
    assert groups.group_by_class("op", labels.clone(), 2, device) is first
    assert groups.group_by_class("op", labels, 3, device).begin.tolist() == [0, 1, 3, 3]
    labels.data[0] = 0
    assert groups.group_by_class("op", labels, 3, device).order.tolist() == [0, 1, 2]


@pytest.fixture
def neurons(monkeypatch) -> int:
    """More than a tile. The interpreter gets narrow tiles, because it takes each maximum of two values by itself."""
    if INTERPRETED:
        monkeypatch.setattr(pooling, "BLOCK_F", 16)
    return pooling.BLOCK_F + 3


@pytest.mark.parametrize(("dtype", "layout"), INPUTS)
@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_matches_the_definition(dtype, layout, how, neurons):
    act, _, rng = batch((4, 37, neurons), dtype, layout, 2)
    offset = torch.tensor([0, 37, 5, 36])
    lengths = laid_out_vector(torch.tensor([37, 0, 19, 1]), "step")
    expected = reference.pool_tokens(act, lengths, offset, how)
    pooled = pooling.pool_tokens(*on_device(act, lengths, offset), how).cpu()
    assert pooled.dtype == expected.dtype
    largest = torch.nan_to_num(act, 0.0, 0.0, 0.0).abs().max().item() if how == "mean" else 0.0
    rtol = {"mean": 1e-12 if dtype == torch.float64 else 2e-7, "max": 0.0}[how]
    torch.testing.assert_close(pooled, expected, rtol=rtol, atol=1e-14 * largest, equal_nan=True)


@pytest.mark.parametrize(("length", "first"), [(3, 2), (-1, 0), (1, -1), (0, 5), (2**63 - 1, 1)])
def test_a_span_out_of_range_is_refused(length, first):
    act, lengths, offset = on_device(torch.ones(2, 4, 3), torch.tensor([4, length]), torch.tensor([0, first]))
    with pytest.raises(RuntimeError, match=rf"example 1 covers {length} tokens from {first} on, outside of 4"):
        pooling.pool_tokens(act, lengths, offset, "mean")


def test_no_tokens_at_all():
    act, nothing = on_device(torch.ones(2, 0, 3), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(pooling.pool_tokens(act, nothing, nothing, "max").cpu(), torch.zeros(2, 3))


def test_registration_keeps_what_is_there_and_checks_first():
    from skn.kernels import register

    registered = {}

    class Library:
        def impl(self, op, kernel, key):
            registered[op] = kernel
            assert key == "CUDA"

    def check(act, *_):
        torch._check(act.dim() == 3, lambda: "checked")

    launchers = register.launchers()
    register.register(Library(), dict.fromkeys(launchers, check))
    served = {op for op in launchers if torch._C._dispatch_has_kernel_for_dispatch_key(f"skn::{op}", "CUDA")}
    assert registered.keys() == launchers.keys() - served
    registered.clear()
    register.register(Library(), {"encode": check})
    assert registered.keys() == {"encode"} - served
    if INTERPRETED:
        pool = register.checked(check, launchers["pool_tokens"])
        nothing = torch.zeros(2, dtype=torch.int64)
        with pytest.raises(RuntimeError, match="checked"):
            pool(torch.ones(2, 3), nothing, nothing, "mean")
        assert pool(torch.ones(2, 1, 3), nothing + 1, nothing, "mean").tolist() == [[1.0] * 3] * 2
