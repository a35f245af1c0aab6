"""The Triton kernels: their arithmetic under the interpreter, and that they compile for the GPUs skn is meant for.

Neither says anything about speed. Cases live in ``tests/kernels/triton_cases`` and run in a process of their own, because the
interpreter is chosen before Triton is imported; with a CUDA device they run there as well.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from repository import REPOSITORY

pytest.importorskip("triton", reason="Triton is not installed (pip install 'skn[gpu]')")

TESTS = Path(__file__).resolve().parent
CASES = sorted((TESTS / "triton_cases").glob("*.py"))
MODES = {
    "interpreter": {"TRITON_INTERPRET": "1"},
    "cuda": {"TRITON_INTERPRET": "0"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=pytest.mark.gpu if mode == "cuda" else ()) for mode in MODES]
)
def test_cases(mode, tmp_path):
    if mode == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    # The fixtures of conftest.py build models, which no kernel needs. Not from the repository: its skn/ would hide an
    # installed skn, and skn.kernels with it.
    options = ("-q", "--noconftest", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *CASES],
        cwd=tmp_path, env={**os.environ, **MODES[mode]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_tensors_reach_the_cases_as_they_lie(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    on_device = runpy.run_path(str(REPOSITORY / "tests" / "support" / "triton_device.py"))["on_device"]
    base = torch.arange(60.0, dtype=torch.float16).view(3, 4, 5)
    views = [base, base[1:, ::2, 1:3].transpose(0, 2), base[0, 0].expand(7, 5), base[:0]]
    for view, there in zip(views, on_device(*views), strict=True):
        assert there.dtype == view.dtype and torch.equal(there, view)
        assert (there.stride(), there.storage_offset()) == (view.stride(), view.storage_offset())
