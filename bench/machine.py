"""What every benchmark records: the machine, the commit, and ratios with their spread, as JSON in bench/results."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from pathlib import Path

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
