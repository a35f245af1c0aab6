"""The progress of a sweep: the state of every cell, read from the cell's folder, as ``grid.csv`` and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skn.errors import InputError
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.store import atomic, documents
from skn.store.csv_tables import csv_text
from skn.store.foreign_files import stands
from skn.tables import Format, Table, span
from skn.training.outcome import TrainResult

DONE, FAILED, UNFINISHED, MISSING = "done", "failed", "unfinished", "missing"
COLUMNS = ("task", "seed", "state", "validation_accuracy", "validation_low", "validation_high", "seconds")
MARGIN = "95%: ±"


@dataclass(frozen=True)
class CellState:
    """One row of the grid.

    A cell that is done has its training result and its seconds since the training last began.
    """

    cell: Cell
    state: str
    outcome: TrainResult | None = None
    seconds: float | None = None

    @property
    def accuracy(self) -> float | None:
        return None if self.outcome is None else self.outcome.best_accuracy

    @property
    def row(self) -> list[object]:
        """The row of ``grid.csv``."""
        low, high = (None, None) if self.outcome is None else self.outcome.interval
        return [self.cell.task, self.cell.seed, self.state, self.accuracy, low, high, self.seconds]


def state_of(run: Run | None, failed: bool) -> str:
    """Return the state of a cell. A finished cell is done, even if it failed before."""
    if run is not None and run.is_done:
        return DONE
    if failed:
        return FAILED
    return MISSING if run is None else UNFINISHED


class Grid:
    """The states of all cells, and the errors of the cells that failed.

    :meth:`note` stores both whenever a cell ends.
    """

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self.failures = _known_failures(sweep)
        self.states = {cell: self._read(cell) for cell in sweep.cells}

    def note(self, cell: Cell, error: str | None) -> CellState:
        """Note that a cell has ended, with an ``error`` or without one."""
        if error is None:
            self.failures.pop(str(cell), None)
        else:
            self.failures[str(cell)] = error
        self.states[cell] = self._read(cell)
        self.save()
        return self.states[cell]

    def save(self) -> None:
        """Write ``grid.csv`` and, if a cell failed, ``failed.json``."""
        if self.failures:
            documents.write(_failures_file(self.sweep), "failed", self.failures)
        else:
            atomic.remove(_failures_file(self.sweep))
        rows = (found.row for found in self.states.values())
        atomic.write_text(self.sweep.path / "grid.csv", csv_text(COLUMNS, rows))

    def cells(self, *states: str) -> list[Cell]:
        return [cell for cell, cell_state in self.states.items() if cell_state.state in states]

    def _read(self, cell: Cell) -> CellState:
        try:
            run = self.sweep.begun(cell)
        except InputError:
            run = None
        state = state_of(run, str(cell) in self.failures)
        if state != DONE:
            return CellState(cell, state)
        return CellState(cell, state, run.outcome(), run.times.get("train"))


def grid_table(grid: Grid, width: int | None) -> Table:
    """A table of tasks by seeds with the mean; if this table is wider than ``width`` characters, a summary by task.

    The column ± gives, for the cells of a task, the greatest distance from an accuracy to the farther end of its 95%
    interval.
    """
    sweep = grid.sweep
    title = f"Validation accuracy ({sweep.path})"
    tasks = {task: [grid.states[Cell(task, seed)] for seed in sweep.seeds] for task in sweep.tasks}
    ends: dict[str, Format] = {"mean": ".4f", MARGIN: ".4f", "minutes": ".1f"}
    formats = {f"seed {seed}": ".4f" for seed in sweep.seeds} | ends
    rows = [
        [task, *map(_value, states), _mean(states), _margin(states), _minutes(states)] for task, states in tasks.items()
    ]
    full = Table(title, ["task", *formats], rows, formats)
    if width is None or _width(full) <= width:
        return full
    rows = []
    for task, states in tasks.items():
        counts = ((sum(s.state == state for s in states), state) for state in (DONE, FAILED, UNFINISHED, MISSING))
        known = [s.accuracy for s in states if s.accuracy is not None]
        counted = ", ".join(f"{count} {state}" for count, state in counts if count)
        rows.append(
            [
                task,
                counted,
                [min(known), max(known)] if known else None,
                _mean(states),
                _margin(states),
                _minutes(states),
            ]
        )
    return Table(title, ["task", "cells", "accuracy", *ends], rows, {"accuracy": span, **ends})


def _width(table: Table) -> int:
    """Return the length of the table's widest line on a terminal, its rules included."""
    widest = [max(map(len, column)) for column in zip(table.columns, *table.written(), strict=True)]
    return sum(widest) + 3 * len(widest) + 1


def _value(state: CellState) -> float | str:
    return state.state if state.accuracy is None else state.accuracy


def _mean(states: Sequence[CellState]) -> float | None:
    known = [s.accuracy for s in states if s.accuracy is not None]
    return sum(known) / len(known) if known else None


def _margin(states: Sequence[CellState]) -> float | None:
    return max((s.outcome.margin for s in states if s.outcome is not None), default=None)


def _minutes(states: Sequence[CellState]) -> float | None:
    known = [s.seconds for s in states if s.seconds is not None]
    return sum(known) / 60 if known else None


def _failures_file(sweep: Sweep) -> Path:
    return sweep.path / "failed.json"


def read_failures(sweep: Sweep) -> dict[str, str]:
    """Return the errors of the failed cells by the cells' names. Raises :class:`InputError` for a damaged file."""
    file = _failures_file(sweep)
    again = "run 'skn sweep --resume' again"
    return documents.read(file, "failed", dict[str, str], again) if stands(file) else {}


def _known_failures(sweep: Sweep) -> dict[str, str]:
    """Return the known failures; none if the file is damaged, because failed cells are tried again anyway."""
    try:
        return read_failures(sweep)
    except InputError:
        return {}
