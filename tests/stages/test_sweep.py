"""Sweeps: the grid, cells that fail, kills, Ray, and what is begun anew."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from children import exit_code, start
from emotions_data import write_tsv
from patience import HUNG
from refusals import command, tree
from swept import CELLS

from skn.errors import InputError
from skn.intervals import share_interval
from skn.model.backbone import Backbone
from skn.runs import tune
from skn.runs.grid import MARGIN, Grid, grid_table
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.runs.train_cells import request_of
from skn.store import documents
from skn.training import checkpoints

TIMES = ("timings.json", "grid.csv")


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and folder but those with times in them."""
    return {name: digest for name, digest in tree(folder).items() if Path(name).name not in TIMES}


@pytest.fixture
def reference(plain, tmp_path, monkeypatch):
    """A copy of the plain loop's sweep, which a test may spoil; the working folder is the test's."""
    monkeypatch.chdir(tmp_path)
    return Sweep.open(shutil.copytree(plain, tmp_path / "s"))


@pytest.fixture(scope="module")
def plain(sweep_arguments, tmp_path_factory) -> Path:
    """The sweep in a plain loop; the operations on its files are listed in trace.txt beside it."""
    base = tmp_path_factory.mktemp("plain")
    assert exit_code(sweep_arguments(base / "s"), base / "log.txt", trace=base / "trace.txt") == 0
    return base / "s"


def states(sweep) -> dict[str, str]:
    with open(sweep / "grid.csv", newline="") as file:
        return {f"{row['task']}/seed-{row['seed']}": row["state"] for row in csv.DictReader(file)}


# ---- what a sweep is -------------------------------------------------------------------------------------------


def test_one_run_for_each_cell_and_a_grid(plain):
    sweep = Sweep.open(plain)
    assert sweep.cells == CELLS and sweep.settings["threads"] == 1 and not (plain / "failed.json").exists()
    with open(plain / "grid.csv", newline="") as file:
        header, *rows = csv.reader(file)
    ends = ["validation_low", "validation_high"]
    assert header == ["task", "seed", "state", "validation_accuracy", *ends, "seconds"]
    for cell, (task, seed, state, accuracy, low, high, seconds) in zip(CELLS, rows, strict=True):
        run = sweep.run(cell)
        assert (task, int(seed), state) == (cell.task, cell.seed, "done") and float(seconds) > 0
        assert float(accuracy) == run.training["best_accuracy"]
        assert (float(low), float(high)) == share_interval(float(accuracy), len(run.load().encoded("validation")))
        assert run.config.seed == run.config.data.draw_seed == cell.seed and run.config.data.task == cell.task
        assert run.load().encoded("test").label.tolist().count(1) * 2 == len(run.load().encoded("test"))


def test_one_line_for_each_cell(plain):
    lines = (plain.parent / "log.txt").read_text().splitlines()
    assert re.fullmatch(r"4 cells to train, 1 at a time, torch threads of each: 1", lines[0])
    told = [line for line in lines if re.match(r"\d/4 ", line)]
    for number, (cell, line) in enumerate(zip(CELLS, told, strict=True), start=1):
        assert re.fullmatch(
            rf"{number}/4 {cell}: validation accuracy \d\.\d{{4}} \(95%: \d\.\d{{4}} – \d\.\d{{4}}\) in \d+ s( \(about \d+ s left\))?",
            line,
        ), line
    assert not any("loss" in line or "evaluate" in line for line in lines)
    table = "\n".join(lines[lines.index(told[-1]) :])
    assert "Validation accuracy" in table and "goemotions/love" in table


def test_a_cell_is_what_train_makes(plain, sweep_arguments, tmp_path, one_thread, quiet_exit):
    cell, out = CELLS[3], tmp_path / "run"
    options = sweep_arguments(out, "--task", cell.task, "--seed", cell.seed)
    options = ["train", *options[options.index("--backbone") :]]
    assert command(options) == 0
    assert snapshot(out) == snapshot(Sweep.open(plain).folder(cell))


def test_finished_cells_are_left_alone(reference, monkeypatch, quiet_exit, capsys):
    before = tree(reference.path)
    monkeypatch.setattr(Backbone, "load", lambda *_: pytest.fail("nothing is left to train"))
    assert command(["sweep", "--resume", "--out", "s"]) == 0
    assert tree(reference.path) == before and "seed 2" in capsys.readouterr().out


