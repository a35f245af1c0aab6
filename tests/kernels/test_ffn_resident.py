"""The choice between the kernel for few neurons and the others, without a device."""

import pytest
import torch
from skn.kernels import ffn_resident, register

from skn import ops  # noqa: F401  defines the operators
from skn.ops import native


@pytest.fixture
def bound(monkeypatch):
    """A CUDA library whose kernel takes 48 neurons, and what the launchers are asked for."""
    asked = []
    monkeypatch.setattr(native, "cuda_loaded", lambda: True)
    monkeypatch.setattr(native, "resident_neurons", lambda hidden, device: asked.append((hidden, device)) or 48)
    monkeypatch.setattr(ffn_resident, "one_kernel", lambda *_: "resident")
    monkeypatch.setattr(register, "triton_launchers", lambda: {"ffn_pruned": lambda *_: "other"})
    ffn_resident.most_neurons.cache_clear()
    yield asked
    ffn_resident.most_neurons.cache_clear()


def serve(dtype, neurons):
    x = torch.zeros(2, 3, 1024, dtype=dtype)
    return register.launchers()["ffn_pruned"](x, None, torch.zeros(neurons), None, None, None, None, 1e-5)


def test_the_kernel_serves_where_it_fits(bound):
    assert [serve(torch.bfloat16, neurons) for neurons in (0, 1, 48, 49)] == ["other", "resident", "resident", "other"]
    assert serve(torch.float32, 1) == "other"
    assert bound == [(1024, torch.device("cpu"))]  # once for each size and device


def test_without_triton_the_definition_serves_the_rest(bound, monkeypatch):
    monkeypatch.setattr(register, "triton_launchers", dict)
    x, w, b, ones = torch.randn(3, 4), torch.randn(2, 4), torch.randn(2), torch.ones(4)
    found = register.launchers()["ffn_pruned"](x, w, b, w.T, ones, ones, ones, 1e-5)
    torch.testing.assert_close(found, ops.ffn_pruned(x, w, b, w.T.contiguous(), ones, ones, ones, 1e-5))


def test_without_the_library_triton_serves_alone(monkeypatch):
    monkeypatch.setattr(native, "cuda_loaded", lambda: False)
    monkeypatch.setattr(register, "triton_launchers", dict)
    assert "ffn_pruned" not in register.launchers()
