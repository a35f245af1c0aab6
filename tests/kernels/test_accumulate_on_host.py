"""The statistics as CUDA serves them inside a capture, on the host: see tests/kernels/cuda/on_host.h.

Nobody checks the labels there, and a label out of range counts nowhere. A device runs the same sources.
"""

import pytest
import torch
from nvcc import NVCC
from on_host import operators_on_host

from skn import ops

pytestmark = [pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine"), pytest.mark.slow]

CLASSES, POSITIONS, NEURONS = 3, 2, 131  # more than one block


@pytest.fixture(scope="module")
def on_host(tmp_path_factory):
    changes = {"registration.cpp": {"if (labels.is_cpu()) {": "if (false) {"}}  # as labels on the device
    names = ["accumulate_moments", "accumulate_hits"]
    folder = tmp_path_factory.mktemp("on_host")
    yield from operators_on_host(folder, "accumulate", "registration.cpp", 3, changes, names=names)


def batch(examples, dtype, strange):
    """Activations and labels, some of them out of range, and which examples count."""
    generator = torch.Generator().manual_seed(examples)
    act = torch.randn(examples, POSITIONS, NEURONS, generator=generator).to(dtype)
    label = torch.randint(CLASSES, (examples,), generator=generator)
    for place, value in strange.items():
        label[place] = value
    return act, label, (label >= 0) & (label < CLASSES)


def states(value):
    return (
        torch.full((CLASSES,), value, dtype=torch.int64),
        *(torch.full((CLASSES, POSITIONS, NEURONS), float(value), dtype=torch.float64) for _ in range(2)),
        torch.full((CLASSES, POSITIONS, NEURONS), value, dtype=torch.int64),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("examples", "strange"),
    [
        (1, {}),
        (1, {0: 3}),
        (40, {}),
        (300, {0: 3, 7: -1, 255: 9, 256: 3, 299: 3}),
        (9, dict.fromkeys(range(9), 3)),
        (0, {}),
    ],
)
def test_what_is_in_range_counts_and_nothing_else(on_host, examples, strange, dtype):
    act, label, counts = batch(examples, dtype, strange)
    threshold = torch.linspace(-1, 1, POSITIONS * NEURONS, dtype=torch.float64).view(POSITIONS, NEURONS)
    count, total, total_sq, hits = states(5)
    on_host["accumulate_moments"](count, total, total_sq, act, label)
    on_host["accumulate_hits"](hits, act, threshold, label)
    expected = states(5)
    ops.accumulate_moments(*expected[:3], act[counts], label[counts])
    ops.accumulate_hits(expected[3], act[counts], threshold, label[counts])
    assert all(torch.equal(found, right) for found, right in zip((count, total, total_sq, hits), expected, strict=True))
