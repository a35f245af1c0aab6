"""ffn_pruned as CUDA serves it for few neurons, on the host. A device runs the same sources, and ``scripts/gpu_check.sh`` tests them there."""

import ctypes

import pytest
import torch
from nvcc import NVCC
from on_host import operator_on_host
from torch.nn import functional as F

from skn import ops  # noqa: F401  defines the operator whose schema is taken

pytestmark = [pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine"), pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("on_host")


@pytest.fixture(scope="module")
def on_host(folder):
    raw = {"extern __shared__ uint4 raw[];": "uint4* raw = reinterpret_cast<uint4*>(dynamic_shared.data());"}
    changes = {"ffn_pruned.cu": raw, "register_ffn.cpp": {"(skn, m)": "(skn_ffn_pruned_on_host, m)"}}
    for _ in operator_on_host(folder, "ffn_pruned", "register_ffn.cpp", 1, changes):
        yield torch.ops.skn_ffn_pruned_on_host.ffn_pruned_resident


def drawn(rows, hidden, neurons):
    """The arguments of the operator in bfloat16, w_out as the engine packs it. x is far from zero beside its spread."""
    g = torch.Generator().manual_seed(rows + hidden + neurons)

    def normal(*size):
        return torch.randn(*size, generator=g).bfloat16()

    w_in, w_out = normal(neurons, hidden) / hidden**0.5, normal(neurons, hidden).T / neurons**0.5
    x, b_in, b_out = normal(rows, hidden) + 3, normal(neurons), normal(hidden)
    return [x, w_in, b_in, w_out, b_out, normal(hidden), normal(hidden), 1e-5]


def assert_right(found, arguments):
    """Half a unit in the last place from float64 that rounds the activations, as a product of bfloat16 reads them."""
    x, w_in, b_in, w_out, b_out, weight, bias = (t.double() for t in arguments[:-1])
    act = F.gelu(F.linear(x, w_in, b_in)).bfloat16().double()
    exact = F.layer_norm(x + F.linear(act, w_out, b_out), x.shape[-1:], weight, bias, arguments[-1])
    assert found.shape == x.shape and found.dtype == torch.bfloat16 and found.is_contiguous()
    assert ((found.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-4).all()


@pytest.mark.parametrize(
    ("rows", "hidden", "neurons"),
    [(1, 384, 1), (37, 384, 16), (50, 768, 61), (16, 768, 64), (35, 1024, 48), (33, 40, 33), (17, 8, 5)],
)
def test_against_the_definition(on_host, rows, hidden, neurons):
    arguments = drawn(rows, hidden, neurons)
    assert_right(on_host(*arguments), arguments)


def test_a_result_of_several_axes_and_none(on_host):
    x, *rest = drawn(42, 64, 16)
    assert torch.equal(on_host(x.view(2, 3, 7, 64), *rest).view(42, 64), on_host(x, *rest))
    assert on_host(x[:0], *rest).shape == (0, 64)


def test_strides_and_addresses_change_no_bit(on_host):
    """The kernel reads 16 bytes at once: other layouts are copied before."""
    arguments = drawn(19, 72, 33)
    *tensors, eps = arguments
    strided = [torch.stack([t, t], -1)[..., 0] for t in tensors]
    shifted = [torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape) for t in tensors]
    assert all(t.data_ptr() % 16 for t in shifted)
    for given in (strided, shifted):
        assert torch.equal(on_host(*given, eps), on_host(*arguments))


def test_rows_do_not_meet(on_host):
    """A NaN in a row is in the row alone, also where the row shares a tile with others."""
    x, *rest = drawn(40, 64, 20)
    spoiled = x.clone()
    spoiled[17, 3] = torch.nan
    found, plain = on_host(spoiled, *rest), on_host(x, *rest)
    assert found[17].isnan().all()
    assert torch.equal(found[torch.arange(40) != 17], plain[torch.arange(40) != 17])


def test_the_bound_is_what_shared_memory_holds(on_host, folder):
    """Both weights of 64 neurons fit into 227 KiB up to 768 columns, of 48 neurons up to 1,024."""
    bound = ctypes.CDLL(str(folder / "operator.so")).skn_resident_neurons
    bound.argtypes, bound.restype = [ctypes.c_int64, ctypes.c_int], ctypes.c_int64
    assert [bound(hidden, 0) for hidden in (8, 384, 768, 776, 1024)] == [64, 64, 64, 48, 48]
    assert [bound(hidden, 0) for hidden in (0, 4, 70, 1021, 1032, 2**40)] == [0] * 6
    for hidden, neurons in ((1024, 49), (768, 65), (70, 5)):
        message = f"ffn_pruned: this kernel takes 1 to {bound(hidden, 0)} neurons for H = {hidden}, got {neurons}"
        with pytest.raises(RuntimeError, match=message):
            on_host(*drawn(3, hidden, neurons))


def test_what_does_not_fit_is_refused(on_host):
    x, w_in, b_in, w_out, *rest = drawn(3, 24, 7)
    with pytest.raises(RuntimeError, match=r"ffn_pruned: x must be bfloat16 \[..., H\], got float32 \[3, 24\]"):
        on_host(x.float(), w_in, b_in, w_out, *rest)
    with pytest.raises(
        RuntimeError, match=r"ffn_pruned: w_out must be bfloat16 \[24, 7\] on .*, got bfloat16 \[7, 24\]"
    ):
        on_host(x, w_in, b_in, w_out.T, *rest)
    with pytest.raises(RuntimeError, match=r"ffn_pruned: b_out must be bfloat16 \[24\] on .*, got float32 \[24\]"):
        on_host(x, w_in, b_in, w_out, rest[0].float(), *rest[1:])
