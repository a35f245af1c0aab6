"""What this machine is, without an import of torch, which takes longer than all of this.

Exit codes: 0 the run can begin, 2 there is no torch or no CUDA device.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lines import Lines

NEEDED = ("torch", "triton", "transformers", "numpy", "safetensors", "setuptools", "pip")
# Package → what does not run without the package. Without another one of those needed, most does not.
WANTED = {
    "triton": "the Triton kernels and torch.compile",
    "pip": "the build",
    "setuptools": "the build",
    "scipy": "noise and everything that runs a model",
    "rich": "everything that runs a model",
    "pytest": "the Triton cases",
    "hypothesis": "the Triton cases",
    "pytest-xdist": "the Triton cases on several processes",
}
SETUPTOOLS = 77  # this version reads the licence in pyproject.toml
QUERY = ("name", "driver_version", "compute_cap", "memory.total")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="do not ask for a device")
    parser.add_argument("--lines", type=Path, metavar="FILE", default=Path(os.devnull))
    options = parser.parse_args()
    reason = no_torch() or (None if options.dry_run else no_device())
    if reason:
        print(f"gpu_check: {reason}", file=sys.stderr)
        return 2
    facts = {"device": "dry run"} if options.dry_run else dict(device())
    facts |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    facts |= {name: version(name) for name in (*NEEDED, *WANTED)}
    facts["nvcc"] = last_line([os.environ.get("CUDACXX") or "nvcc", "--version"])
    facts["compute-sanitizer"] = shutil.which("compute-sanitizer")
    Lines(options.lines).add(facts=facts)
    for name, value in facts.items():
        print(f"{name:20} {value or 'not installed'}")
    print("\n".join(warnings(facts)))
    return 0


def warnings(facts: dict) -> list[str]:
    """Return what will go wrong, one line for each problem."""
    lacks = dict.fromkeys(NEEDED, "most steps") | WANTED
    found = [f"{name} is not installed: {what} will fail" for name, what in lacks.items() if not facts[name]]
    if facts["setuptools"] and int(facts["setuptools"].partition(".")[0]) < SETUPTOOLS:
        found.append(
            f"setuptools {facts['setuptools']} is older than {SETUPTOOLS}: skn cannot be built, and only its Python is used"
        )
    if not facts["nvcc"]:
        found.append("there is no nvcc (CUDACXX names one): no CUDA C++ kernels")
    return found


def no_torch() -> str | None:
    """Return the line for a Python without torch, in which every step would fail; None if there is torch."""
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no torch; name a Python that has it: PYTHON=.venv/bin/python"
    return None


def no_device() -> str | None:
    """Return why no CUDA device can be used; None if one can be used, as far as this is known without torch."""
    begin = "no CUDA device can be used: "
    if not Path(importlib.util.find_spec("torch").origin).with_name("lib").joinpath("libtorch_cuda.so").exists():
        return f"{begin}torch {version('torch')} is a build without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return f"{begin}CUDA_VISIBLE_DEVICES hides it"
    return None if device() else f"{begin}neither nvidia-smi nor torch finds one"


@functools.cache
def device() -> dict:
    """Return name, driver, capability and memory of the first device, from torch if there is no nvidia-smi."""
    said = run(["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]).splitlines()
    values = [value.strip() for value in said[0].split(",")] if said else []
    if len(values) == len(QUERY):
        return {"device": values[0], "driver": values[1], "capability": values[2], "memory": values[3]}
    code = "import torch as t; print(t.cuda.get_device_name(), *t.cuda.get_device_capability(), sep='\\n')"
    name, *capability = run([sys.executable, "-c", code]).splitlines() or [None]
    return {"device": name, "capability": ".".join(capability)} if name else {}


def run(command: list[str]) -> str:
    """Return the output of a command; an empty text if the command is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def last_line(command: list[str]) -> str | None:
    return (run(command).strip().splitlines() or [None])[-1]


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def architecture() -> str | None:
    """Return "90" for capability 9.0; None if it is unknown."""
    return re.sub(r"\D", "", device().get("capability") or "") or None


if __name__ == "__main__":
    sys.exit(main())
