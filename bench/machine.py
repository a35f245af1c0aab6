"""What every benchmark records: the machine, the commit, and ratios with their spread, as JSON in bench/results."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import skn
from skn import backends

RESULTS = Path(__file__).parent / "results"


def ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median, lowest and highest of the ratios of runs that took turns."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    return {
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_low": round(min(ratios), 4),
        "ratio_high": round(max(ratios), 4),
    }


def take_turns(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every contestant, each run once unrecorded and then ``repeats`` times in turn."""
    for contestant in contestants.values():
        contestant()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def quartiles(seconds: list[float]) -> list[float]:
    """First quartile, median and third quartile, in milliseconds."""
    return [round(1e3 * float(q), 2) for q in np.percentile(seconds, [25, 50, 75])]


def describe(op: str) -> dict[str, object]:
    """The machine, and what serves ``op`` on it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor() or "unknown",
        "threads": torch.get_num_threads(),
        "instruction_sets": backends.cpu_features(),
        "backend": backends.implementation(op, "cpu"),
        "torch": torch.__version__,
        "skn": skn.__version__,
        "commit": commit,
    }


def write(benchmark: str, result: dict[str, object], op: str) -> Path:
    """The result beside the machine's description."""
    machine = describe(op)
    name = f"{benchmark}-{platform.machine()}-{'-'.join(str(machine['cpu']).split())}.json".replace("/", "-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_text(json.dumps({**result, "machine": machine}, indent=2) + "\n")
    return path
