"""The CUDA sources compile for sm_80 and sm_90, and their single-threaded arithmetic is right on the host.

Neither needs a device. What a device computes is checked by ``scripts/gpu_check.sh``.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nvcc import NVCC
from repository import REPOSITORY

SOURCES = sorted(path.name for path in (REPOSITORY / "csrc" / "cuda").glob("*.cu"))

pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")


def nvcc(*arguments):
    done = subprocess.run([NVCC, "-std=c++17", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_kernels_compile_without_a_warning(source, tmp_path):
    targets = [f"-gencode=arch=compute_{capability},code=sm_{capability}" for capability in (80, 90)]
    said = nvcc(*targets, "-O3", "-Wno-deprecated-gpu-targets", "-Xcompiler=-Wall,-Wextra", "-c",
                REPOSITORY / "csrc" / "cuda" / source, "-o", tmp_path / "kernel.o")  # fmt: skip
    assert "warning" not in said


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_kernels_know_nothing_of_torch(source):
    included = nvcc("-M", REPOSITORY / "csrc" / "cuda" / source)
    assert any(header in included for header in ("accumulate.h", "ffn_pruned.h", "kendall_tau.h", "permuted_hits.h"))
    assert "torch/" not in included


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", ["registration.cpp", "register_ffn.cpp", "register_kendall.cpp", "register_permutations.cpp"]
)
def test_the_registration_compiles_with_the_stable_headers(source, tmp_path):
    include = Path(torch.__file__).parent / "include"
    if not (include / "torch" / "csrc" / "stable" / "library.h").is_file():
        pytest.skip("torch is installed without its C++ headers")
    flags = ("-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000", "-isystem", include)
    compiled = tmp_path / "registration.o"
    nvcc(*flags, "-Xcompiler=-fPIC", "-c", REPOSITORY / "csrc" / "cuda" / source, "-o", compiled)
    if shutil.which("nm"):
        names = subprocess.run(["nm", "-uC", compiled], capture_output=True, text=True, check=True).stdout
        assert "aoti_torch_get_current_cuda_stream" in names
        assert "at::" not in names and "c10::" not in names


@pytest.mark.slow
def test_what_a_thread_computes_on_the_host(tmp_path):
    program = tmp_path / "host_math"
    nvcc("-Wno-deprecated-gpu-targets", Path(__file__).parent / "cuda" / "host_math.cu", "-o", program)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stdout + done.stderr


@pytest.mark.slow
def test_the_build_says_what_came_of_cuda(tmp_path):
    """A compiler that fails costs the CUDA library and nothing else."""
    broken = tmp_path / "nvcc"
    broken.write_text("#!/bin/sh\necho 'error: no such architecture' >&2\nexit 1\n")
    broken.chmod(0o755)
    # The CPU library is not what is tested here, so it gets no compiler either.
    env = {**os.environ, "CUDACXX": str(broken), "CXX": "/nonexistent/compiler"}
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", tmp_path / "base", "--build-lib", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads((tmp_path / "skn" / "_native" / "build.json").read_text())["cuda"]
    with_cuda = (Path(torch.__file__).parent / "lib" / "libtorch_cuda.so").is_file()
    reason = "the compiler failed: error: no such architecture" if with_cuda else "is a build without CUDA"
    assert line.startswith("not built: ") and reason in line
