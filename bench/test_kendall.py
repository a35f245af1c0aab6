"""Kendall's tau of every neuron with every attribute, exact."""

from __future__ import annotations

import numpy as np
import torch
from contest import Sample, Work
from scipy.stats import kendalltau

from skn import ops

ROWS, NEURONS, ATTRIBUTES = 351, 36864, 14
SCIPY, TORCH = 40, 256  # the numbers of neurons for scipy and torch, because all neurons would take minutes


def test_kendall_tau(contest):
    generator = torch.Generator().manual_seed(0)
    neurons = torch.randn(ROWS, NEURONS, generator=generator)
    attributes = torch.randn(ROWS, ATTRIBUTES, generator=generator).mul(8).round()
    few, some = neurons[:, :SCIPY].numpy(), neurons[:, :TORCH].contiguous()
    later, earlier = torch.tril_indices(ROWS, ROWS, -1)

    def signs(x):
        a, b = x[later], x[earlier]
        return (a > b).to(torch.int8) - (a < b).to(torch.int8)

    attribute_signs = signs(attributes)

    def scipy():
        return np.array([[kendalltau(a, b).statistic for b in attributes.numpy().T] for a in few.T])

    def int8():
        return torch._int_mm(attribute_signs.T, signs(some))

    assert np.array_equal(ops.kendall_tau(neurons[:, :SCIPY], attributes)[0].numpy(), scipy())
    assert torch.equal(ops.kendall_tau(some, attributes)[1].T, int8().long())
    contest(
        "kendall_tau",
        {
            "skn": lambda: ops.kendall_tau(neurons, attributes),
            "scipy": Sample(scipy, NEURONS / SCIPY),
            "int8 sign products in torch": Sample(int8, NEURONS / TORCH),
        },
        f"tau-b of {NEURONS:,} × {ATTRIBUTES} columns of {ROWS}, float32; scipy and torch on samples, scaled up",
        Work(bytes=neurons.nbytes),
        targets={"scipy": 1200, "int8 sign products in torch": 35},
    )
