"""The machine, the libraries and the commit to which a figure belongs."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import platform
import re
import subprocess
from pathlib import Path

import torch

import skn
from skn.ops import backends, native

LIBRARIES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "onnxruntime",
    "openvino",
    "nncf",
    "nnsight",
    "transformer-lens",
)


SAME_SPEED = 1.5  # a shared machine's rates vary by less from run to run


def describe() -> dict[str, object]:
    """Processor, instruction sets, threads and versions."""
    return {
        "cpu": _cpu(),
        "instruction_set": native.isa(),
        "features": backends.cpu_features(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "skn": skn.__version__,
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def record_of(folder: Path, rates: dict[str, float]) -> Path:
    """Return the file with this machine's results. It has the machine's name; a second machine of the name gets ``-2``.

    A virtual machine may hide the kind of its processor, so a record of another speed is another machine's.
    """
    what = f"{platform.machine()} {_cpu()} {native.machine_isa()} {torch.get_num_threads()} threads"
    name = re.sub(r"[^A-Za-z0-9]+", "-", what)
    for number in itertools.count(1):
        path = folder / f"{name}{f'-{number}' if number > 1 else ''}.json"
        if not path.exists() or _as_fast(json.loads(path.read_text())["rates"], rates):
            return path


def _as_fast(recorded: dict[str, float], measured: dict[str, float]) -> bool:
    faster = recorded.get("float32", measured["float32"]) / measured["float32"]  # an old record may lack the rate
    return 1 / SAME_SPEED < faster < SAME_SPEED


def commit() -> str:
    """Return the short name of the commit, with a plus sign if the working tree differs from it."""
    here = Path(__file__).parent
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or "unknown"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
