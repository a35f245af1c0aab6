"""``skn sweep --together N``: cells in one forward, each with its own run, as one at a time."""

from __future__ import annotations

import re
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from children import exit_code
from refusals import command
from swept import CELLS
from trainings import running_threads

from skn.model.backbone import Backbone
from skn.runs import train_sweep
from skn.runs.grid import DONE, Grid
from skn.runs.sweep import Sweep
from skn.store import artifacts
from skn.training import steps, together, trainer

pytestmark = pytest.mark.usefixtures("one_thread")
JOY = ("--tasks", "goemotions/joy")  # two cells


@pytest.fixture(scope="module")
def apart(sweep_arguments, tmp_path_factory) -> Sweep:
    """The sweep with one cell at a time."""
    folder = tmp_path_factory.mktemp("apart") / "s"
    assert command(sweep_arguments(folder)) == 0
    return Sweep.open(folder)


def check_cells(made: Sweep, apart: Sweep) -> None:
    """Every cell is done, and is the cell of the other sweep within float error."""
    assert Grid(made).cells(DONE) == made.cells and made.settings == apart.settings
    for cell in made.cells:
        mine, own = made.run(cell), apart.run(cell)
        assert mine.config == own.config and not mine.checkpoints.exists()
        assert mine.training["best_step"] == own.training["best_step"]
        first, second = (artifacts.load(run.tuned_file, "tuned").tensors for run in (mine, own))
        torch.testing.assert_close(first, second, rtol=0, atol=1e-3)


@pytest.fixture
def joined(monkeypatch) -> list[int]:
    """The number of cells in each forward."""
    found, original = [], together._step
    monkeypatch.setattr(together, "_step", lambda seats, own: found.append(len(seats)) or original(seats, own))
    return found


def test_cells_are_those_of_the_plain_loop(apart, joined, sweep_arguments, tmp_path, monkeypatch, quiet_exit, capsys):
    """Three at once, the fourth in the place of the first that ends; one load of the backbone; a line for each cell."""
    loads, load = [], Backbone.load
    monkeypatch.setattr(Backbone, "load", lambda *given: loads.append(given) or load(*given))
    monkeypatch.chdir(tmp_path)
    before = running_threads()
    assert command(sweep_arguments("s", "--together", 3)) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if "validation accuracy" in line]
    assert [
        re.match(r"(\d)/4 goemotions/\w+/seed-\d: validation accuracy 0\.\d{4}", line)[1] for line in lines
    ] == list("1234")
    assert [" left" in line for line in lines] == [True, True, True, False]
    assert "4 cells to train, 3 in one forward, torch threads" in shown.out and "loss" not in shown.out + shown.err
    assert joined == [3] * 20 + [1] * 12  # joy has 20 steps, love has 16
    assert len(loads) == 2  # one for the refusals
    assert running_threads() == before
    check_cells(Sweep.open("s"), apart)


def test_more_at_once_than_cells(sweep_arguments, tmp_path, monkeypatch, quiet_exit, capsys):
    """The line says how many cells really share a forward. They end at once, so no time is left after the first."""
    monkeypatch.chdir(tmp_path)
    assert command(sweep_arguments("s", *JOY, "--epochs", 1, "--together", 9)) == 0
    shown = capsys.readouterr().out
    assert "2 cells to train, 2 in one forward, torch threads" in shown and " left" not in shown


def test_the_time_that_is_left_counts_cells_at_once_together():
    assert train_sweep._seconds_left(10, ended=1, cells=5, at_once=1) == 40
    assert train_sweep._seconds_left(10, ended=1, cells=16, at_once=8) == 10
    assert train_sweep._seconds_left(30, ended=9, cells=24, at_once=8) == 15


def test_a_killed_sweep_goes_on_alone_or_together(apart, joined, sweep_arguments, tmp_path, quiet_exit):
    """Killed at a late checkpoint of the second cell, while the first is in training, too."""
    trace, log, out = tmp_path / "trace.txt", tmp_path / "log.txt", tmp_path / "s"
    arguments = sweep_arguments(out, *JOY, "--together", 2)
    assert exit_code(arguments, log, trace=trace) == 0
    lines = enumerate(trace.read_text().splitlines(), 1)
    saves = [number for number, line in lines if line.startswith("rename") and "joy/seed-2" in line]
    shutil.rmtree(out)
    late = saves[-2]  # at the last save, the first cell is done
    assert exit_code(arguments, log, kill_before=late) == -signal.SIGKILL
    assert all(any((Sweep.open(out).folder(cell) / "checkpoints").iterdir()) for cell in CELLS[:2])
    shutil.copytree(out, tmp_path / "t")
    assert command(["sweep", "--resume", "--out", tmp_path / "t"]) == 0 and joined == []
    assert command(["sweep", "--resume", "--together", 2, "--out", out]) == 0 and joined == [2, 2, 1, 1, 1]
    for name in ("s", "t"):
        check_cells(Sweep.open(tmp_path / name), apart)


def test_a_cell_that_fails_stops_no_other(apart, sweep_arguments, tmp_path, monkeypatch, quiet_exit, capsys):
    monkeypatch.chdir(tmp_path)
    step, failing = trainer._TuneTrainer.training_step, CELLS[1]

    def fails(self, *given, **named):
        if str(failing) in str(self.folder) and self.state.global_step == 4:
            raise ZeroDivisionError("a bug")
        return step(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._TuneTrainer, "training_step", fails)
        assert command(sweep_arguments("s", *JOY, "--together", 2)) == 1
    assert f"{failing}: failed: ZeroDivisionError: a bug (test_sweep_together.py:" in capsys.readouterr().out
    assert Grid(Sweep.open("s")).cells(DONE) == CELLS[:1]
    assert command(["sweep", "--resume", "--out", "s"]) == 0
    check_cells(Sweep.open("s"), apart)


@pytest.mark.parametrize("where", ["in a training", "between the steps"])
def test_ctrl_c(sweep_arguments, tmp_path, monkeypatch, quiet_exit, capsys, ctrl_c, where):
    """The line of a sweep that was interrupted, no lock, no thread, and nothing half-written."""
    monkeypatch.chdir(tmp_path)
    place, name = (trainer, "predict") if where == "in a training" else (steps, "losses")
    original, calls = getattr(place, name), []

    def interrupted(*given, **named):
        calls.append(1)
        if len(calls) == 4:
            ctrl_c()
            while threading.current_thread() is not threading.main_thread():
                sum(range(100))
        return original(*given, **named)

    before = running_threads()
    monkeypatch.setattr(place, name, interrupted)
    assert command(sweep_arguments("s", "--together", 2)) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "skn: interrupted with 0 of 4 cells done; 'skn sweep --resume --out s' goes on"
    assert running_threads() == before
    left = [path.name for path in Path("s").rglob("*") if path.name.startswith(".")]
    assert left == [], left


@pytest.mark.parametrize("method", ["bitfit", "adapter"])
def test_only_prompts_stand_together(refused, sweep_arguments, method):
    refused(
        sweep_arguments("s", "--method", method, "--prompt-length", 1, "--together", 2),
        f"--together 2: cells of --method {method} cannot share a forward, only prompts can; leave it out",
    )
    refused(sweep_arguments("s", "--together", 0), "--together")
