"""The machine, the libraries and the commit to which a figure belongs."""

from __future__ import annotations

import importlib.metadata
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


def file_name() -> str:
    """Return the machine's name in a form for file names."""
    what = f"{platform.machine()} {_cpu()} {native.machine_isa()} {torch.get_num_threads()} threads"
    return re.sub(r"[^A-Za-z0-9]+", "-", what)


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
