"""``scripts/gpu_check.sh`` without a GPU: its steps in a dry run, and what becomes of the others when one goes wrong."""

import json
import os
import subprocess
import sys

import pytest
from repository import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
GPU = SCRIPTS / "gpu"
QUICK = ["facts", "build", "checks", "bench", "encoder", "engine"]
FULL = ["facts", "build", "encoder", "compile", "triton", "sanitizer", "compile-large"]
CHECKS = {
    "checks": ["tau", "encode", "norm", "graphs", "ffn", "resident", "waits"],
    "engine": [
        "permutations",
        "statistics",
        "labels",
        "pooling",
        "noise",
        "fused",
        "engine",
        "probe",
        "train",
        "decoders",
    ],
}
SHAPES = ["32 × 56", "256 × 128"]
ROWS = [
    "copy",
    "kendall_tau, 36,864 × 14, n = 351",
    *(
        f"ffn_pruned, {rows} rows, {neurons} neurons, {way}"
        for rows in ("65,536", "16,384") for neurons in (61, 307, 512) for way in ("operator", "eager")
    ),
    *(
        f"{kind} encoder, {shape}, bfloat16, {way}"
        for kind in ("pruned", "dense") for shape in SHAPES for way in ("skn", "Hugging Face")
    ),
    *(f"dense encoder, {shape}, float32, skn" for shape in SHAPES),
    *(f"original, {shape}, float32, {use}" for shape in SHAPES for use in ("hooks and every word", "host copies")),
    *(f"probe, {shape}, {dtype}, skn" for shape in SHAPES for dtype in ("float32", "bfloat16")),
    *(f"pruned encoder, {rows} of SST-2's lengths, at most 56, bfloat16, {way}" for rows in (32, 256) for way in ("skn", "Hugging Face")),
]  # fmt: skip
TRAINED = [
    f"train, {cells}, {products}, {way}"
    for products in ("float32", "autocast")
    for cells, ways in (
        ("1 cell of 32 × 120", ("eager", "graphs", "Hugging Face")),
        ("8 cells of 32 × 120", ("eager", "graphs")),
    )
    for way in ways
]
COMPILED = [f"pruned encoder, {shape}, bfloat16, torch.compile" for shape in SHAPES]
# Python reads this file when it starts: what the machine with a GPU may lack is not there at all.
HIDE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *rest):
        hidden = ("datasets", "accelerate", "pyarrow", "typer", "matplotlib", "pandas", "sklearn", "onnx")
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, *rest)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def start(*arguments, out, python=sys.executable, **variables):
    known = {k: v for k, v in os.environ.items() if k != "WITHIN" and not k.startswith("LIMIT_")}
    env = {**known, "OUT": str(out), "PYTHON": str(python), **{k: str(v) for k, v in variables.items()}}
    command = ["bash", SCRIPTS / "gpu_check.sh", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    said, _ = process.communicate(timeout=900)
    return process.returncode, said


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(path):
    return {line["step"].partition("/")[2]: line["outcome"] for line in lines_of(path) if "outcome" in line}


# A dry run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """Both runs on the CPU, at once, where datasets and others are not installed: folders by name of the run."""
    pytest.importorskip("triton", reason="Triton is not installed (pip install 'skn[gpu]')")
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "sitecustomize.py").write_text(HIDE)
    folders = {run: tmp_path_factory.mktemp(run) for run in ("quick", "full")}
    running = [start("--dry-run", run, out=out, PYTHONPATH=hidden) for run, out in folders.items()]
    for (run, out), process in zip(folders.items(), running, strict=True):
        code, said = finish(process)
        logs = "\n".join(path.read_text()[-3000:] for path in sorted(out.glob("*.log")))
        assert code == 0, f"{run}: {said}\n{logs}"
    return folders | {"hidden": hidden}


@pytest.mark.slow
@pytest.mark.parametrize(("run", "steps"), [("quick", QUICK), ("full", FULL)])
def test_a_dry_run_goes_through_every_step(dry, run, steps):
    assert outcomes(dry[run] / f"{run}.jsonl") == dict.fromkeys(steps, "ok")
    files = sorted(path.name for path in dry[run].iterdir())
    assert len(files) <= 8 and f"{run}.jsonl" in files and "dry-run.json" in files


@pytest.mark.slow
def test_every_named_row_and_check_is_there(dry):
    quick = json.loads((dry["quick"] / "dry-run.json").read_text())["runs"]["quick"]
    assert not set(ROWS) - set(quick["rows"])
    assert {step: list(pieces) for step, pieces in quick["pieces"].items() if step in CHECKS} == CHECKS
    assert all(piece["ok"] for pieces in quick["pieces"].values() for piece in pieces.values())
    full = json.loads((dry["full"] / "dry-run.json").read_text())["runs"]["full"]
    assert not set(COMPILED + TRAINED) - set(full["rows"])
    assert all(full["rows"][row]["cells an hour"] > 0 and full["rows"][row]["steps"] == 1000 for row in TRAINED)
    assert {aim["what"] for aim in quick["aims"]} >= {
        "kendall_tau, 36,864 × 14, n = 351: median",
        "original, 32 × 56, float32, host copies / probe, 32 × 56, bfloat16, skn",
    }
    assert len(full["aims"]) == 3  # of torch.compile
    for name, row in {**quick["rows"], **full["rows"]}.items():
        assert row["dry run"] is True and {"median", "quartiles", "by"} <= row.keys(), name


