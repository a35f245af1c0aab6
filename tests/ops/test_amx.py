"""The kernels of AMX and of AVX-VNNI, run where there is neither: their very files, with the instructions above AVX2
emulated in AVX2.

``make check-levels`` runs all tests of operators so, at every level. On a machine with AMX or AVX-VNNI, its level takes
part in every test that uses the fixture ``level``, besides.
"""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from repository import REPOSITORY

from skn.ops import native

PROGRAMS = Path(__file__).parent / "cpu"
CHECK = SimpleNamespace(**runpy.run_path(str(REPOSITORY / "scripts" / "check_levels.py")))


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (done.returncode, (done.stdout + done.stderr)[-3000:])
    return done.stdout


@pytest.fixture
def compiler():
    """The compiler of the native library, as a list of arguments."""
    if "avx2" not in native.available():
        pytest.skip(f"no AVX2: this machine has {native.machine_isa()}")
    try:
        return CHECK.BUILD.find_compiler()
    except CHECK.BUILD.CannotBuild as error:
        pytest.skip(str(error))


def compiled(compiler, source, target, *flags):
    run(*compiler, *native.build_record()["flags"], *flags, PROGRAMS / source, "-o", target)
    return target


@pytest.mark.slow
def test_products_at_sizes_that_are_multiples_of_nothing(compiler, tmp_path):
    """The program also ends with an error for memory that is read beyond A or W, and for tiles that are not given back."""
    program = compiled(compiler, "tile_gemm.cpp", tmp_path / "tile_gemm", *CHECK.FLAGS)
    errors = dict(line.split() for line in run(program).splitlines())
    assert float(errors["bfloat16"]) < 1e-6  # the products are exact: float32 sums
    assert 1e-6 < float(errors["bf16x3"]) < 2**-15


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx_vnni", "amx"])
def test_products_of_bytes_are_exact(compiler, tmp_path, isa):
    """At sizes that are multiples of nothing, and with bytes whose products leave 16 bits."""
    program = compiled(compiler, "byte_gemm.cpp", tmp_path / "byte_gemm", f"-DSKN_ISA={isa}", *CHECK.FLAGS)
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


@pytest.mark.slow
def test_the_operators_on_a_library_with_emulated_instructions(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests" / "support"))
    library = CHECK.build(tmp_path, ("baseline", "avx2", "avx_vnni", "amx"))
    files = [REPOSITORY / "tests" / "ops" / name for name in ("test_encode.py", "test_ffn.py")]
    # Without the fixtures of other wings and what those import.
    options = ("-q", "-p", "no:cacheprovider", "--noconftest", "-p", "levels", "-k", "amx or avx_vnni")
    done = CHECK.run(tmp_path, *options, *map(str, files), cwd=tmp_path, capture_output=True, text=True)
    serving, _, said = done.stdout.partition("\n")
    assert serving == f"{library}: amx", done.stdout + done.stderr
    passed = re.search(r"(\d+) passed, \d+ deselected", said)  # and none skipped
    assert done.returncode == 0 and passed and int(passed[1]) > 200, said
