"""How far a sweep is: the state of every cell, read off its folder, as ``grid.csv`` and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def state_of(run: Run | None, failed: bool) -> str:
    """Where a cell stands: a finished one is done, whatever failed before."""
    if run is not None and run.is_done:
        return DONE
    if failed:
        return FAILED
    return MISSING if run is None else UNFINISHED


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
        try:
            run = Run.open_unfinished(self.sweep.folder(cell))
        except InputError:
            run = None
        state = state_of(run, str(cell) in self.failures)
        if state != DONE:
            return CellState(cell, state)
        return CellState(cell, state, run.training["best_accuracy"], run.times.get("train"))


def grid_table(grid: Grid, width: int) -> tuple[list[str], list[list[str | None]]]:
    """Columns and rows: tasks by seeds with the mean, where ``width`` characters hold that, else a summary by task."""
    sweep = grid.sweep
    tasks = {task: [grid.states[Cell(task, seed)] for seed in sweep.seeds] for task in sweep.tasks}
    ends = ["mean", "minutes"]
    columns = ["task", *(f"seed {seed}" for seed in sweep.seeds), *ends]
    rows = [[task, *map(_shown, states), _mean(states), _minutes(states)] for task, states in tasks.items()]
    widest = [max(len(text or "–") for text in column) for column in zip(columns, *rows, strict=True)]
    if sum(widest) + 3 * len(widest) + 1 <= width:
        return columns, rows
    rows = []
    for task, states in tasks.items():
        counts = ((sum(s.state == state for s in states), state) for state in (DONE, FAILED, UNFINISHED, MISSING))
        known = [s.accuracy for s in states if s.accuracy is not None]
        span = f"{min(known):.4f}–{max(known):.4f}" if known else None
        counted = ", ".join(f"{count} {state}" for count, state in counts if count)
        rows.append([task, counted, span, _mean(states), _minutes(states)])
    return ["task", "cells", "accuracy", *ends], rows


def _shown(state: CellState) -> str:
    return state.state if state.accuracy is None else f"{state.accuracy:.4f}"


def _mean(states: Sequence[CellState]) -> str | None:
    known = [s.accuracy for s in states if s.accuracy is not None]
    return f"{sum(known) / len(known):.4f}" if known else None


def _minutes(states: Sequence[CellState]) -> str | None:
    known = [s.seconds for s in states if s.seconds is not None]
    return f"{sum(known) / 60:.1f}" if known else None


def _failures_file(sweep: Sweep) -> Path:
    return sweep.path / "failed.json"


def _read_failures(sweep: Sweep) -> dict[str, str]:
    try:
        found = dict(json.loads(_failures_file(sweep).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # of a damaged file too: what failed is tried again anyway
        return {}
    return {str(cell): str(error) for cell, error in found.items()}
