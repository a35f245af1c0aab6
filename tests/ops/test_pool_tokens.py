"""pool_tokens against a float64 NumPy oracle, on the native and on the eager path."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from levels import threads
from statistics_cases import EXAMPLES, batches, laid_out_vector


@EXAMPLES
@given(batch=batches(), reduce=st.sampled_from(["mean", "max"]), layout=st.sampled_from(["", "step"]))
def test_pooling_matches_the_oracle(statistics, batch, reduce, layout):
    act = batch.act
    examples, tokens, neurons = act.shape
    offset = batch.rng.integers(tokens + 1, size=examples)
    lengths = batch.rng.integers(tokens - offset + 1)
    exact = act.to(torch.float64).numpy()
    expected = np.zeros((examples, neurons))
    with np.errstate(all="ignore"):
        for b in range(examples):
            span = exact[b, offset[b] : offset[b] + lengths[b]]
            if len(span):
                expected[b] = span.mean(axis=0) if reduce == "mean" else span.max(axis=0)
    spans = (laid_out_vector(torch.from_numpy(v), layout) for v in (lengths, offset))
    with threads(batch.threads):
        pooled = statistics.pool_tokens(act, *spans, reduce)
    assert pooled.dtype == (torch.float64 if act.dtype == torch.float64 else torch.float32)
    assert pooled.shape == (examples, neurons)
    if reduce == "max":
        np.testing.assert_array_equal(pooled.numpy(), expected)
    else:
        # float64 sums in another order, so where terms cancel the error is relative to the largest term.
        largest = np.abs(exact, where=np.isfinite(exact), out=np.zeros_like(exact)).max(initial=0.0)
        tolerance = 1e-12 if act.dtype == torch.float64 else 2e-7
        np.testing.assert_allclose(
            pooled.numpy(), expected, rtol=tolerance, atol=1e-14 * largest + torch.finfo(pooled.dtype).tiny
        )


def test_pooling_many_tokens_on_two_threads(statistics):
    act = torch.randn(6, 70, 1100, generator=torch.Generator().manual_seed(0)).transpose(0, 1).contiguous()
    act = act.transpose(0, 1)
    lengths, offset = torch.tensor([70, 0, 1, 12, 69, 30]), torch.tensor([0, 70, 69, 3, 1, 40])
    with threads(2):
        mean, most = (statistics.pool_tokens(act, lengths, offset, how) for how in ("mean", "max"))
    for b, (n, first) in enumerate(zip(lengths.tolist(), offset.tolist(), strict=True)):
        span = act[b, first : first + n].double()
        torch.testing.assert_close(mean[b].double(), span.mean(0) if n else torch.zeros(1100).double())
        assert torch.equal(most[b].double(), span.amax(0) if n else torch.zeros(1100).double())


def test_nothing_outside_of_a_span_leaks_in(statistics):
    act = torch.full((1, 5, 3), torch.nan)
    act[:, 2:4] = torch.tensor([1.0, 2.0, -4.0])
    for how in ("mean", "max"):
        pooled = statistics.pool_tokens(act, torch.tensor([2]), torch.tensor([2]), how)
        assert pooled.tolist() == [[1.0, 2.0, -4.0]]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_no_tokens_at_all(statistics, how):
    nothing = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(statistics.pool_tokens(torch.ones(2, 0, 3), nothing, nothing, how), torch.zeros(2, 3))


@pytest.mark.parametrize(("length", "first"), [(3, 2), (-1, 0), (1, -1), (0, 5), (2**63 - 1, 1)])
def test_a_span_out_of_range_is_refused(statistics, length, first):
    lengths, offset = torch.tensor([4, length]), torch.tensor([0, first])
    with pytest.raises(RuntimeError, match=rf"example 1 covers {length} tokens from {first} on, outside of 4"):
        statistics.pool_tokens(torch.ones(2, 4, 3), lengths, offset, "mean")
