"""How far a sweep is: the state of every cell, read off its folder, as ``grid.csv`` and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skn.console import Format, interval, shown
from skn.errors import InputError
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.store import atomic

DONE, FAILED, UNFINISHED, MISSING = "done", "failed", "unfinished", "missing"
COLUMNS = ("task", "seed", "state", "validation_accuracy", "seconds")


@dataclass(frozen=True)
class CellState:
    """One line of the grid; accuracy and seconds (of the training, since it was last begun) where it is done."""

    cell: Cell
    state: str
    accuracy: float | None = None
    seconds: float | None = None


class Grid:
    """The states of all cells, and why cells failed; both are stored whenever a cell is noted."""

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self.failures = _read_failures(sweep)
        self.states = {cell: self._read(cell) for cell in sweep.cells}

    def note(self, cell: Cell, error: str | None) -> CellState:
        """A cell has come to its end, with an error or well."""
        if error is None:
            self.failures.pop(str(cell), None)
        else:
            self.failures[str(cell)] = error
        self.states[cell] = self._read(cell)
        self.save()
        return self.states[cell]

    def save(self) -> None:
        """Write ``grid.csv`` and, where something failed, ``failed.json``."""
        if self.failures:
            atomic.write_json(_failures_file(self.sweep), self.failures)
        else:
            _failures_file(self.sweep).unlink(missing_ok=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for cell, found in self.states.items():
            writer.writerow([cell.task, cell.seed, found.state, found.accuracy, found.seconds])
        atomic.write_text(self.sweep.path / "grid.csv", text.getvalue())

    def cells(self, *states: str) -> list[Cell]:
        return [cell for cell, found in self.states.items() if found.state in states]

    def _read(self, cell: Cell) -> CellState:
        failed = CellState(cell, FAILED) if str(cell) in self.failures else None
        try:
            run = Run.open_unfinished(self.sweep.folder(cell))
        except InputError:
            return failed or CellState(cell, MISSING)
        if run.training is None or not run.tuned_file.is_file():
            return failed or CellState(cell, UNFINISHED)
        return CellState(cell, DONE, run.training["best_accuracy"], run.times.get("train"))


def grid_table(grid: Grid, width: int | None) -> tuple[list[str], list[list[object]], dict[str, Format]]:
    """Columns, rows and formats: tasks by seeds with the mean; where ``width`` characters do not hold that, a summary."""
    sweep = grid.sweep
    tasks = {task: [grid.states[Cell(task, seed)] for seed in sweep.seeds] for task in sweep.tasks}
    ends: dict[str, Format] = {"mean": ".4f", "minutes": ".1f"}
    formats = {f"seed {seed}": ".4f" for seed in sweep.seeds} | ends
    columns = ["task", *formats]
    rows = [[task, *map(_value, states), _mean(states), _minutes(states)] for task, states in tasks.items()]
    if width is None or _widest(columns, rows, formats) <= width:
        return columns, rows, formats
    rows = []
    for task, states in tasks.items():
        counts = ((sum(s.state == state for s in states), state) for state in (DONE, FAILED, UNFINISHED, MISSING))
        known = [s.accuracy for s in states if s.accuracy is not None]
        counted = ", ".join(f"{count} {state}" for count, state in counts if count)
        rows.append([task, counted, [min(known), max(known)] if known else None, _mean(states), _minutes(states)])
    return ["task", "cells", "accuracy", *ends], rows, {"accuracy": interval, **ends}


def _widest(columns: Sequence[str], rows: Sequence[Sequence[object]], formats: Mapping[str, Format]) -> int:
    """The characters of the table's widest line, its rules included."""
    texts = [[shown(value, formats.get(name)) for name, value in zip(columns, row, strict=True)] for row in rows]
    widest = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    return sum(widest) + 3 * len(widest) + 1


def _value(state: CellState) -> float | str:
    return state.state if state.accuracy is None else state.accuracy


def _mean(states: Sequence[CellState]) -> float | None:
    known = [s.accuracy for s in states if s.accuracy is not None]
    return sum(known) / len(known) if known else None


def _minutes(states: Sequence[CellState]) -> float | None:
    known = [s.seconds for s in states if s.seconds is not None]
    return sum(known) / 60 if known else None


def _failures_file(sweep: Sweep) -> Path:
    return sweep.path / "failed.json"


def _read_failures(sweep: Sweep) -> dict[str, str]:
    try:
        found = dict(json.loads(_failures_file(sweep).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # of a damaged file too: what failed is tried again anyway
        return {}
    return {str(cell): str(error) for cell, error in found.items()}
