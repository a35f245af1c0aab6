"""The scripts for a machine with a GPU run through on the CPU, so that they do not rot where there is none."""

import json
import os
import subprocess
import sys

import pytest
from repository import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


def run(script, *arguments, cwd):
    # Not from the repository: its skn/ would hide an installed skn, and skn.kernels with it.
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip


@pytest.mark.slow
def test_checks(tmp_path):
    done = run("gpu_check.py", "--dry-run", "labels", "ffn", "waits", "graphs", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("ok  ") == 4, done.stdout + done.stderr


@pytest.mark.slow
def test_bench(tmp_path):
    suites = ("copy", "statistics", "masked", "pruned", "tau", "engine", "original", "compile")
    done = run("gpu_bench.py", "--dry-run", "--out", str(tmp_path), *suites, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "gpu-dry-run.json").read_text())
    assert len(record["results"]) > 30 and all(row["median"] > 0 for row in record["results"].values())


@pytest.mark.parametrize("script", ["gpu_check.py", "gpu_bench.py"])
def test_without_a_device_they_say_so(script, tmp_path):
    done = run(script, cwd=tmp_path)
    assert done.returncode == 2 and "no CUDA device" in done.stderr
