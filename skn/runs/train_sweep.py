"""Train all cells of a sweep, or the cells that are not done. A cell that fails does not stop the others."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from skn import progress
from skn.console import say
from skn.errors import InputError, Interrupted
from skn.runs.grid import DONE, Grid
from skn.runs.moved import moved_sweep
from skn.runs.origin import absolute
from skn.runs.sweep import Cell, Sweep
from skn.runs.train_cells import CellTraining, begin, open_to_resume, refuse_alike, silently
from skn.runs.tune import refuse_other_options
from skn.runs.workers import Placement, RunCells, cell_workers
from skn.store.atomic import remove_leftovers
from skn.store.folders import refuse_occupied
from skn.store.locks import held
from skn.tables import span
from skn.training import checkpoints

log = logging.getLogger(__name__)


def train_sweep(asked: Sweep, placement: Placement, overwrite: bool = False) -> Grid:
    """Train every cell. ``asked.path`` must not exist, or must be a sweep that ``overwrite`` replaces.

    Settings that every cell would refuse are refused before anything is written. Raises :class:`InputError`, and after
    Ctrl-C :class:`Interrupted`. The grid says which cells failed.
    """
    refuse_occupied(asked.path, "sweep", overwrite, resume_option=True)
    settings, data = asked.settings, asked.settings["data"]
    settings = {**settings, "backbone": absolute(settings["backbone"])}
    settings["data"] = {**data, "data": None if data["data"] is None else absolute(data["data"])}
    made = replace(asked, settings=settings)
    placement = _fitting(made, placement)
    notes = refuse_alike(made, made.cells)
    with held(made.path), _clean_end(made), cell_workers(placement, settings["threads"]) as run:
        # another process may have written a sweep there in the meantime
        refuse_occupied(made.path, "sweep", overwrite, resume_option=True)
        begin(made)
        for line in notes:
            log.info(*line)
        _train_cells(made, made.cells, placement, run)
        return _kept(made)


def resume_sweep(path: Path, said: Mapping[str, Any], placement: Placement) -> Grid:
    """Train the cells that are not done. Interrupted cells go on from their checkpoints, failed cells are tried again.

    ``said`` holds the options that the user gives beside ``--resume``, by name. Raises :class:`InputError` if the sweep
    was begun with other options.
    """
    open_to_resume(path)  # refuses a folder that is no sweep, before anything is written
    with held(path):
        return _resume(open_to_resume(path), said, placement)


def _resume(sweep: Sweep, said: Mapping[str, Any], placement: Placement) -> Grid:
    path = sweep.path
    sweep, said = moved_sweep(sweep, said)
    stored = {**sweep.settings, **sweep.settings["data"], "tasks": sweep.tasks, "seeds": sweep.seeds}
    refuse_other_options(path, stored, said, "begin a new sweep with it")
    remove_leftovers(path)
    done = Grid(sweep).cells(DONE)
    for cell in done:  # a process may have been killed while it removed the checkpoints
        shutil.rmtree(sweep.folder(cell) / "checkpoints", ignore_errors=True)
    todo = [cell for cell in sweep.cells if cell not in done]
    if todo:
        placement = _fitting(sweep, placement)
        refuse_alike(sweep, [*todo, *done])
        sweep.save()
        with _clean_end(sweep), cell_workers(placement, sweep.settings["threads"]) as run:
            _train_cells(sweep, todo, placement, run)
    grid = _kept(sweep)
    for cell in done:  # at the end, because a damaged cell must not stop the others
        sweep.run(cell).check()
    return grid


def _fitting(sweep: Sweep, placement: Placement) -> Placement:
    """Return the placement with the GPUs of a cell. Raises :class:`InputError` for one that these cells cannot have."""
    method, together = sweep.settings["method"], placement.together
    if together > 1 and method != "prompt":
        raise InputError(
            f"--together {together}: cells of --method {method} cannot share a forward, only prompts can; leave it out"
        )
    return placement.filled(sweep.settings["device"])


@contextmanager
def _clean_end(sweep: Sweep) -> Iterator[None]:
    """Remove what worker processes leave when an interrupt ends them while they write."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        remove_leftovers(sweep.path, below=True)
        for cell in sweep.cells:
            checkpoints.remove_partial(sweep.folder(cell) / "checkpoints")
        raise


# ---- the cells -------------------------------------------------------------------------------------------------


def _train_cells(sweep: Sweep, cells: Sequence[Cell], placement: Placement, run: RunCells) -> None:
    _say_how_wide(sweep, len(cells), placement)
    grid, total, at_once = Grid(sweep), len(sweep.cells), (placement.workers or 1) * placement.together
    skipped, start = total - len(cells), time.perf_counter()
    try:
        with closing(run(CellTraining(sweep), cells)) as outcomes:
            for count, outcome in enumerate(silently(outcomes), start=1):
                cell_state = grid.note(outcome.cell, outcome.error)
                how = (
                    f"failed: {outcome.error}"
                    if outcome.error
                    else f"validation accuracy {cell_state.accuracy:.4f} (95%: {span(cell_state.outcome.interval)}) in {cell_state.seconds:.0f} s"
                )
                left = _seconds_left(time.perf_counter() - start, count, len(cells), at_once)
                about = f" (about {progress.duration(left)} left)" if left else ""
                say(f"{skipped + count}/{total} {outcome.cell}: {how}{about}")
    except KeyboardInterrupt:
        grid.save()
        raise Interrupted(
            f"interrupted with {len(Grid(sweep).cells(DONE))} of {total} cells done; "
            f"'skn sweep --resume --out {sweep.path}' goes on"
        ) from None


def _seconds_left(passed: float, ended: int, cells: int, at_once: int) -> float:
    """Estimate from the cells that have ended how many seconds the others take. Cells that are trained at once end at
    about the same time, so they count together.
    """
    rounds = -(-ended // at_once)
    return passed / rounds * (-(-cells // at_once) - rounds)


def _say_how_wide(sweep: Sweep, cells: int, placement: Placement) -> None:
    threads, workers = sweep.settings["threads"], placement.workers or 1
    together = min(placement.together, cells)
    where = f"on the cluster at {placement.address}" if placement.address else f"{workers} at a time"
    if together > 1:
        alone = workers == 1 and not placement.address
        where = f"{together} in one forward" if alone else f"{together} in one forward, such forwards {where}"
    say(f"{cells} cells to train, {where}, torch threads of each: {threads}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    idle = cores - threads * workers
    here = placement.address is None and sweep.settings["device"] == "cpu"
    if here and idle >= threads and cells > workers * together:
        say(f"{idle} of {cores} cores stay idle; --workers {cores // threads} uses more (on Ray, extra 'sweep')")


def _kept(sweep: Sweep) -> Grid:
    """Return the current states, and write them to the sweep's files."""
    grid = Grid(sweep)
    grid.save()
    return grid
