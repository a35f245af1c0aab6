"""The searchlight on real activations, as tables of Markdown for docs/results.md: times, agreement with scipy, counts.

python scripts/searchlight_proof.py ACTIVATIONS ATTRIBUTES [--permutations 1000] [--columns 500]

Scipy takes random (neuron, attribute) columns, and its time for all of them is extrapolated from these in the same run.
Times are medians of five; permutations are timed once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import kendalltau

from skn.rsa.attributes import Attributes, read_attributes
from skn.rsa.mantel import mantel
from skn.rsa.patterns import Patterns, read_patterns
from skn.rsa.searchlight import ALPHA, Searchlight, benjamini_hochberg, distances, searchlight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("activations", type=Path)
    parser.add_argument("attributes", type=Path)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=500)
    options = parser.parse_args()

    def read() -> tuple[Patterns, Attributes]:
        patterns = read_patterns(options.activations)
        given = read_attributes(options.attributes, None, patterns.conditions)
        return patterns, given.among(patterns.conditions, options.attributes)

    reading, (patterns, attributes) = timed(read)
    distancing, distance = timed(lambda: distances(patterns.values))
    searching, found = timed(lambda: searchlight(distance, attributes.distance))
    before = peak()
    agreement, each = against_scipy(distance, attributes, found, options.columns)
    scipy_seconds = each * found.tau.size
    permuting, null = timed(lambda: mantel(distance, attributes.distance, options.permutations, 0)["tau"], repeats=1)

    pairs, neurons = distance.shape
    seeds = len(patterns.seeds)
    print(f"{neurons:,} neurons × {len(attributes.names)} attributes, {pairs} pairs of conditions, {seeds} seeds, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| what | seconds | processor seconds |\n|---|---|---|")
    print(f"| reading both files | {reading} |")
    print(f"| distances | {distancing} |")
    print(f"| tau, p, q, ranks | {searching} |")
    print(f"| {options.permutations:,} permutations | {permuting} |")
    print(f"| scipy's tau and p of all, from {options.columns} columns | | {scipy_seconds:.0f} |\n")
    print(
        f"- scipy over distances, tau, p, q and ranks: {scipy_seconds / (distancing.processor + searching.processor):.0f} times, in processor seconds"
    )
    print(
        f"- largest difference to scipy on {options.columns} random columns: tau {agreement[0]:.1e}, p {agreement[1]:.1e}"
    )
    print(
        f"- peak memory of the process: {before:.0f} MiB after the searchlight, {peak():.0f} MiB after the permutations\n"
    )
    counts(attributes.names, found, null)


class Seconds(NamedTuple):
    """Wall time and processor time. Other work on the machine lengthens processor time less."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} | {self.processor:.2f}"


def timed(work: Callable, repeats: int = 5) -> tuple[Seconds, Any]:
    """Return medians, and the last result."""
    spent, result = [], None
    for _ in range(repeats):
        result = None  # two results at a time would count as peak memory
        start = time.perf_counter(), time.process_time()
        result = work()
        spent.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return Seconds(*(statistics.median(column) for column in zip(*spent, strict=True))), result


def against_scipy(
    distance: torch.Tensor, attributes: Attributes, found: Searchlight, columns: int
) -> tuple[tuple[float, float], float]:
    """Return the largest differences of tau and p, and scipy's processor seconds for a column. scipy has one thread."""
    rng = np.random.default_rng(0)
    chosen = zip(
        rng.integers(found.tau.shape[0], size=columns), rng.integers(found.tau.shape[1], size=columns), strict=True
    )
    seconds, worst = 0.0, [0.0, 0.0]
    for a, n in chosen:
        x, y = distance[:, n].numpy().copy(), attributes.distance[:, a].numpy().copy()
        start = time.process_time()
        right = kendalltau(x, y, method="asymptotic", alternative="greater")
        seconds += time.process_time() - start
        differences = abs(found.tau[a, n] - right.statistic), abs(found.p[a, n] - right.pvalue)
        worst = [max(pair) for pair in zip(worst, differences, strict=True)]
    return (worst[0], worst[1]), seconds / columns


def counts(names: list[str], found: Searchlight, null: object) -> None:
    q_mantel = np.stack([benjamini_hochberg(row) for row in null.p])
    tests = {
        "p": found.p, "q": found.q, "q_all": found.q_all, "p_mantel": null.p, "q_mantel": q_mantel, "p_family": null.family,
    }  # fmt: skip
    print(f"Neurons with each at or below {ALPHA}:\n")
    print("| attribute | constant | " + " | ".join(tests) + " |\n|" + "---|" * (len(tests) + 2))
    for i, name in enumerate(names):
        row = [np.isnan(found.tau[i]).sum(), *((values[i] <= ALPHA).sum() for values in tests.values())]
        print(f"| {name} | " + " | ".join(f"{value:,}" for value in row) + " |")


def peak() -> float:
    """Return the most memory that the process has held, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    main()
