"""Kendall's tau of every neuron with every attribute: skn's operator, scipy, and sign products in torch.

    python bench/kendall.py [--neurons 36864] [--attributes 14] [--rows 351] [--repeats 7]

scipy and torch work on a sample of the neurons and their time is scaled to all of them. The contestants take turns. A
bare read of the activations is timed beside them: nothing can be faster. Writes bench/results/kendall-<machine>.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from machine import ratio, write
from scipy.stats import kendalltau
from torch import Tensor

from skn import ops


def main() -> None:
    options = _options()
    generator = torch.Generator().manual_seed(0)
    neurons = torch.randn(options.rows, options.neurons, generator=generator)
    wide = neurons.double()
    attributes = torch.randn(options.rows, options.attributes, generator=generator).mul(8).round()
    few, some = neurons[:, : options.scipy_sample], neurons[:, : options.torch_sample].contiguous()
    later, earlier = torch.tril_indices(options.rows, options.rows, -1)
    signs = _signs(attributes, later, earlier)
    contestants: dict[str, tuple[Callable[[], object], int]] = {
        "skn float32": (lambda: ops.kendall_tau(neurons, attributes), options.neurons),
        "skn float64": (lambda: ops.kendall_tau(wide, attributes), options.neurons),
        "bare read float32": (lambda: neurons.sum(), options.neurons),
        "scipy": (lambda: _scipy(few, attributes), few.shape[1]),
        "torch int8": (lambda: torch._int_mm(signs.T, _signs(some, later, earlier)), some.shape[1]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(options.repeats + 1):
        for name, (contestant, worked) in contestants.items():
            start = time.perf_counter()
            contestant()
            if turn > 0:  # the first one warms up
                seconds[name].append((time.perf_counter() - start) * options.neurons / worked)
    _report(options, seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=36864)
    parser.add_argument("--attributes", type=int, default=14)
    parser.add_argument("--rows", type=int, default=351)
    parser.add_argument("--scipy-sample", type=int, default=40, help="neurons that scipy works on")
    parser.add_argument("--torch-sample", type=int, default=256, help="neurons that torch works on")
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def _scipy(x: Tensor, y: Tensor) -> list[float]:
    return [kendalltau(a, b).statistic for a in x.numpy().T for b in y.numpy().T]


def _signs(x: Tensor, later: Tensor, earlier: Tensor) -> Tensor:
    a, b = x[later], x[earlier]
    return (a > b).to(torch.int8) - (a < b).to(torch.int8)


def _report(options: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    ours = "skn float32"
    result = {
        "claim": "time / skn float32, scaled to all neurons",
        "ratios": {name: ratio(values, seconds[ours]) for name, values in seconds.items() if name != ours},
        "seconds": {name: [round(s, 4) for s in values] for name, values in seconds.items()},
        "rows": options.rows,
        "neurons": options.neurons,
        "attributes": options.attributes,
        "samples": {"scipy": options.scipy_sample, "torch int8": options.torch_sample},
    }
    path = write("kendall", result, "kendall_tau")
    for name, values in seconds.items():
        print(f"{name:18} {statistics.median(values) * 1e3:12.1f} ms")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
