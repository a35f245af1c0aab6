"""Builds skn into a folder of its own and sees to it that ``import skn`` works there, with the CUDA library or without.

Not into the environment, which belongs to someone else. The CPU library is left out, because nothing here runs on it. If
the build fails, the Python files are copied, so that Triton's kernels and the engine are checked and timed all the same.
Exit codes: 0 everything was built and loads, 1 something is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import facts
from lines import Lines

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path("skn", "_native", "libskn_cuda.so")
IMPORT = """
import json, sys, skn
from skn.ops import backends
print(json.dumps({op: backends.implementation(op, sys.argv[1]) for op in backends.TABLE}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to; anything in it goes")
    parser.add_argument("--limit", type=float, default=33, help="seconds for the build [33]")
    parser.add_argument("--dry-run", action="store_true", help="nothing for a device")
    parser.add_argument("--lines", type=Path, metavar="FILE", default=Path(os.devnull))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an ended step also ends its compiler
    # The first import reads gigabytes, so it runs while the compiler runs.
    warm = None if options.dry_run else subprocess.Popen([sys.executable, "-c", "import torch, transformers, triton"])
    built = build(ROOT, options.folder, options.limit)
    if warm is not None:
        warm.wait()
    serves, whole = imported(options.folder, "cpu" if options.dry_run else "cuda")
    Lines(options.lines).add(serves=serves or {})
    print(f"serves: {serves}")
    expected = options.dry_run or (options.folder / LIBRARY).exists()
    if not expected:
        print("FAILED  there is no CUDA library: Triton and the eager definitions serve")
    return 0 if built and whole and expected and serves else 1


def build(root: Path, folder: Path, limit: float) -> bool:
    """Install skn from ``root`` into ``folder``, or copy its Python there.

    Returns whether the installation succeeded.
    """
    shutil.rmtree(folder, ignore_errors=True)
    source = folder.with_name("source")
    shutil.rmtree(source, ignore_errors=True)
    # A copy, so that the build leaves nothing in the repository and takes no old build from it.
    built = shutil.ignore_patterns("_native", "__pycache__")
    for name in ("csrc", "kernels", "skn"):
        shutil.copytree(root / name, source / name, ignore=built)
    for file in (root / "setup.py", root / "pyproject.toml", root / "LICENSE", *root.glob("README*")):
        shutil.copy(file, source)
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"]
    pip += ["--disable-pip-version-check", "--no-compile", "--verbose", "--target", str(folder), str(source)]
    began = time.monotonic()
    variables = os.environ | {"SKN_BUILD": "cuda", "SKN_CUDA_ARCH": facts.architecture() or ""}
    code = in_time(pip, limit, variables)
    print(f"pip ended with {code} after {time.monotonic() - began:.0f} s", flush=True)
    record = folder / LIBRARY.with_name("build.json")
    if code == 0:
        print(f"CUDA library: {json.loads(record.read_text())['cuda']}")
        return True
    print("FAILED  the build; Python files are copied")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / "skn", folder / "skn")
    shutil.copytree(source / "kernels", folder / "skn" / "kernels")
    return False


def in_time(command: list[str], limit: float, variables: dict) -> int | None:
    """Run a command. Returns its exit code, or None if it and its child processes had to be ended."""
    child = subprocess.Popen(command, env=variables, start_new_session=True)
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def imported(folder: Path, device: str) -> tuple[dict | None, bool]:
    """Import skn from ``folder``. Returns which kernel serves each operator, and whether the first import succeeded.

    If the CUDA library ends the import, the library is removed, and the import is tried again.
    """
    for attempt in range(2):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, device], cwd=folder, env=os.environ | {"PYTHONPATH": path(folder)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1]), attempt == 0
        print(f"FAILED  import skn, exit code {done.returncode}:\n{done.stderr[-3000:]}")
        if not (folder / LIBRARY).exists():
            break
        (folder / LIBRARY).unlink()
        print(f"{LIBRARY.name} is removed")
    return None, False


def path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


if __name__ == "__main__":
    sys.exit(main())