def test_the_table_fits(reference):
    (reference.folder(CELLS[1]) / "tuned.safetensors").unlink()
    shutil.rmtree(reference.folder(CELLS[2]))
    grid = Grid(reference)
    full = grid_table(grid, 80)
    rows = full.rows
    assert full.columns == ["task", "seed 1", "seed 2", "mean", MARGIN, "minutes"]
    assert rows[0][1] == rows[0][3] == grid.states[CELLS[0]].accuracy and rows[0][2] == "unfinished"
    # ±: the farther end of the one cell that is done.
    outcome = grid.states[CELLS[0]].outcome
    assert rows[0][4] == max(abs(end - outcome.best_accuracy) for end in outcome.interval)
    assert grid_table(grid, None) == full
    summary = grid_table(grid, 50)
    rows = summary.rows
    assert summary.columns == ["task", "cells", "accuracy", "mean", MARGIN, "minutes"]
    assert rows[0][1] == "1 done, 1 unfinished" and rows[1][1] == "1 done, 1 missing"


# ---- cells that fail -------------------------------------------------------------------------------------------


def test_a_cell_that_fails_stops_no_other(sweep_arguments, tiny, tmp_path, monkeypatch, quiet_exit, capsys):
    """No row has grief: both of its cells fail, the others are trained; with such rows a resume trains them too."""
    monkeypatch.chdir(tmp_path)
    write_tsv(Path("d"))
    assert command(sweep_arguments("s", "--tasks", "goemotions/grief,goemotions/joy", "--data", "d")) == 1
    shown = capsys.readouterr()
    line = shown.err.splitlines()[-1]
    assert line.startswith(
        "skn: 2 of 4 cells failed (goemotions/grief/seed-1, goemotions/grief/seed-2); 'skn sweep --res"
    )
    why = "--task goemotions/grief: of 240 rows of the train split 0 have 'grief'"
    assert (
        f"1/4 goemotions/grief/seed-1: failed: {why}" in shown.out
        and "3/4 goemotions/joy/seed-1: validation accuracy 0." in shown.out
    )
    stored = documents.read(Path("s/failed.json"), "failed", dict[str, str], "")
    assert list(stored) == ["goemotions/grief/seed-1", "goemotions/grief/seed-2"]
    assert all(error.startswith(why) for error in stored.values())
    assert states(Path("s")) == {
        f"goemotions/{name}/seed-{seed}": state
        for name, state in (("grief", "failed"), ("joy", "done"))
        for seed in (1, 2)
    }
    before = snapshot(Path("s"))
    assert command(["sweep", "--resume", "--out", "s"]) == 1 and snapshot(Path("s")) == before
    for split in ("train", "validation", "test"):
        with open(f"d/{split}.tsv", "a") as file:
            file.writelines(f"{split} sorrow {i}\t16\n" for i in range(24))
    joy = snapshot(Path("s/goemotions/joy"))
    assert command(["sweep", "--resume", "--out", "s"]) == 0
    assert set(states(Path("s")).values()) == {"done"} and not Path("s/failed.json").exists()
    assert snapshot(Path("s/goemotions/joy")) == joy


def test_folders_that_cannot_be_gone_on_with(reference, quiet_exit):
    (reference.folder(CELLS[0]) / "run.json").write_text("{")
    shutil.rmtree(reference.folder(CELLS[1]))
    reference.folder(CELLS[1]).mkdir()
    (reference.folder(CELLS[1]) / "thesis.txt").write_text("years of work")
    assert command(["sweep", "--resume", "--out", "s"]) == 1
    errors = json.loads(Path("s/failed.json").read_text())
    assert "run.json: damaged" in errors[str(CELLS[0])] and "holds files but no run" in errors[str(CELLS[1])]
    assert list(states(reference.path).values()) == ["failed", "failed", "done", "done"]
    with pytest.raises(InputError, match="cell goemotions/joy/seed-2 is missing"):
        reference.run(CELLS[1])


def test_a_bug_is_named_with_its_place(reference, monkeypatch, quiet_exit):
    shutil.rmtree(reference.folder(CELLS[2]))
    monkeypatch.setattr(tune, "start", lambda *_, **__: {}["nothing"])
    assert command(["sweep", "--resume", "--out", "s"]) == 1
    assert re.match(
        r"KeyError: 'nothing' \(test_sweep.py:\d+\)",
        json.loads(Path("s/failed.json").read_text())[str(CELLS[2])],
    )


# ---- kills -----------------------------------------------------------------------------------------------------


