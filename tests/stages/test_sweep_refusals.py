"""Sweeps: what is refused before anything is written."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from refusals import command
from spoiled import edit
from swept import CELLS

from skn.runs.sweep import Sweep


@pytest.fixture(scope="module")
def untrained(sweep_arguments, tmp_path_factory) -> Path:
    """A sweep whose cells stand at their first prompt."""
    folder = tmp_path_factory.mktemp("untrained") / "s"
    assert command(sweep_arguments(folder, "--epochs", 0)) == 0
    return folder


@pytest.fixture
def reference(untrained, tmp_path, monkeypatch) -> Sweep:
    """A copy of it, which a test may spoil; the working folder is the test's."""
    monkeypatch.chdir(tmp_path)
    return Sweep.open(shutil.copytree(untrained, tmp_path / "s"))


OPTIONS = {
    "unknown task": (["--tasks", "goemotions/joyy"], "--tasks goemotions/joyy: matches no task", "did you mean 'goemotions/joy'?"),
    "no task": (["--tasks", "sst2,!sst2"], "no task is left"),
    "seeds": (["--seeds", "1;2"], "--seeds 1;2: expected numbers and commas, such as 1,3,5"),
    "a seed twice": (["--seeds", "1,3,1"], "--seeds 1,3,1: 1 stands there twice"),
    "a seed too large": (["--seeds", 2**32], "--seeds 4294967296: 4294967296 is outside 0 to 4294967295"),
    "backbone": (["--backbone", "no/where"], "no/where: neither the folder of a model nor a reachable hub id"),
    "data": (["--data", "none.csv"], "none.csv: no such file or folder; see --data"),
    "lr": (["--lr", "inf"], "--lr inf: a number of at most 1e+30"),
    "warmup": (["--warmup", 2], "--warmup 2.0: a share of all steps"),
    "prompt": (["--prompt-length", 64], "--prompt-length 64: must be 1 to 61"),
    "label words": (["--verbalizer", "positive"], "2 classes (other, joy) but 1 label words"),
    "device": (["--device", "nonsense"], "--device nonsense: use cpu or cuda"),
    "no cell could be trained": (["--tasks", "goemotions/grief,goemotions/fear"], "--task goemotions/grief: of 240 rows"),
    "gpus": (["--gpus-per-cell", 1.5], "--gpus-per-cell 1.5: a share below 1, or a whole number"),
    "threads": (["--threads", 0], "--threads"),
    "output below a file": (["--out", "file/s"], "file/s: cannot be written"),
    "output that is there": (["--out", "other"], "other: is no sweep of skn (no skn.json in it that says so) and will not be deleted"),
    "output of something else": (["--out", "other", "--overwrite"], "other: is no sweep", "will not be deleted"),
    "resume of no sweep": (["--out", "other", "--resume"], "other: not a sweep (no sweep.json in it)"),
}  # fmt: skip


@pytest.mark.parametrize("options, phrases", [(o, p) for o, *p in OPTIONS.values()], ids=OPTIONS)
def test_options(refused, sweep_arguments, tmp_path, monkeypatch, options, phrases):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else a name of the hub is tried for long
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    refused(sweep_arguments("s", *options), *phrases)


@pytest.mark.parametrize("option", ["--tasks", "--seeds", "--backbone"])
def test_options_that_are_needed(refused, sweep_arguments, option):
    line = sweep_arguments("s")
    at = line.index(option)
    refused(line[:at] + line[at + 2 :], f"{option} is needed")


def test_ray_that_is_missing(refused, sweep_arguments, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ray" else found(name, *a))
    refused(
        sweep_arguments("s", "--workers", 2), "--workers 2: needs Ray, which is not installed; pip install 'skn[sweep]'"
    )


@pytest.mark.parametrize(
    "options, was",
    [
        (["--epochs", 5], "--epochs 0, not 5"),
        (["--seeds", "1,3"], "--seeds 1,2, not 1,3"),
        (["--tasks", "goemotions/joy"], "--tasks goemotions/joy,goemotions/love, not goemotions/joy"),
        (["--threads", 2], "--threads 1, not 2"),
        (["--max-length", 9], "no --max-length"),
        (["--verbalizer", "a,b"], "no --verbalizer"),
        (["--data", "elsewhere.csv"], "not elsewhere.csv"),
    ],
)
def test_resume_with_another_value(refused, reference, options, was):
    refused(
        ["sweep", "--resume", "--out", "s", *options], "--resume: s was started with ", was, "leave out what differs"
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stored: stored["settings"].pop("threads"),
        lambda stored: stored["settings"].update(speed=3),
        lambda stored: stored["settings"].update(data=None),
        lambda stored: stored.update(tasks=[]),
        lambda stored: stored.pop("seeds"),
    ],
)
def test_a_damaged_sweep(refused, reference, spoil):
    edit(Path("s/sweep.json"), spoil)
    refused(["sweep", "--resume", "--out", "s"], "s/sweep.json: damaged", "'skn sweep --overwrite' makes it again")


@pytest.mark.parametrize("task", ["../outside/joy", "/outside/joy", "goemotions/../../joy"])
def test_a_task_that_leads_out_of_the_sweep(refused, reference, tmp_path, task):
    edit(Path("s/sweep.json"), lambda stored: stored.update(tasks=[task]))
    words = "s/sweep.json: damaged", f"the task '{task}' is no name for a folder of the sweep"
    refused(["sweep", "--resume", "--out", "s"], *words)
    refused(["activate", "--sweep", "s"], *words)
    refused(["report", "--sweep", "s"], *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_overwrite_keeps_what_a_user_has_put_there(refused, reference, sweep_arguments):
    (reference.folder(CELLS[0]) / "notes.txt").write_text("mine")
    refused(
        sweep_arguments("s", "--overwrite"),
        "s: holds goemotions/joy/seed-1/notes.txt, which skn did not write",
        "move it away",
    )


def test_a_cell_whose_tuned_tensors_are_torn(refused, reference):
    file = reference.folder(CELLS[1]) / "tuned.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    refused(["sweep", "--resume", "--out", "s"], "joy/seed-2/tuned.safetensors: damaged, though", "delete this file")
