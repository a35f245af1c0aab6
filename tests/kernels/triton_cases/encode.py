"""``encode`` as CUDA serves it, with the Triton kernels in its feed-forward sublayers."""

import pytest
import torch
from encode_cases import EPS, SHAPES, Case, error, form_of
from skn.kernels import encode as packed
from skn.kernels import ffn_masked, ffn_pruned
from triton_device import DEVICE, INTERPRETED, bound, on_device  # noqa: F401  fixture


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["small", "trimmed", "odd"])
def test_encode_runs_on_the_launchers(monkeypatch, name, masked):
    calls = []
    for module, launch in ((ffn_pruned, "one_kernel"), (ffn_masked, "up_masked_kernel")):
        real = getattr(module, launch)
        monkeypatch.setattr(module, launch, Counting(real, calls))
    case = Case(name, torch.float32, masked)
    tensors = (on_device(packed.pack(w, form_of(w)))[0] if w.dim() == 2 else w.to(DEVICE) for w in case.weights)
    hidden, weights, masks = case.hidden.to(DEVICE), list(tensors), [m.to(DEVICE) for m in case.masks]
    found = packed.encode(hidden, case.bounds, weights, masks, case.heads, EPS, case.read, case.tap)
    assert error([t.cpu() for t in found], case.exact()) < (3e-6 if INTERPRETED else 1e-5)
    layers = len(SHAPES[name][2])
    assert len(calls) == (0 if case.tap else layers)  # where activations are read, there is no kernel that hides them


class Counting:
    """A launcher or kernel that counts its calls."""

    def __init__(self, real, calls):
        self.real, self.calls = real, calls

    def __call__(self, *arguments, **named):
        self.calls.append(1)
        return self.real(*arguments, **named)

    def __getitem__(self, grid):
        return Counting(self.real[grid], self.calls)