def kill_points(trace: list[str]) -> dict[str, int]:
    """Before the second cell's first file, its run.json, a late checkpoint, the grid, its result; and soon after."""
    second = next(i for i, line in enumerate(trace, 1) if "joy/seed-2" in line)
    run = next(i for i, line in enumerate(trace, 1) if i > second and line.startswith("replace") and "run.json" in line)
    saves = [i for i, line in enumerate(trace, 1) if line.startswith("rename") and "joy/seed-2" in line]
    tuned = next(i for i, line in enumerate(trace, 1) if "joy/seed-2/.tuned" in line)
    grid = next(i for i, line in enumerate(trace, 1) if i > tuned and "grid.csv" in line)
    return {"begun": second + 1, "run.json": run, "after": run + 1, "save": saves[-1], "tuned": tuned, "grid": grid}


@pytest.mark.parametrize("point", ["begun", "run.json", "after", "save", "tuned", "grid"])
def test_a_killed_loop_goes_on_to_the_same_bytes(plain, sweep_arguments, tmp_path, monkeypatch, quiet_exit, point):
    """A cell that was in training is gone on with, one that is done is left alone, one without run.json begun anew."""
    number = kill_points((plain.parent / "trace.txt").read_text().splitlines())[point]
    out, log = tmp_path / "s", tmp_path / "log.txt"
    assert exit_code(sweep_arguments(out), log, kill_before=number) == -signal.SIGKILL
    assert not (out / "goemotions" / "love").exists()
    resumed, original = [], tune.resume
    monkeypatch.setattr(tune, "resume", lambda folder, *given: resumed.append(folder) or original(folder, *given))
    assert command(["sweep", "--resume", "--out", out]) == 0
    assert resumed == [Sweep(out, [], [], {}).folder(CELLS[1])] * (point in ("after", "save", "tuned"))
    assert snapshot(out) == snapshot(plain)


def test_ctrl_c(sweep_arguments, tmp_path, monkeypatch, quiet_exit, capsys):
    monkeypatch.chdir(tmp_path)
    original, calls = tune.start, []

    def interrupted(request, folder, **given):
        calls.append(folder)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(request, folder, **given)

    monkeypatch.setattr(tune, "start", interrupted)
    assert command(sweep_arguments("s")) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "skn: interrupted with 1 of 4 cells done; 'skn sweep --resume --out s' goes on"
    assert list(states(Path("s")).values()) == ["done", "missing", "missing", "missing"] and len(calls) == 2


# ---- Ray -------------------------------------------------------------------------------------------------------


def worker_of(cell: Cell, ancestor: int) -> int | None:
    """The process, below ``ancestor``, that calls itself what Ray calls it while it works on the cell."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"ray::{cell}".encode() in (entry / "cmdline").read_bytes() and ancestor in ancestors(int(entry.name)):
                return int(entry.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


def ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'sweep' is not installed")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_two_workers_one_killed_in_mid_run(sweep_arguments, tmp_path):
    """All cells are done, with the bytes of the plain loop; the killed cell went on from its checkpoint."""
    long = ("--epochs", 8, "--patience", 99, "--tasks", "goemotions/joy")
    assert exit_code(sweep_arguments(tmp_path / "plain", *long), tmp_path / "plain.txt") == 0
    out, cell, log = tmp_path / "ray", CELLS[1], tmp_path / "ray.txt"
    process = start(sweep_arguments(out, *long, "--workers", 2), log)
    folder = Sweep(out, [], [], {}).folder(cell)
    worker, deadline = None, time.monotonic() + HUNG
    while worker is None and time.monotonic() < deadline:
        if checkpoints.newest(folder / "checkpoints"):
            worker = worker_of(cell, process.pid)
        time.sleep(0.005)
    assert worker, log.read_text()
    os.kill(worker, signal.SIGKILL)
    assert checkpoints.newest(folder / "checkpoints") and Run.open_unfinished(folder).training is None
    process.join(HUNG)
    assert process.exitcode == 0, log.read_text()
    assert set(states(out).values()) == {"done"}
    assert snapshot(out) == snapshot(tmp_path / "plain")


# ---- begun anew ------------------------------------------------------------------------------------------------


def test_resume_with_the_whole_command(reference, sweep_arguments, quiet_exit):
    assert command([*sweep_arguments("s"), "--resume", "--workers", 1]) == 0


def test_overwrite_begins_anew(reference, sweep_arguments, quiet_exit):
    (reference.path / "rsa").mkdir()
    assert command(sweep_arguments("s", "--seeds", 1, "--tasks", "goemotions/joy", "--epochs", 0, "--overwrite")) == 0
    assert sorted(p.name for p in reference.path.iterdir()) == ["goemotions", "grid.csv", "skn.json", "sweep.json"]
    made = Sweep.open("s")
    assert made.cells == CELLS[:1] and request_of(made, CELLS[0]).epochs == 0