@pytest.mark.slow
def test_the_facts_name_what_is_missing(dry):
    facts = json.loads((dry["quick"] / "dry-run.json").read_text())["runs"]["quick"]["facts"]
    assert {"torch", "triton", "transformers", "setuptools", "nvcc", "compute-sanitizer"} <= facts.keys()
    assert facts["python"] and "datasets" not in facts


@pytest.mark.slow
def test_what_the_target_machine_lacks_is_not_there(dry):
    """The dry run says nothing about it unless Python really hid it."""
    env = {**os.environ, "PYTHONPATH": str(dry["hidden"])}
    command = [sys.executable, "-c", "import datasets"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "No module named 'datasets'" in done.stderr


# When a step goes wrong -----------------------------------------------------------------------------------


@pytest.fixture
def stub(tmp_path):
    """A Python whose scripts do nothing, or what a case says of one of them."""

    def write(script="", then=""):
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\ncase "$*" in\n{script or "nothing"}) {then or ":"} ;;\nesac\nexit 0\n')
        path.chmod(0o755)
        return path

    return write


def test_a_step_beyond_its_limit_is_ended_and_the_next_runs(stub, tmp_path):
    python = stub("*check.py*tau*", "sleep 60")
    code, said = finish(start("quick", out=tmp_path / "out", python=python, LIMIT_checks=1))
    expected = dict.fromkeys(QUICK, "ok") | {"checks": "ended at its limit of 1 s"}
    assert outcomes(tmp_path / "out" / "quick.jsonl") == expected and code == 1, said
    (line,) = (line for line in lines_of(tmp_path / "out" / "quick.jsonl") if line["step"] == "quick/checks")
    assert line["limit"] == 1 and line["seconds"] < 6  # of the 60 that it would take
    assert "checks" in said.splitlines()[-4] and said.splitlines()[-4].endswith("ended at its limit of 1 s")


def test_a_step_that_fails_is_told_and_the_next_runs(stub, tmp_path):
    python = stub("*install.py*", "echo 'FAILED  for a reason'; exit 7")
    code, said = finish(start("full", out=tmp_path / "out", python=python, SANITIZER="none"))
    expected = dict.fromkeys(FULL, "ok") | {"build": "failed with exit code 7"}
    assert outcomes(tmp_path / "out" / "full.jsonl") == expected and code == 1
    assert all("FAILED  for a reason" in text for text in (said, (tmp_path / "out" / "full-build.log").read_text()))


def test_no_sanitizer_is_told(stub, tmp_path):
    code, said = finish(start("full", out=tmp_path / "out", python=stub(), SANITIZER="no-such-sanitizer"))
    expected = dict.fromkeys(FULL, "ok") | {"sanitizer": "failed with exit code 1"}
    assert outcomes(tmp_path / "out" / "full.jsonl") == expected and code == 1
    assert "FAILED  no-such-sanitizer is not installed" in said


def test_a_step_without_time_says_so(stub, tmp_path):
    code, said = finish(start("quick", out=tmp_path / "out", python=stub(), WITHIN=2))
    assert set(outcomes(tmp_path / "out" / "quick.jsonl").values()) == {"skipped: no time is left"} and code == 1, said


def test_without_a_device_it_says_so(tmp_path):
    code, said = finish(start("quick", out=tmp_path / "out", CUDA_VISIBLE_DEVICES=""))
    assert code == 2 and "no CUDA device can be used" in said
    hide = HIDE.replace('("datasets",', '("torch", "datasets",')
    assert hide != HIDE
    (tmp_path / "sitecustomize.py").write_text(hide)
    for given in (["--dry-run"], []):  # not every step fails by itself
        code, said = finish(start(*given, "quick", out=tmp_path / "out", PYTHONPATH=tmp_path))
        assert code == 2 and "has no torch; name a Python that has it: PYTHON=" in said


REFUSED = {
    "no run": (["slow"], {}, "gpu_check: 'slow': expected quick or full"),
    "two runs": (["quick", "full"], {}, "gpu_check: 'full': nothing may follow quick"),
    "a dry run said too late": (["quick", "--dry-run"], {}, "gpu_check: '--dry-run': nothing may follow quick"),
    "no Python": (["quick"], {"PYTHON": "no/python"}, "gpu_check: PYTHON=no/python: no such program"),
    "no time": (["quick"], {"WITHIN": "soon"}, "gpu_check: WITHIN=soon: expected whole seconds"),
    "half a second": (["quick"], {"LIMIT_build": "2.5"}, "gpu_check: LIMIT_build=2.5: expected whole seconds"),
}


@pytest.mark.parametrize("arguments, settings, line", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_before_a_step(stub, tmp_path, arguments, settings, line):
    code, said = finish(start(*arguments, out=tmp_path / "out", python=stub(), **settings))
    assert code == 2 and said.startswith(line) and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_python_may_be_named_from_the_folder_of_the_caller(stub, tmp_path, monkeypatch):
    monkeypatch.chdir(stub().parent)
    code, said = finish(start("quick", out=tmp_path / "out", python="./python"))
    assert code == 0 and outcomes(tmp_path / "out" / "quick.jsonl") == dict.fromkeys(QUICK, "ok"), said
