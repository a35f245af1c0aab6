"""``ffn_masked`` and ``ffn_pruned`` against their definitions in float64, at every instruction set of the machine."""

import pytest
import torch
from levels import default, threads

from skn import ops
from skn.ops import encoder, native, reference
from skn.ops.noise import keyed_normal

# x's shape and the number of neurons: nothing, one row, multiples of nothing, more neurons than a slice holds.
SHAPES = [((0, 24), 7), ((1, 32), 61), ((5, 13, 40), 33), ((2, 3, 50, 64), 1030), ((401, 21), 5), ((24,), 1)]


def inputs(shape, neurons, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=g, dtype=torch.float64)

    hidden = shape[-1]
    linear = [normal(neurons, hidden) / hidden**0.5, normal(neurons), normal(hidden, neurons) / neurons**0.5]
    tensors = [normal(*shape), *linear, normal(hidden), 1 + 0.1 * normal(hidden), 0.1 * normal(hidden)]
    return [t.to(dtype) for t in tensors]


# The dtype of x, the form the weights are packed to (None for plain ones), and how far the result may be off.
FORMS = [
    (torch.float32, None, 2e-6),
    (torch.float32, "float32", 2e-6),
    (torch.float32, "bf16x3", 2e-5),
    (torch.bfloat16, None, 0.02),
    (torch.bfloat16, "bfloat16", 0.02),
    (torch.float32, "int8", 0.03),
    (torch.bfloat16, "int8", 0.04),
]


def close(found, exact, dtype, tolerance):
    assert found.dtype == dtype and found.shape == exact.shape
    torch.testing.assert_close(
        found.double(), exact, rtol=tolerance, atol=tolerance * max(1, exact.abs().max().item() if exact.numel() else 1)
    )


def run(level, name, form, *arguments):
    x, w_in, b_in, w_out, *rest = arguments
    if form is not None:
        pack = default("pack") if level == "eager" else ops.pack
        w_in, w_out = pack(w_in, form), pack(w_out, form)
    return (default(name) if level == "eager" else getattr(ops, name))(x, w_in, b_in, w_out, *rest)


@pytest.mark.parametrize(("dtype", "form", "tolerance"), FORMS)
@pytest.mark.parametrize(("shape", "neurons"), SHAPES)
def test_pruned(level, shape, neurons, dtype, form, tolerance):
    given = inputs(shape, neurons, dtype)
    exact = reference.ffn_pruned(*(t.double() for t in given), 1e-5)
    close(run(level, "ffn_pruned", form, *given, 1e-5), exact, dtype, tolerance)


@pytest.mark.parametrize(("dtype", "form", "tolerance"), FORMS)
@pytest.mark.parametrize(("shape", "neurons"), SHAPES[:-1])
@pytest.mark.parametrize("noise", [False, True])
def test_masked(level, shape, neurons, dtype, form, tolerance, noise):
    given = inputs(shape, neurons, dtype)[:5]
    scale = torch.rand(neurons, generator=torch.Generator().manual_seed(1))
    rows = shape[0] if noise else 1
    shift = keyed_normal(3, torch.arange(rows), 2, torch.arange(neurons)) * 0.5
    exact = reference.ffn_masked(*(t.double() for t in given), scale, shift)
    close(run(level, "ffn_masked", form, *given, scale, shift), exact, dtype, tolerance)


def product(form, x, w, level):
    """x·wᵀ alone: the mask puts x in the place of the activations."""
    dtype = encoder.FORMS[form][0]
    rows, k, n = *x.shape, w.shape[0]
    nothing = torch.zeros(rows, n, dtype=dtype), torch.zeros(k, n, dtype=dtype), torch.zeros(k, dtype=dtype)
    return run(level, "ffn_masked", form, *nothing, w.to(dtype), torch.zeros(n, dtype=dtype), torch.zeros(k), x)


def relative_errors(form, x, w, exact, level):
    """Root mean square and maximum, over those of the product."""
    error = product(form, x, w, level).double() - exact
    return (error.square().mean() / exact.square().mean()).sqrt().item(), (error.abs().max() / exact.abs().max()).item()


def test_errors_of_a_product(level):
    """As stated in docs/kernels.md: bf16x3 is twelve times as far off as float32, and 600 times nearer than bfloat16."""
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(200, 768, generator=g), torch.randn(768, 768, generator=g) / 768**0.5
    exact = x.double() @ w.double().T
    rms, highest = zip(*(relative_errors(form, x, w, exact, level) for form in encoder.FORMS), strict=True)
    for float32, bfloat16, bf16x3, int8 in (rms, highest):
        assert float32 < 1e-6 < bf16x3 < 6e-6 < 2e-3 < bfloat16 < 4e-3 < int8 < 1.2e-2


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 1, 1), (13, 61, 33), (30, 512, 64), (25, 1030, 40)])
def test_a_product_of_bytes_is_exact(level, rows, depth, columns):
    """Row by row and slice by slice, with numbers far from zero, a constant row, a column of zeros, and with the greatest
    bytes side by side, whose products leave 16 bits."""
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, depth, generator=g) + 3, torch.randn(columns, depth, generator=g)
    x[0], w[0] = 0.25, 0
    x[-1, 1:], w[-1] = x[-1, 0] + 1, -1
    definition = reference.linear(x, default("pack")(w, "int8"), torch.zeros(columns), reference.SLICE)
    scale = definition.abs().max()
    torch.testing.assert_close(product("int8", x, w, level), definition, rtol=0, atol=1e-6 * scale.item() + 1e-30)


