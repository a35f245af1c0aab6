"""Train the cells of a sweep: refuse bad settings before the first cell, and begin or resume one cell, in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from skn import console, progress
from skn.data.spec import DataSpec
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.pretrained import quiet_transformers
from skn.runs import tune
from skn.runs.prepare import TrainRequest, prepare
from skn.runs.sweep import Cell, Sweep
from skn.store import folders

T = TypeVar("T")


def request_of(sweep: Sweep, cell: Cell) -> TrainRequest:
    """Return the request that ``skn train`` would get for a cell."""
    settings = {name: value for name, value in sweep.settings.items() if name != "threads"}
    words, names = settings.pop("verbalizer"), settings.pop("class_names", None)  # older sweeps store no class names
    data = DataSpec(task=cell.task, **settings.pop("data"))
    return TrainRequest(**settings, data=data, words=words, class_names=names, seed=cell.seed)


class CellTraining:
    """Trains a cell: begins or resumes its run, depending on what its folder holds. One backbone serves all cells."""

    def __init__(self, sweep: Sweep):
        self.sweep = sweep

    @cached_property
    def backbone(self) -> Backbone:
        settings = self.sweep.settings
        return Backbone.load(settings["backbone"], settings["device"], settings["dtype"])

    def __call__(self, cell: Cell) -> None:
        sweep, folder = self.sweep, self.sweep.folder(cell)
        if sweep.begun(cell) is not None:
            places = {"backbone": sweep.settings["backbone"], "data": sweep.settings["data"].get("data")}
            said = {name: place for name, place in places.items() if place is not None}
            tune.resume(folder, said, self.backbone)
        elif folders.is_vacant(folder):
            tune.start(request_of(sweep, cell), folder, backbone=self.backbone)
        else:
            raise InputError(f"{folder}: holds files but no run (no run.json in it); move them away")


def open_to_resume(path: Path) -> Sweep:
    """Open a sweep, and check that its settings are complete. Raises :class:`InputError`."""
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
    """Refuse settings that no cell can be trained with. Returns the notes on the first task that can be trained.

    If only some tasks are refused, each of them fails later in its own cells.
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
    """Empty the folder. ``sweep.json`` stays until the new one replaces it, so the folder remains a sweep."""
    folders.clear(sweep.path, "sweep", keep="sweep.json")
    sweep.save()


def silently(outcomes: Iterator[T]) -> Iterator[T]:
    """Yield the outcomes. While a run is made, its messages are silent, because a sweep prints one line for each run."""
    while True:
        with _silence():
            outcome = next(outcomes, None)
        if outcome is None:
            return
        yield outcome


@contextmanager
def _silence() -> Iterator[None]:
    logger, consoles = logging.getLogger("skn"), (console.console, console.notes, progress.console)
    level, quiet = logger.level, [c.quiet for c in consoles]
    logger.setLevel(logging.ERROR)
    for c in consoles:
        c.quiet = True
    try:
        with quiet_transformers():
            yield
    finally:
        logger.setLevel(level)
        for c, before in zip(consoles, quiet, strict=True):
            c.quiet = before
