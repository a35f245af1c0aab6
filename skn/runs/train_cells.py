"""The cells of a sweep as trainings: what is refused before the first, and one cell begun or gone on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skn import console, progress
from skn.data.spec import DataSpec
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.runs import tune
from skn.runs.prepare import TrainRequest, prepare
from skn.runs.sweep import Cell, Sweep
from skn.store import folders


def request_of(sweep: Sweep, cell: Cell) -> TrainRequest:
    """What ``skn train`` is asked for in a cell."""
    settings = {name: value for name, value in sweep.settings.items() if name != "threads"}
    words, names = settings.pop("verbalizer"), settings.pop("class_names", None)  # older sweeps have no names
    data = DataSpec(task=cell.task, **settings.pop("data"))
    return TrainRequest(**settings, data=data, words=words, class_names=names, seed=cell.seed)


def train_cell(sweep: Sweep, cell: Cell) -> None:
    """Begin the run of a cell or go on with it, whatever its folder holds; says nothing."""
    folder = sweep.folder(cell)
    with _silence():
        if sweep.begun(cell) is not None:
            places = {"backbone": sweep.settings["backbone"], "data": sweep.settings["data"].get("data")}
            tune.resume(folder, {name: place for name, place in places.items() if place is not None})
        elif folders.is_vacant(folder):
            tune.start(request_of(sweep, cell), folder)
        else:
            raise InputError(f"{folder}: holds files but no run (no run.json in it); move them away")


def open_to_resume(path: Path) -> Sweep:
    """A sweep whose settings are complete; raises :class:`InputError`."""
    sweep = Sweep.open(path)
    try:
        request_of(sweep, sweep.cells[0])
        sweep.settings["threads"]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path / 'sweep.json'}: damaged or of another version of skn ({error}); 'skn sweep --overwrite' makes it again"
        ) from error
    return sweep


def refuse_alike(sweep: Sweep, cells: Sequence[Cell]) -> list[tuple]:
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


def begin(sweep: Sweep) -> None:
    """Empty the folder; ``sweep.json`` stays until the new one replaces it, so it remains a sweep."""
    folders.clear(sweep.path, "sweep", keep="sweep.json")
    sweep.save()


@contextmanager
def _silence() -> Iterator[None]:
    """What a run says goes unsaid: a sweep has one line for each."""
    logger, consoles = logging.getLogger("skn"), (console.console, console.notes, progress.console)
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
