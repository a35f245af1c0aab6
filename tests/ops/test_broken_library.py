"""A native library that was built and does not load costs its own device only, and every way says so."""

import os
import shutil
import subprocess
import sys

import pytest
from repository import REPOSITORY

# A process that takes itself for one with a device, as torch for CUDA would on one; its tensors have no memory.
WITH_CUDA = """
import torch
torch.cuda.is_available = lambda: True
"""
HITS = """
from skn import ops
def hits(device):
    return ops.accumulate_hits(
        torch.zeros(2, 1, 1, dtype=torch.int64, device=device), torch.ones(3, 1, 1, device=device),
        torch.zeros(1, 1, dtype=torch.float64, device=device), torch.tensor([0, 1, 1], device="cpu"),
    )
"""
DOCTOR = "from skn import cli; print('exit', cli.run(['doctor']))\n"


@pytest.fixture
def broken(tmp_path):
    """``broken(name)``: a copy of skn in which the library of that name is no library, and those beside it as they are."""

    def spoil(name):
        shutil.copytree(REPOSITORY / "skn", tmp_path / "skn", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(REPOSITORY / "kernels", tmp_path / "skn" / "kernels")
        for library in (tmp_path / "skn").rglob(name):
            library.unlink()
        path = tmp_path / "skn" / "_native" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"this is not a shared library")
        return path

    return spoil


def python(code, folder):
    env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_that_for_cuda_warns_once_others_serve_and_the_doctor_says_it(broken, tmp_path):
    path = broken("libskn_cuda.so")
    code = """
from torch._subclasses.fake_tensor import FakeTensorMode
from skn.ops import backends
print(backends.implementation("accumulate_hits", "cpu"), "|", backends.implementation("kendall_tau", "cuda"))
with FakeTensorMode():
    hits("cpu")
    print("before", file=sys.stderr)
    hits("cuda")
    hits("cuda")
"""
    out, said = python("import sys\n" + WITH_CUDA + HITS + code + DOCTOR, tmp_path)
    serving, *doctor = out.splitlines()
    cpu, _, tau = serving.partition(" | ")
    assert "cannot be loaded" not in cpu and tau == "eager"
    before, after = said.split("before\n")
    assert before == "" and after.count("cannot be loaded") == 1
    assert str(path) in after and "Reinstall skn" in after
    told = f"CUDA library: skn's native library {path} cannot be loaded: "
    assert any(line.startswith(told) for line in doctor) and doctor[-1] == "exit 0"


def test_without_a_device_it_is_not_opened(broken, tmp_path):
    broken("libskn_cuda.so")
    out, said = python("import torch; torch.cuda.is_available = lambda: False\n" + DOCTOR, tmp_path)
    assert "cannot be loaded" not in out + said and ", no device\n" in out


def test_that_for_the_cpu_is_an_error_at_its_first_use_and_no_silent_fallback(broken, tmp_path):
    path = broken("libskn_cpu.so")
    code = """
from skn.ops import backends, native
assert {backends.implementation(op, "cpu") for op in backends.TABLE} == {backends.BROKEN}
assert native.isa() is None and backends.native_library() is None
for use in (lambda: hits("cpu"), lambda: torch.ops.skn.pack(torch.ones(2, 2), "float32")):
    try:
        use()
    except native.NativeLoadError as error:
        print(error)
"""
    out, said = python("import torch\n" + HITS + code + DOCTOR, tmp_path)
    assert said == ""
    first, second, *doctor = out.splitlines()
    assert first == second and str(path) in first and "Reinstall skn" in first
    assert f"native library: {first}" in doctor and doctor[-1] == "exit 0"
