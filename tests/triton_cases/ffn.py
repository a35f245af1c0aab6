"""Triton FFN kernels against float64, on shapes that are multiples of nothing.

The interpreter gets bfloat16 products wrong, so bfloat16 runs on a device only; there the error of the kernel is held
against that of plain PyTorch in the same dtype.
"""

import numpy as np
import pytest
import torch
from skn.kernels import ffn_masked, ffn_pruned, ffn_statistics, groups, noise
from torch.nn import functional as F
from triton_cases.device import DEVICE, INTERPRETED, on_device

from skn import noise as cpu_noise
from skn import reference

DTYPES = [torch.float32] if INTERPRETED else [torch.float32, torch.bfloat16, torch.float16]


def layer(hidden, neurons, dtype, generator):
    """w_in, b_in, w_out, b_out, ln_weight, ln_bias; w_out transposed in memory."""
    shapes = [(neurons, hidden), (neurons,), (neurons, hidden), (hidden,), (hidden,), (hidden,)]
    drawn = [(torch.randn(shape, generator=generator) / shape[-1] ** 0.5).to(dtype) for shape in shapes]
    drawn[2] = drawn[2].t()
    return on_device(*drawn)


def error(actual, expected):
    return ((actual.double() - expected).norm() / expected.norm()).item()


def assert_as_good_as_plain(actual, plain, expected):
    """No further from float64 than PyTorch in the same dtype, with some room for another order of additions."""
    assert torch.isfinite(actual).all()
    assert error(actual, expected) <= 1.5 * error(plain, expected) + 1e-6


def up(x, w_in, b_in):
    return F.gelu(F.linear(x, w_in, b_in))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "positions", "hidden", "neurons"), [(37, 2, 70, 67), (1, 1, 3, 1)])
def test_fused_statistics_are_those_of_the_activation_written(dtype, batch, positions, hidden, neurons):
    generator, classes = torch.Generator().manual_seed(batch), 6
    w_in, b_in, *_ = layer(hidden, neurons, dtype, generator)
    labels = torch.randint(classes, (batch,), generator=generator)
    labels[labels == 2] = 5  # a class of the middle is absent
    x, labels = on_device(torch.randn(batch, positions + 1, hidden, generator=generator).to(dtype)[:, 1:], labels)
    by_class = groups.group_by_class("test", labels, classes)
    cells = (classes, positions, neurons)
    total, total_sq = torch.ones(2, *cells, dtype=torch.float64, device=DEVICE)
    act = ffn_statistics.up_projection_moments(x, w_in, b_in, by_class, total, total_sq, write=True)
    assert_as_good_as_plain(act, up(x, w_in, b_in), up(x.double(), w_in.double(), b_in.double()))

    count = torch.zeros(classes, dtype=torch.int64, device=DEVICE)
    expected = torch.ones(2, *cells, dtype=torch.float64, device=DEVICE)
    reference.accumulate_moments(count, *expected, act, labels)
    torch.testing.assert_close(torch.stack([total, total_sq]), expected, rtol=1e-12, atol=1e-12)

    # Thresholds at activations and right beside them: an activation read otherwise than written would show.
    threshold = act[batch // 2].double()
    threshold[:, ::2] = torch.nextafter(threshold[:, ::2], torch.tensor(-np.inf, device=DEVICE).double())
    threshold[0, 0] = torch.nan
    hits, counts = torch.zeros(2, *cells, dtype=torch.int64, device=DEVICE)
    assert ffn_statistics.up_projection_hits(x, w_in, b_in, by_class, threshold, hits) is None
    reference.accumulate_hits(counts, act, threshold, labels)
    assert torch.equal(hits, counts)


def test_noise_has_the_bits_of_the_cpu():
    examples = torch.tensor([0, 1, 7, 2**32 - 1, 2**32 + 5, 2**40 + 3])
    neurons = torch.cat([torch.arange(150), torch.tensor([3071, 3000, 8])])
    for seed in (0, 1, 2**31 + 3, 2**32 + 9, 2**63 - 1, -5):
        for which in (0, 11):
            expected = cpu_noise.keyed_normal(seed, examples, which, neurons)
            actual = noise.keyed_normal(seed, *on_device(examples), which, *on_device(neurons)).cpu()
            assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("noisy", [False, True])
def test_masked_ffn(dtype, noisy):
    generator = torch.Generator().manual_seed(1)
    hidden, neurons, tokens = 70, 131, 67
    w_in, b_in, w_out, b_out, *_ = layer(hidden, neurons, dtype, generator)
    examples, rows = torch.tensor([4, 900, 2**33]), torch.arange(tokens) % 3
    original = torch.arange(neurons) * 5
    chosen = torch.rand(neurons, generator=generator) < 0.3
    scale, shift = torch.where(chosen, 0.0, 1.0), torch.where(chosen, 0.25, 0.0)
    alpha = torch.where(chosen, 0.5, 0.0)
    epsilon = cpu_noise.keyed_normal(3, examples, 2, original)[rows] * alpha * noisy
    x, scale, shift, alpha, examples, rows, original, epsilon = on_device(
        torch.randn(tokens, 2 * hidden, generator=generator).to(dtype)[:, ::2],
        scale, shift, alpha, examples, rows, original, epsilon,
    )  # fmt: skip
    keyed = {"alpha": alpha, "seed": 3, "layer": 2, "examples": examples, "rows": rows, "neurons": original}
    actual = ffn_masked.ffn_masked(x, w_in, b_in, w_out, b_out, scale, shift, **(keyed if noisy else {}))
    plain = F.linear(up(x, w_in, b_in) * scale.to(dtype) + shift.to(dtype) + epsilon.to(dtype), w_out, b_out)
    wide = [t.double() for t in (x, w_in, b_in, w_out, b_out)]
    expected = F.linear(up(*wide[:3]) * scale + shift + epsilon, *wide[3:])
    assert_as_good_as_plain(actual, plain, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "hidden", "neurons"), [(37, 70, 37), (1, 5, 1), (33, 128, 0), (3, 1021, 65), (2, 768, 33)]
)
def test_pruned_ffn(dtype, tokens, hidden, neurons):
    generator = torch.Generator().manual_seed(hidden)
    w_in, b_in, w_out, b_out, ln_weight, ln_bias = layer(hidden, neurons, dtype, generator)
    (x,) = on_device(torch.randn(1, tokens, 2 * hidden, generator=generator).to(dtype)[..., ::2] + 3)

    def plain(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias):
        return F.layer_norm(x + F.linear(up(x, w_in, b_in), w_out, b_out), (hidden,), ln_weight, ln_bias, 1e-5)

    arguments = (x, w_in, b_in, w_out, b_out, ln_weight, ln_bias)
    actual = ffn_pruned.ffn_pruned(*arguments, 1e-5)
    assert actual.shape == x.shape and actual.dtype == dtype and actual.is_contiguous()
    assert_as_good_as_plain(actual, plain(*arguments), plain(*(t.double() for t in arguments)))


def test_what_the_kernels_do_not_have():
    wide = torch.ones(1, ffn_pruned.MAX_HIDDEN + 1)
    none = torch.ones(0, wide.shape[1]), torch.ones(0), torch.ones(wide.shape[1], 0), *[torch.ones(wide.shape[1])] * 3
    with pytest.raises(RuntimeError, match="at most 1024 columns, got 1025"):
        ffn_pruned.ffn_pruned(wide, *none, 1e-5)
    double = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"up_projection: .* got torch\.float64"):
        ffn_statistics.up_projection_moments(double, double[0], double[0, 0], None, None, None)
