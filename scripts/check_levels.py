"""Run the operators' tests at every instruction set, those that this machine lacks in emulation.

``make check-levels`` runs this file on any machine with AVX2. It builds the native library once more, with the levels
above AVX2 emulated in AVX2 (``csrc/cpu/bodies/emulated_avx512.h``, ``csrc/cpu/bodies/amx/emulated_tiles.h``), in the
folder ``build/emulated``, beside a copy of the package that loads it. The tests then find a machine with AMX. The
emulation shows that the kernels compute what they should; it says nothing of their speed.

    python scripts/check_levels.py [PYTEST OPTION ...]

With no option, the tests are those of tests/ops, without those of this machine's own level (test_isa.py).
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "setup.py")))  # the levels, sources and flags of the build itself
FOLDER = ROOT / "build" / "emulated"
FLAGS = ["-DSKN_EMULATE", "-O1"]  # an optimizer takes minutes over registers that are not there
# Python looks in the current folder first, where it would find the package of the repository.
TESTS = """
import sys
sys.path.remove("")
import pytest
from skn.ops import native
print(f"{native.LIBRARY}: {native.isa()}", flush=True)
sys.exit(pytest.main(sys.argv[1:]))
"""
OPERATORS = ("tests/ops", "--ignore=tests/ops/test_isa.py", "--numprocesses=auto")
EMULATED = BUILD.LEVELS[BUILD.LEVELS.index("avx2") + 1 :]


def emulating(call: list[str]) -> list[str]:
    """Return a compiler call with what the emulation needs. The levels up to AVX2 are the same in every build."""
    own = {"csrc/cpu/isa.cpp", *(f"-DSKN_ISA={level}" for level in EMULATED)}
    return [*call, *FLAGS] if own & {*call} else call


def build(folder: Path, levels: tuple[str, ...] = BUILD.LEVELS) -> Path:
    """Copy the package into ``folder``, build its library for ``levels``, and return the library's path.

    A lower level serves in the place of one that is left out, as in every build.
    """
    shutil.rmtree(folder / "skn", ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "skn", folder / "skn", ignore=left_out)
    shutil.copytree(ROOT / "kernels", folder / "skn" / "kernels", ignore=left_out)
    compiler = BUILD.find_compiler()
    torch, version = BUILD.find_torch()
    banner = BUILD.capture([*compiler, "--version"]).stdout.splitlines()[0]
    objects = BUILD.kept_objects(compiler, banner, version, BUILD.FLAGS)
    library = folder / "skn" / "_native" / BUILD.LIBRARY
    BUILD.compile_library(library, compiler, torch, objects, map(emulating, BUILD.compilations(levels[::-1])))
    return library


def run(folder: Path, *options: str, **settings) -> subprocess.CompletedProcess:
    """Run pytest on the package in ``folder``. The first line says which library serves, and at which level."""
    kept = {name: value for name, value in os.environ.items() if name != "SKN_ISA"}
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", TESTS, *options]
    return subprocess.run(command, check=False, env={**kept, "PYTHONPATH": path}, **settings)


def main(options: list[str]) -> int:
    try:
        build(FOLDER)
    except BUILD.CannotBuild as error:
        print(f"the library with emulated levels was not built: {error}")
        return 1
    return run(FOLDER, *(options or OPERATORS), cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
