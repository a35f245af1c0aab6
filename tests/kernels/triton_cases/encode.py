"""``encode`` as CUDA serves it, with its Triton kernels: the feed-forward sublayers, and the residual with LayerNorm."""

import pytest
import torch
from encode_cases import EPS, SHAPES, Case, error, form_of
from skn.kernels import encode as packed
from skn.kernels import ffn_masked, ffn_pruned
from skn.kernels import residual_norm as fused
from torch.nn import functional as F
from triton_device import DEVICE, INTERPRETED, bound, on_device  # noqa: F401  fixture


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["small", "trimmed", "odd"])
def test_encode_runs_on_the_launchers(monkeypatch, name, masked):
    calls, norms = [], []
    for module, launch in ((ffn_pruned, "one_kernel"), (ffn_masked, "up_masked_kernel")):
        real = getattr(module, launch)
        monkeypatch.setattr(module, launch, Counting(real, calls))
    one_pass = not INTERPRETED or name != "trimmed"  # the interpreter takes long for a program of each row
    monkeypatch.setattr(packed, "_one_pass_fits", lambda rows: one_pass)
    monkeypatch.setattr(fused, "residual_norm_kernel", Counting(fused.residual_norm_kernel, norms))
    case = Case(name, torch.float32, masked)
    tensors = (on_device(packed.pack(w, form_of(w)))[0] if w.dim() == 2 else w.to(DEVICE) for w in case.weights)
    hidden, weights, masks = case.hidden.to(DEVICE), list(tensors), [m.to(DEVICE) for m in case.masks]
    found = packed.encode(hidden, case.bounds, weights, masks, case.heads, EPS, case.read, case.tap)
    assert error([t.cpu() for t in found], case.exact()) < (3e-6 if INTERPRETED else 1e-5)
    layers = len(SHAPES[name][2])
    assert len(calls) == (0 if case.tap else layers)  # where activations are read, there is no kernel that hides them
    # Behind every attention, and behind each feed-forward sublayer that is not one kernel.
    assert len(norms) == one_pass * layers * (2 if masked or case.tap else 1)


# The interpreter does not round to bfloat16 as a device does.
DTYPES = [torch.float32, torch.float16, *([] if INTERPRETED else [torch.bfloat16])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "hidden"), [(3, 1), (5, 70), (2, 768), (1, 1030), (0, 24)])
def test_residual_and_norm_are_those_of_the_eager_pair(dtype, rows, hidden):
    """The mean is far from zero, so statistics of a sum that is not rounded, or of squares, would differ."""
    x, y, weight, bias = norm_inputs(rows, hidden, dtype)
    found = fused.residual_norm(x, y, weight, bias, EPS)
    assert found.dtype == dtype and found.shape == x.shape and found.is_contiguous()
    total = (x + y).float()  # rounded to the dtype, as eager stores it
    expected = F.layer_norm(total, (hidden,), weight.float(), bias.float(), EPS)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), expected, rtol=2 * step, atol=100 * torch.finfo(torch.float32).eps)


def test_the_sum_is_rounded_before_the_norm():
    """One number of a row of equal numbers grows by a quarter of a step. Stored, all are equal, and the norm is zero."""
    y = torch.zeros(1, 8)
    y[0, 3] = 0.25
    x, y, one, zero = (t.half() for t in on_device(torch.full((1, 8), 1024.0), y, torch.ones(8), torch.zeros(8)))
    assert not fused.residual_norm(x, y, one, zero, EPS).any()


def test_a_nan_stays_in_its_row():
    x, y, weight, bias = norm_inputs(3, 70, torch.float32)
    whole = fused.residual_norm(x, y, weight, bias, EPS)
    x[1, 5] = torch.nan
    found = fused.residual_norm(x, y, weight, bias, EPS)
    assert found[1].isnan().all() and torch.equal(found[[0, 2]], whole[[0, 2]])


def test_wide_rows_take_the_eager_pair_and_what_does_not_fit_is_refused():
    x, y, weight, bias = norm_inputs(2, fused.MAX_HIDDEN + 1, torch.float32)
    expected = F.layer_norm(x + y, x.shape[1:], weight, bias, EPS)
    assert torch.equal(fused.residual_norm(x, y, weight, bias, EPS), expected)
    with pytest.raises(
        RuntimeError, match=r"residual_norm: y must be float32 \[2, 4097\] on .*, got float32 \[1, 4097\]"
    ):
        fused.residual_norm(x, y[:1], weight, bias, EPS)


def norm_inputs(rows, hidden, dtype):
    """x and y with strides, and the weight and bias of a norm."""
    g = torch.Generator().manual_seed(hidden)
    x, y = ((torch.randn(rows, 2 * hidden, generator=g) + 9).to(dtype)[:, ::2] for _ in range(2))
    weight, bias = (torch.randn(hidden, generator=g).to(dtype) for _ in range(2))
    return on_device(x, y, weight, bias)


class Counting:
    """A launcher or kernel that counts its calls."""

    def __init__(self, real, calls):
        self.real, self.calls = real, calls

    def __call__(self, *arguments, **named):
        self.calls.append(1)
        return self.real(*arguments, **named)

    def __getitem__(self, grid):
        return Counting(self.real[grid], self.calls)
