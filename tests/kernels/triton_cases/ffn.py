"""Triton FFN kernels against float64, on shapes that are multiples of nothing.

The interpreter gets bfloat16 products wrong, so bfloat16 runs on a device only; there the error of the kernel is held
against that of plain PyTorch in the same dtype.
"""

import numpy as np
import pytest
import torch
from skn.kernels import ffn_masked, ffn_pruned, ffn_statistics, groups, noise
from torch.nn import functional as F
from triton_device import DEVICE, INTERPRETED, bound, on_device  # noqa: F401  fixture

from skn import ops
from skn.ops import noise as cpu_noise
from skn.ops import reference

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
    by_class = groups.group_by_class("test", labels, classes, labels.device)
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
@pytest.mark.parametrize("shape", [(67, 70), (3, 2, 11, 70), (0, 70)])
@pytest.mark.parametrize("shared", [True, False])
def test_masked_ffn(dtype, shape, shared):
    generator = torch.Generator().manual_seed(1)
    hidden, neurons = shape[-1], 131
    w_in, b_in, w_out, b_out, *_ = layer(hidden, neurons, dtype, generator)
    scale = torch.rand(neurons, generator=generator) * (torch.rand(neurons, generator=generator) < 0.3)
    shift = torch.randn(1 if shared else shape[0], 2 * neurons, generator=generator)[:, ::2]
    x, scale, shift = on_device(
        torch.randn(*shape[:-1], 2 * hidden, generator=generator).to(dtype)[..., ::2], scale, shift
    )
    arguments = (x, w_in, b_in, w_out, b_out)
    actual = ffn_masked.ffn_masked(*arguments, scale, shift)
    assert actual.shape == x.shape and actual.dtype == dtype
    if x.numel():
        exact = reference.ffn_masked(*(t.double() for t in arguments), scale, shift)
        assert_as_good_as_plain(actual, reference.ffn_masked(*arguments, scale, shift), exact)


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


def test_few_neurons_are_one_tile(monkeypatch):
    """The blocks of bfloat16, here in float32, because the interpreter gets bfloat16 products wrong."""
    generator = torch.Generator().manual_seed(5)
    w_in, b_in, w_out, b_out, *norm = layer(150, 37, torch.float32, generator)
    (x,) = on_device(torch.randn(21, 150, generator=generator))
    assert ffn_pruned.blocks(x.bfloat16(), 64) == ffn_pruned.FEW != ffn_pruned.blocks(x, 64)
    assert ffn_pruned.blocks(x.bfloat16(), 65)["BLOCK_N"] == ffn_pruned.BLOCK_N
    monkeypatch.setattr(ffn_pruned, "blocks", lambda *_: ffn_pruned.FEW)
    arguments = (x, w_in, b_in, w_out, b_out, *norm)
    exact = reference.ffn_pruned(*(t.double() for t in arguments), 1e-5)
    actual = ffn_pruned.ffn_pruned(*arguments, 1e-5)
    assert_as_good_as_plain(actual, reference.ffn_pruned(*arguments, 1e-5), exact)


def test_beyond_the_kernel_the_definition_answers():
    generator = torch.Generator().manual_seed(2)
    for hidden, neurons in ((ffn_pruned.MAX_HIDDEN + 1, 3), (5, ffn_pruned.MAX_NEURONS + 1)):
        arguments = (*on_device(torch.randn(2, hidden, generator=generator)),
                     *layer(hidden, neurons, torch.float32, generator))  # fmt: skip
        expected = reference.ffn_pruned(*arguments, 1e-5)
        assert torch.equal(ffn_pruned.ffn_pruned(*arguments, 1e-5), expected)


@pytest.mark.usefixtures("bound")
def test_the_operators_run_on_the_launchers():
    generator, dtype = torch.Generator().manual_seed(3), torch.float32
    x = on_device(torch.randn(2, 3, 24, generator=generator))[0].requires_grad_()
    tensors = [x, *(t.detach().requires_grad_() for t in layer(24, 7, dtype, generator))]
    actual, expected = ops.ffn_pruned(*tensors, 1e-5), reference.ffn_pruned(*tensors, 1e-5)
    with torch.no_grad():
        assert torch.equal(actual, ffn_pruned.one_kernel(*tensors, 1e-5))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    weight = torch.arange(actual.numel(), dtype=dtype, device=DEVICE).view_as(actual)
    gradients = (torch.autograd.grad((y * weight).sum(), tensors) for y in (actual, expected))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    x, *linear = (t.detach() for t in tensors[:5])
    mask = on_device(torch.rand(7), torch.rand(2, 7))
    assert torch.equal(ops.ffn_masked(x, *linear, *mask), ffn_masked.ffn_masked(x, *linear, *mask))
    with pytest.raises(RuntimeError, match="ffn_masked: x must be float32 or bfloat16"):
        ops.ffn_masked(x.double(), *linear, *mask)


def test_what_does_not_fit_is_refused():
    generator = torch.Generator().manual_seed(4)
    x = on_device(torch.randn(3, 24, generator=generator))[0]
    w_in, b_in, w_out, b_out, *norm = layer(24, 7, torch.float32, generator)
    ones = on_device(torch.ones(2, 7))[0]
    with pytest.raises(RuntimeError, match=r"ffn_pruned: w_in must be float32 \[7, 24\] on .*, got float32 \[7, 20\]"):
        ffn_pruned.ffn_pruned(x, w_in[:, :20], b_in, w_out, b_out, *norm, 1e-5)
    with pytest.raises(RuntimeError, match=r"ffn_pruned: ln_bias must be float32 \[24\] on .*, got float64 \[24\]"):
        ffn_pruned.ffn_pruned(x, w_in, b_in, w_out, b_out, norm[0], norm[1].double(), 1e-5)
    with pytest.raises(RuntimeError, match=r"ffn_masked: shift must be float32 \[3, 7\] on .*, got float32 \[2, 7\]"):
        ffn_masked.ffn_masked(x, w_in, b_in, w_out, b_out, ones[0], ones)
    with pytest.raises(RuntimeError, match=r"ffn_masked: scale must be float32 \[7\] on .*, got bfloat16 \[7\]"):
        ffn_masked.ffn_masked(x, w_in, b_in, w_out, b_out, ones[0].bfloat16(), ones[:1])
    double = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"up_projection: .* got torch\.float64"):
        ffn_statistics.up_projection_moments(double, double[0], double[0, 0], None, None, None)
