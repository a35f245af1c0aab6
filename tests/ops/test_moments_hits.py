"""accumulate_moments and accumulate_hits against a float64 NumPy oracle, on the native and on the eager path."""

import numpy as np
import pytest
import torch
from hypothesis import given
from levels import DTYPES, threads
from statistics_cases import (
    EXAMPLES,
    batches,
    draw_threshold,
    hard_pairings,
    hits_oracle,
    laid_out,
    laid_out_state,
    laid_out_vector,
    moments_oracle,
    state,
)


@EXAMPLES
@given(batch=batches())
def test_moments_match_the_oracle(statistics, batch):
    shape = (batch.classes, *batch.act.shape[1:])
    start = torch.from_numpy(batch.rng.normal(size=shape))
    count = laid_out_vector(torch.arange(batch.classes), batch.state)
    total, total_sq = laid_out_state(start, batch.state), laid_out_state(start + 1, batch.state)
    expected = moments_oracle(count, total, total_sq, batch.act, batch.labels)
    with threads(batch.threads):
        statistics.accumulate_moments(count, total, total_sq, batch.act, batch.labels)
    np.testing.assert_array_equal(count.numpy(), expected[0])
    np.testing.assert_allclose(total.numpy(), expected[1], rtol=1e-12)
    np.testing.assert_allclose(total_sq.numpy(), expected[2], rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("step", [1, 2])
def test_every_16_bit_value_is_read_exactly(statistics, dtype, step):
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    act = bits.repeat_interleave(step).view(dtype)[None, None, ::step]
    count, total, total_sq = (
        torch.zeros(1, dtype=torch.int64),
        *torch.zeros(2, 1, 1, 2**16, dtype=torch.float64),
    )
    statistics.accumulate_moments(count, total, total_sq, act, torch.zeros(1, dtype=torch.int64))
    with np.errstate(invalid="ignore"):  # some of the values are signalling NaNs
        if dtype == torch.float16:
            expected = bits.numpy().view(np.float16).astype(np.float64)
        else:
            expected = (bits.numpy().view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        np.testing.assert_array_equal(total[0, 0].numpy(), expected)
        np.testing.assert_array_equal(total_sq[0, 0].numpy(), expected * expected)


# accumulate_hits ------------------------------------------------------------------------------------------


@EXAMPLES
@given(batch=batches())
def test_hits_match_the_oracle(statistics, batch):
    shape = tuple(batch.act.shape[1:])
    threshold = draw_threshold(batch.rng, batch.act, shape)
    hits = laid_out_state(torch.from_numpy(batch.rng.integers(100, size=(batch.classes, *shape))), batch.state)
    threshold = laid_out(threshold[None], batch.state)[0]
    expected = hits_oracle(hits, batch.act, threshold, batch.labels)
    with threads(batch.threads):
        statistics.accumulate_hits(hits, batch.act, threshold, batch.labels)
    np.testing.assert_array_equal(hits.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_thresholds_between_two_activations(statistics, dtype):
    act, threshold, labels, exceeds = hard_pairings(dtype)
    hits = torch.zeros(act.shape, dtype=torch.int64)
    statistics.accumulate_hits(hits, act, threshold, labels)
    np.testing.assert_array_equal(hits[0].numpy(), exceeds)


# Both statistics ------------------------------------------------------------------------------------------


def accumulate(statistics, to, act, threshold, labels):
    statistics.accumulate_moments(to.count, to.total, to.total_sq, act, labels)
    statistics.accumulate_hits(to.hits, act, threshold, labels)


@pytest.mark.parametrize("classes", [2, 150])
def test_neither_threads_nor_batch_size_change_a_bit(statistics, classes):
    generator = torch.Generator().manual_seed(0)
    act = torch.randn(48, 20, 1100, generator=generator)[:, 3:19]
    labels = torch.randint(classes, (48,), generator=generator)
    threshold = torch.randn(16, 1100, generator=generator, dtype=torch.float64)
    states = []
    for count, size in ((1, 48), (2, 48), (2, 7)):
        to = state(classes, 16, 1100)
        with threads(count):
            for part, part_labels in zip(act.split(size), labels.split(size), strict=True):
                accumulate(statistics, to, part, threshold, part_labels)
        states.append(to)
    np.testing.assert_array_equal(
        states[0].hits.numpy(), hits_oracle(torch.zeros_like(to.hits), act, threshold, labels)
    )
    for other in states[1:]:
        assert all(torch.equal(a, b) for a, b in zip(vars(states[0]).values(), vars(other).values(), strict=True))


@pytest.mark.parametrize("wrong", [-1, 3, 2**62])
def test_a_label_out_of_range_leaves_the_state_alone(statistics, wrong):
    labels = torch.tensor([0, 1, wrong, 2])
    act, threshold = torch.ones(4, 2, 5), torch.zeros(2, 5, dtype=torch.float64)
    to, untouched = state(3, 2, 5), state(3, 2, 5)
    message = rf"labels must lie in \[0, 3\), got {wrong} at example 2"
    with pytest.raises(RuntimeError, match="accumulate_moments: " + message):
        statistics.accumulate_moments(to.count, to.total, to.total_sq, act, labels)
    with pytest.raises(RuntimeError, match="accumulate_hits: " + message):
        statistics.accumulate_hits(to.hits, act, threshold, labels)
    assert all(torch.equal(a, b) for a, b in zip(vars(to).values(), vars(untouched).values(), strict=True))


@pytest.mark.parametrize("shape", [(0, 2, 5), (4, 0, 5), (4, 2, 0)])
def test_empty_axes(statistics, shape):
    batch, positions, neurons = shape
    to = state(2, positions, neurons)
    labels = torch.zeros(batch, dtype=torch.int64)
    accumulate(statistics, to, torch.ones(shape), torch.zeros(positions, neurons, dtype=torch.float64), labels)
    assert to.count.tolist() == [batch, 0]
    assert to.hits.sum() == batch * positions * neurons
