"""``skn sweep``: one run for each task and seed; a cell that fails stops no other."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from skn import progress
from skn.console import console, notes, print_table, say, shown_width
from skn.data.label_words import split_words
from skn.data.spec import DataSpec
from skn.errors import InputError, SknError
from skn.model.backbone import Backbone
from skn.runs.grid import DONE, FAILED, Grid, grid_table
from skn.runs.sweep import Cell, Sweep
from skn.runs.workers import Placement, RunCells, cell_workers
from skn.seeds import MAX_SEED
from skn.stages.train import TrainRequest, absolute, prepare, refuse_differences, train
from skn.stages.train import resume as resume_run
from skn.store.output import is_vacant, refuse_occupied, remove_leftovers

log = logging.getLogger(__name__)


def sweep(asked: Sweep, placement: Placement, overwrite: bool = False) -> Sweep:
    """Train every cell. ``asked.path`` must not exist, or be a sweep that ``overwrite`` gives up.

    What every cell would refuse is refused before anything is written. Raises :class:`InputError`, and where cells
    failed or were interrupted :class:`SknError`.
    """
    refuse_occupied(asked.path, "sweep.json", "sweep", overwrite, resume_option=True)
    settings, data = asked.settings, asked.settings["data"]
    settings = {**settings, "backbone": absolute(settings["backbone"])}
    settings["data"] = {**data, "data": None if data["data"] is None else absolute(data["data"])}
    made = replace(asked, settings=settings)
    placement = placement.filled(settings["device"])
    notes = _refuse_alike(made, made.cells)
    with cell_workers(placement, settings["threads"]) as run:
        _begin(made)
        for line in notes:
            log.info(*line)
        _train_cells(made, made.cells, placement, run)
    return _finish(made)


def resume(path: Path, said: Mapping[str, Any], placement: Placement) -> Sweep:
    """Train the cells that are not done: broken ones go on from their checkpoints, failed ones are tried again.

    ``said`` holds what the user says beside that, by the names of the options; raises :class:`InputError` where the sweep
    was begun with something else.
    """
    found = _open(path)
    stored = {**found.settings, **found.settings["data"], "tasks": found.tasks, "seeds": found.seeds}
    words = found.settings["verbalizer"]
    refuse_differences(path, stored | {"verbalizer": words and split_words(words)}, said, "begin a new sweep with it")
    remove_leftovers(path)
    done = Grid(found).cells(DONE)
    todo = [cell for cell in found.cells if cell not in done]
    if todo:
        placement = placement.filled(found.settings["device"])
        _refuse_alike(found, [*todo, *done])
        with cell_workers(placement, found.settings["threads"]) as run:
            _train_cells(found, todo, placement, run)
    return _finish(found)


def request_of(sweep: Sweep, cell: Cell) -> TrainRequest:
    """What ``skn train`` is asked for in a cell."""
    settings = {name: value for name, value in sweep.settings.items() if name != "threads"}
    data = DataSpec(task=cell.task, **settings.pop("data"))
    return TrainRequest(**settings, data=data, seed=cell.seed)


def train_cell(sweep: Sweep, cell: Cell) -> None:
    """Begin the run of a cell or go on with it, whatever its folder holds; says nothing."""
    folder = sweep.folder(cell)
    with _silence():
        if (folder / "run.json").is_file():
            resume_run(folder)
        elif is_vacant(folder):
            train(request_of(sweep, cell), folder)
        else:
            raise InputError(f"{folder}: holds files but no run (no run.json in it); move them away")


def parse_seeds(text: str) -> list[int]:
    """ "1,3,5" → [1, 3, 5]. Raises :class:`InputError`."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds {text}: expected numbers and commas, such as 1,3,5") from None
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise InputError(f"--seeds {text}: {seed} is outside 0 to {MAX_SEED}")
        if seeds.count(seed) > 1:
            raise InputError(f"--seeds {text}: {seed} stands there twice; give each seed once")
    return seeds


# ---- before the first cell -------------------------------------------------------------------------------------


