"""Compile every native source against the headers of the oldest torch that skn promises to support. Nothing is linked.

A machine has one torch, mostly a newer one, whose headers may have what the oldest lacks. ``make check-oldest-torch``
runs this file: it downloads the wheel of the oldest torch if its headers are missing, keeps the headers and installs
nothing. ``tests/kernels/test_oldest_torch.py`` compiles the same sources if the headers are there.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "setup.py")))  # the sources and flags of the build itself
VERSION = ".".join(map(str, BUILD.TARGET))
HEADERS = ROOT / "build" / f"torch-{VERSION}"
NVCC = os.environ.get("CUDACXX") or shutil.which("nvcc")


def fetch() -> None:
    """Download the wheel of the oldest torch and keep its headers in ``HEADERS``."""
    HEADERS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HEADERS.parent) as scratch:
        download = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", scratch)
        subprocess.run([*download, f"torch=={VERSION}.0"], check=True)
        (wheel,) = Path(scratch).glob("torch-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith("torch/include/")]
            archive.extractall(scratch, names)
        # The folder appears as a whole or not at all.
        os.replace(Path(scratch, "torch", "include"), HEADERS)


def sources() -> list[str]:
    """Return the sources that the build compiles against torch, relative to the repository; without nvcc, only the
    CPU's.
    """
    own = (BUILD.BODY, BUILD.KERNELS)  # these sources use nothing of torch
    return [*(BUILD.CUDA_SOURCES if NVCC else ()), *(source for source in BUILD.SOURCES if source not in own)]


def complaint(source: str, include: Path = HEADERS) -> str:
    """Return the compiler's errors for a source with the headers in ``include``; empty if there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        if source in BUILD.CUDA_SOURCES:
            # nvcc can only compile the kernels in full. The host's sources are only parsed.
            compiler = [
                NVCC,
                *BUILD.CUDA_FLAGS,
                *BUILD.gencode(),
                "-Xcompiler=-fsyntax-only",
                "-c",
                "-o",
                f"{scratch}/unused.o",
            ]
        else:
            compiler = [*BUILD.find_compiler(), *BUILD.FLAGS, "-fsyntax-only"]
        done = BUILD.capture([*compiler, "-isystem", str(include), source])
    return done.stderr or f"exit status {done.returncode}" if done.returncode else ""


def main() -> int:
    if not HEADERS.is_dir():
        fetch()
    if NVCC is None:
        print("no nvcc (set CUDACXX to name one): the CUDA sources are left out")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = dict(zip(sources(), pool.map(complaint, sources()), strict=True))
    refused = {source: said for source, said in complaints.items() if said}
    for source, said in refused.items():
        print(f"{source} does not compile with torch {VERSION}:\n{said}")
    print(f"torch {VERSION}: {len(complaints) - len(refused)} of {len(complaints)} native sources compile")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
