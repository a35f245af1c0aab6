"""Cells in a plain loop and on Ray: outcomes, errors, threads, what is refused. One session of Ray serves several tests."""

from __future__ import annotations

import importlib.util
import os
from functools import partial

import pytest
import torch

from skn.errors import InputError
from skn.runs import workers
from skn.runs.sweep import Cell
from skn.runs.workers import Placement, cell_workers, one_line, refuse_too_little
from skn.store import atomic
from skn.store.atomic import cannot_be_written
from skn.store.changes import remembered, what_stands

CELLS = [Cell("a", 1), Cell("a", 2), Cell("b", 1), Cell("b", 2)]
kept: dict[str, int] = {}


def described(folder, cell):
    """What a test wants to know about the process; a cell of b and seed 2 fails."""
    if cell == Cell("b", 2):
        raise ValueError("no such\nluck")
    kept["cells"] = kept.get("cells", 0) + 1
    (folder / str(cell).replace("/", "-")).write_text("")
    return {"pid": os.getpid(), "threads": torch.get_num_threads(), "served": kept["cells"]}


def dies_once(folder, cell):
    """The first worker that gets a cell dies; the second finds its mark."""
    mark = folder / str(cell).replace("/", "-")
    if not mark.exists():
        mark.write_text("")
        os._exit(1)
    return "alive"


def check(outcomes):
    found = {o.cell: o for o in outcomes}
    assert sorted(found) == CELLS
    failed = found.pop(Cell("b", 2))
    assert failed.result is None and failed.error.startswith("ValueError: no such (test_workers.py:")
    assert all(o.error is None for o in found.values())
    return [o.result for o in found.values()]


def test_a_plain_loop(tmp_path):
    kept.clear()
    before = torch.get_num_threads()
    with cell_workers(Placement(), threads=before + 1) as run:
        outcomes = list(run(partial(described, tmp_path), CELLS))
    assert [o.cell for o in outcomes] == CELLS
    results = check(outcomes)
    assert [r["served"] for r in results] == [1, 2, 3]
    assert {(r["pid"], r["threads"]) for r in results} == {(os.getpid(), before + 1)}
    assert torch.get_num_threads() == before


def no_room(folder, cell):
    """The second cell finds no room for its file."""
    if cell == CELLS[1]:
        raise cannot_be_written(folder / "more", OSError("full"))
    atomic.write_json(folder / f"{cell.task}-{cell.seed}.json", {})


@pytest.mark.parametrize("together", [1, 2])
def test_an_error_names_the_files_of_its_own_cell(tmp_path, together):
    with remembered(), cell_workers(Placement(together=together)) as run:
        outcomes = {o.cell: o.error for o in run(partial(no_room, tmp_path), CELLS[:2])}
        assert outcomes[CELLS[0]] is None and outcomes[CELLS[1]].endswith("; nothing was changed")
        assert what_stands() == f"; written before that: {tmp_path / 'a-1.json'}"


def test_several_at_once_in_a_loop(tmp_path):
    """Cells that hand over no batch end one after another, each with its own outcome."""
    kept.clear()
    before = torch.get_num_threads()
    with cell_workers(Placement(together=3), threads=before + 1) as run:
        outcomes = list(run(partial(described, tmp_path), CELLS))
    assert [o.cell for o in outcomes] == CELLS
    assert {(r["pid"], r["threads"]) for r in check(outcomes)} == {(os.getpid(), before + 1)}


def test_an_interruption_is_no_outcome():
    def interrupted(cell):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt), cell_workers(Placement(), threads=before + 1) as run:
        list(run(interrupted, CELLS))
    assert torch.get_num_threads() == before


def test_errors_in_one_line():
    assert one_line(InputError("a:\n b")) == "a: b"
    assert one_line(RuntimeError()) == "RuntimeError: "


@pytest.mark.slow
def test_on_ray(tmp_path):
    """Two workers that keep what a module holds; a worker that dies; a session that ends with its block."""
    if importlib.util.find_spec("ray") is None:  # imported by the session, which sets the environment before
        pytest.skip("the extra 'sweep' is not installed")
    with cell_workers(Placement(workers=2), threads=3) as run:
        import ray

        results = check(run(partial(described, tmp_path), CELLS))
        assert {r["threads"] for r in results} == {3}
        processes = {r["pid"] for r in results}
        assert os.getpid() not in processes and len(processes) <= 2
        assert max(r["served"] for r in results) > 1  # a process is used again
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
        assert [o.result for o in run(partial(dies_once, tmp_path), [Cell("dies", 1)])] == ["alive"]
        in_pairs = partial(workers._on_ray, Placement(workers=2, together=2), 3)
        results = check(in_pairs(partial(described, tmp_path), CELLS))
        assert results[0]["pid"] == results[1]["pid"] and {r["threads"] for r in results} == {3}
    assert not ray.is_initialized()


def test_more_than_ray_has():
    here, there = Placement(workers=2, gpus=1.0), Placement(address="auto", gpus=0.5)
    refuse_too_little({"CPU": 2, "GPU": 1}, here, threads=8)
    refuse_too_little({"CPU": 8, "GPU": 1}, there, threads=8)
    with pytest.raises(InputError, match="--gpus-per-cell 1: Ray has 0 GPU in all; lower it"):
        refuse_too_little({"CPU": 2}, here, threads=1)
    with pytest.raises(InputError, match="--threads 8: Ray has 4 CPU in all; lower it"):
        refuse_too_little({"CPU": 4, "GPU": 1}, there, threads=8)


def test_what_cannot_work(monkeypatch):
    with pytest.raises(InputError, match="--gpus-per-cell 1.5: a share below 1, or a whole number"):
        Placement(gpus=1.5).check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Placement(workers=1).check()
    for placement, said in ((Placement(workers=2), "--workers 2"), (Placement(address="auto"), "--address auto")):
        with pytest.raises(InputError, match=rf"{said}: needs Ray, .*pip install 'skn\[sweep\]'"):
            placement.check()