def _open(path: Path) -> Sweep:
    found = Sweep.open(path)
    try:
        request_of(found, found.cells[0])
        found.settings["threads"]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path / 'sweep.json'}: damaged or of another version of skn ({error}); 'skn sweep --overwrite' makes it again"
        ) from error
    return found


def _refuse_alike(sweep: Sweep, cells: Sequence[Cell]) -> list[tuple]:
    """Refuse what no cell could be trained with; returns the notes on the first task that can.

    A task that is refused where another is not fails in its own cells.
    """
    first = {cell.task: cell for cell in reversed(cells)}
    settings = sweep.settings
    backbone = Backbone.load(settings["backbone"], settings["device"], settings["dtype"])
    refusals = []
    for task in dict.fromkeys(cell.task for cell in cells):
        try:
            return prepare(request_of(sweep, first[task]), backbone).notes
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def _begin(sweep: Sweep) -> None:
    """Empty the folder; ``sweep.json`` stays until the new one replaces it, so it remains a sweep."""
    for entry in sweep.path.iterdir() if sweep.path.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "sweep.json":
            entry.unlink()
    sweep.save()


# ---- the cells -------------------------------------------------------------------------------------------------


def _train_cells(sweep: Sweep, cells: Sequence[Cell], placement: Placement, run: RunCells) -> None:
    _say_how_wide(sweep, len(cells), placement)
    grid, total = Grid(sweep), len(sweep.cells)
    skipped, start = total - len(cells), time.perf_counter()
    try:
        with closing(run(partial(train_cell, sweep), cells)) as outcomes:
            for count, outcome in enumerate(outcomes, start=1):
                found = grid.note(outcome.cell, outcome.error)
                how = f"failed: {outcome.error}" if outcome.error else f"{found.accuracy:.4f} in {found.seconds:.0f} s"
                left = (time.perf_counter() - start) / count * (len(cells) - count)
                about = f", about {progress.duration(left)} left" if count < len(cells) else ""
                say(f"{skipped + count}/{total} {outcome.cell}: {how}{about}")
    except KeyboardInterrupt:
        grid.save()
        raise SknError(
            f"interrupted with {len(Grid(sweep).cells(DONE))} of {total} cells done; "
            f"'skn sweep --resume --out {sweep.path}' goes on"
        ) from None


def _say_how_wide(sweep: Sweep, cells: int, placement: Placement) -> None:
    threads, workers = sweep.settings["threads"], placement.workers or 1
    where = f"on the cluster at {placement.address}" if placement.address else f"{workers} at a time"
    say(f"{cells} cells to train, {where}, torch threads of each: {threads}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    idle = cores - threads * workers
    if idle >= threads and placement.address is None and sweep.settings["device"] == "cpu" and cells > workers:
        say(f"{idle} of {cores} cores stay idle; --workers {cores // threads} uses more (on Ray, extra 'sweep')")


def _finish(sweep: Sweep) -> Sweep:
    """The table of the grid; raises :class:`SknError` where cells failed."""
    grid = Grid(sweep)
    grid.save()
    print_table(f"Validation accuracy ({sweep.path})", *grid_table(grid, shown_width()))
    failed = grid.cells(FAILED)
    for cell in failed:
        say(f"failed: {cell}: {grid.failures[str(cell)]}")
    if failed:
        named = ", ".join(map(str, failed[:3])) + (", …" if len(failed) > 3 else "")
        raise SknError(
            f"{len(failed)} of {len(sweep.cells)} cells failed ({named}); "
            f"'skn sweep --resume --out {sweep.path}' tries them again"
        )
    return sweep


@contextmanager
def _silence() -> Iterator[None]:
    """What a run says goes unsaid: a sweep has one line for each."""
    logger, consoles = logging.getLogger("skn"), (console, notes, progress.console)
    level, quiet = logger.level, [c.quiet for c in consoles]
    logger.setLevel(logging.ERROR)
    for c in consoles:
        c.quiet = True
    try:
        yield
    finally:
        logger.setLevel(level)
        for c, before in zip(consoles, quiet, strict=True):
            c.quiet = before
