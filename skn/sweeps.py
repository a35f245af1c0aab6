"""A sweep: a directory with a run for each task and seed, and what is derived from all of them.

``sweep.json`` says what was asked for. A cell's run stands in ``TASK/seed-N``; ``activations.safetensors``, ``rsa/``,
``sets/``, ``masked/`` and ``report/`` stand beside the runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn import atomic
from skn.errors import InputError
from skn.runs import Run


@dataclass(frozen=True, order=True)
class Cell:
    """One run of a sweep."""

    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/seed-{self.seed}"

    @property
    def condition(self) -> str:
        """The task's own name: "joy" of "goemotions/joy"."""
        return self.task.rpartition("/")[2]


@dataclass(frozen=True)
class Sweep:
    """The directory, its grid, and ``settings``: what every cell is trained with, by the names of ``TrainRequest``."""

    path: Path
    tasks: list[str]
    seeds: list[int]
    settings: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Sweep:
        """Raises :class:`InputError` for what is no sweep."""
        file = Path(path) / "sweep.json"
        if not file.is_file():
            raise InputError(f"{path}: not a sweep (no sweep.json in it); 'skn sweep --out DIR' makes one")
        try:
            stored = json.loads(file.read_text())
            tasks, seeds, settings = stored["tasks"], stored["seeds"], dict(stored["settings"])
            if not all(isinstance(t, str) for t in tasks) or not all(isinstance(s, int) for s in seeds):
                raise TypeError("tasks are names and seeds numbers")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: damaged ({error}); 'skn sweep --overwrite' makes it again") from error
        return cls(Path(path), tasks, seeds, settings)

    def save(self) -> None:
        grid = {"tasks": self.tasks, "seeds": self.seeds, "settings": self.settings}
        atomic.write_json(self.path / "sweep.json", grid)

    @property
    def cells(self) -> list[Cell]:
        """All cells, the seeds of a task together."""
        return [Cell(task, seed) for task in self.tasks for seed in self.seeds]

    def folder(self, cell: Cell) -> Path:
        return self.path / cell.task / f"seed-{cell.seed}"

    def run(self, cell: Cell) -> Run:
        """The finished run of a cell; raises :class:`InputError` where there is none."""
        if not (self.folder(cell) / "run.json").is_file():
            raise InputError(f"{self.path}: cell {cell} is missing; 'skn sweep --resume --out {self.path}' trains it")
        return Run.open(self.folder(cell))

    @property
    def activations_file(self) -> Path:
        return self.path / "activations.safetensors"
