"""The kernels of AMX and of AVX-VNNI, run where there is neither: their very files, with the tile instructions emulated in
plain C++, and with the instruction of AVX-512 in the place of AVX-VNNI's.

On a machine with AMX or AVX-VNNI, its level takes part in every test that uses the fixture ``level``, besides.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

from skn.ops import native

PROGRAMS = Path(__file__).parent / "cpu"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (done.returncode, (done.stdout + done.stderr)[-3000:])
    return done.stdout


@pytest.fixture
def compiler():
    """The compiler of the native library, as a list of arguments. Everything around the tiles is AVX-512 BF16."""
    if "avx512_bf16" not in native.available():
        pytest.skip(f"no AVX-512 BF16: this machine has {native.machine_isa()}")
    command = shlex.split(os.environ.get("CXX", "")) or [next(filter(shutil.which, ("c++", "g++", "clang++")), "")]
    if shutil.which(command[0]) is None:
        pytest.skip("no C++ compiler on this machine")
    return command


def compiled(compiler, source, target, *flags):
    run(*compiler, *native.build_record()["flags"], *flags, PROGRAMS / source, "-o", target)
    return target


@pytest.mark.slow
def test_products_at_sizes_that_are_multiples_of_nothing(compiler, tmp_path):
    """The program also ends with an error for memory that is read beyond A or W, and for tiles that are not given back."""
    program = compiled(compiler, "tile_gemm.cpp", tmp_path / "tile_gemm", "-DSKN_EMULATE")
    errors = dict(line.split() for line in run(program).splitlines())
    assert float(errors["bfloat16"]) < 1e-6  # the products are exact: float32 sums
    assert 1e-6 < float(errors["bf16x3"]) < 2**-15


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx_vnni", "amx"])
def test_products_of_bytes_are_exact(compiler, tmp_path, isa):
    """At sizes that are multiples of nothing, and with bytes whose products leave 16 bits."""
    program = compiled(compiler, "byte_gemm.cpp", tmp_path / "byte_gemm", f"-DSKN_ISA={isa}", "-DSKN_EMULATE")
    assert run(program) == "784\n"


@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump on this machine")
def test_the_tile_functions_are_the_intrinsics(compiler, tmp_path):
    """What no emulation shows: that the real functions are these instructions, with these operands in this order."""
    if subprocess.run(
        [*compiler, "-mamx-bf16", "-mamx-int8", "-E", "-xc++", os.devnull], capture_output=True, check=False
    ).returncode:
        pytest.skip("this compiler has no intrinsics of AMX")
    binary = compiled(compiler, "tile_instructions.cpp", tmp_path / "tile_instructions.o", "-c")
    listing = run("objdump", "-d", "--no-show-raw-insn", binary)
    functions = dict(re.findall(r"<(ours|intrinsics)>:\n(.*?\tret)", listing, re.DOTALL))
    ours, intrinsics = (
        re.findall(r"^ +[0-9a-f]+:\t(.*?) *$", functions[f], re.MULTILINE) for f in ("ours", "intrinsics")
    )
    assert ours == intrinsics
    assert {"tdpbf16ps %tmm6,%tmm4,%tmm3", "tdpbusd %tmm4,%tmm6,%tmm1"} <= {*ours} and len(ours) == 10


def build_emulating(compiler, library):
    """The library of a whole build but for its tiles; what does not know of tiles is compiled once for both."""
    spec = importlib.util.spec_from_file_location("skn_setup", REPOSITORY / "setup.py")
    spec.loader.exec_module(build := importlib.util.module_from_spec(spec))
    torch, version = build.find_torch()
    banner = build.capture([*compiler, "--version"]).stdout.splitlines()[0]
    calls = [
        [*call, "-DSKN_EMULATE"] if {"-DSKN_ISA=amx", "-DSKN_ISA=avx_vnni", "csrc/cpu/isa.cpp"} & {*call} else call
        for call in build.compilations(build.LEVELS[::-1])
    ]
    build.compile_library(library, compiler, torch, build.kept_objects(compiler, banner, version, build.FLAGS), calls)


@pytest.mark.slow
def test_the_operators_on_a_library_with_emulated_tiles(compiler, tmp_path):
    package, support = tmp_path / "skn", REPOSITORY / "tests" / "support"
    shutil.copytree(REPOSITORY / "skn", package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    library = package / "_native" / "libskn_cpu.so"
    build_emulating(compiler, library)
    # One process: which library serves, then the tests, without the fixtures of other wings and what those import.
    code = (
        "import sys, pytest; from skn.ops import native\n"
        "print(native.LIBRARY, native.isa(), native.kernel_isa('encode'), flush=True)\n"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    files = [REPOSITORY / "tests" / "ops" / name for name in ("test_encode.py", "test_ffn.py")]
    options = ("-q", "-p", "no:cacheprovider", "--noconftest", "-p", "levels", "-k", "amx or avx_vnni")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{support}"}
    env.pop("SKN_ISA", None)
    serving, _, said = run(sys.executable, "-c", code, *options, *files, cwd=tmp_path, env=env).partition("\n")
    assert serving.split() == [str(library), "amx", "amx"]
    passed = re.search(r"(\d+) passed, \d+ deselected", said)  # and none skipped
    assert passed and int(passed[1]) > 200, said