def test_bytes_of_rows_far_from_zero(level):
    """Each column of the weight adds up to zero, so the rows' common part is not in the result."""
    g = torch.Generator().manual_seed(0)
    x, half = 1e5 + torch.rand(13, 64, generator=g), torch.randn(33, 32, generator=g)
    w = torch.cat([half, -half], dim=1)
    definition = reference.linear(x, default("pack")(w, "int8"), torch.zeros(33), reference.SLICE)
    atol = 2e-3 * definition.abs().max().item()  # a number between two bytes may be rounded to either
    torch.testing.assert_close(product("int8", x, w, level), definition, rtol=0, atol=atol)


def test_pack_rounds_a_weight_to_bytes():
    w = torch.randn(70, 600, generator=torch.Generator().manual_seed(0))
    number, scale = reference.rounded_weight(w)
    assert torch.equal(ops.pack(w, "int8"), ops.pack_int8(number, scale, reference.read_as_it_is(600)))
    assert number.abs().amax(dim=1).eq(127).all()
    assert ((number * scale[:, None] - w).abs() <= scale[:, None] * 0.50001).all()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_bytes_of_what_is_not_finite(level, wrong):
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(4, 40, generator=g), torch.randn(33, 40, generator=g)
    x[1, 7], w[2, 3] = wrong, wrong
    is_nan = product("int8", x, w, level).isnan()
    assert is_nan[1].all() and is_nan[:, 2].all() and is_nan.sum() == 33 + 4 - 1


@pytest.mark.parametrize(("dtype", "form", "tolerance"), FORMS)
@pytest.mark.parametrize("hidden", [61, 512, 1030])  # up to 1,024, kernels widen a weight for many rows
def test_a_row_among_many_is_the_row_alone(level, hidden, dtype, form, tolerance):
    if level == "eager":
        pytest.skip("its products are torch's")
    x, *rest = inputs((200, hidden), 530, dtype)
    many = run(level, "ffn_pruned", form, x, *rest, 1e-5)
    for first in (0, 97, 199):
        few = run(level, "ffn_pruned", form, x[first : first + 3], *rest, 1e-5)
        assert torch.equal(few, many[first : first + 3])


def test_strides_and_threads_change_no_bit():
    if native.isa() is None:
        pytest.skip("no native library")
    x, *rest = inputs((7, 300, 40), 61, torch.float32)
    plain = ops.ffn_pruned(x, *rest, 1e-5)
    strided = torch.stack([x, x], -1)[..., 0]
    turned = [t.t().contiguous().t() if t.dim() == 2 else t for t in rest]
    assert torch.equal(ops.ffn_pruned(strided, *turned, 1e-5), plain)
    for count in (1, 3, 5):
        with threads(count):
            assert torch.equal(ops.ffn_pruned(x, *rest, 1e-5), plain)


def test_gradients_are_those_of_the_definition():
    given = [t.requires_grad_() for t in inputs((3, 5, 24), 7, torch.float32)]
    weight = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(9))
    found = torch.autograd.grad((ops.ffn_pruned(*given, 1e-5) * weight).sum(), given)
    expected = torch.autograd.grad((reference.ffn_pruned(*given, 1e-5) * weight).sum(), given)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused():
    if native.isa() is None:
        pytest.skip("no native library")
    x, w_in, b_in, w_out, b_out, ln_weight, ln_bias = inputs((3, 24), 7, torch.float32)
    norm = (ln_weight, ln_bias, 1e-5)
    with pytest.raises(RuntimeError, match="x must be float32 or bfloat16"):
        ops.ffn_pruned(x.double(), w_in, b_in, w_out, b_out, *norm)
    with pytest.raises(RuntimeError, match=r"a weight \[7, 24\] must be plain and contiguous, or packed"):
        ops.ffn_pruned(x, w_in[:, :20], b_in, w_out, b_out, *norm)
    with pytest.raises(RuntimeError, match=r"expected float32 \[24\], got float32 \[23\]"):
        ops.ffn_pruned(x, w_in, b_in, w_out, b_out[1:], *norm)
    with pytest.raises(RuntimeError, match=r"shift must be float32 \[1, 7\] or \[3, 7\]"):
        ops.ffn_masked(x, w_in, b_in, w_out, b_out, torch.ones(7), torch.ones(2, 7))
    with pytest.raises(RuntimeError, match="ffn_masked: for inference only"):
        ops.ffn_masked(x.requires_grad_(), w_in, b_in, w_out, b_out, torch.ones(7), torch.ones(1, 7))
