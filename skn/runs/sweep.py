"""A sweep: a directory with a run for each task and seed, and with the results that are computed from all runs.

``sweep.json`` holds the settings. The run of a cell is in ``TASK/seed-N``. ``activations.safetensors``, ``rsa/``,
``sets/``, ``masked/`` and ``report/`` are beside the runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.names import leads_out
from skn.runs.run import Run
from skn.store import documents, folders
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance


@dataclass(frozen=True, order=True)
class Cell:
    """One run of a sweep."""

    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/seed-{self.seed}"

    @property
    def condition(self) -> str:
        """The last part of the task's name: "joy" of "goemotions/joy"."""
        return self.task.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class SweepDocument:
    """The content of ``sweep.json``."""

    tasks: list[str]
    seeds: list[int]
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        for task in self.tasks:
            if leads_out(task):
                raise ValueError(f"the task {task!r} is no name for a folder of the sweep")


@dataclass(frozen=True)
class Sweep:
    """The directory of a sweep, its grid, and the ``settings`` of every cell's training, by the names of
    ``TrainRequest``.
    """

    path: Path
    tasks: list[str]
    seeds: list[int]
    settings: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Sweep:
        """Open a sweep. Raises :class:`InputError` if the folder is no sweep."""
        file = Path(path) / "sweep.json"
        if not stands(file):
            raise InputError(f"{path}: not a sweep (no sweep.json in it); 'skn sweep --out DIR' makes one")
        stored = documents.read(file, "sweep", SweepDocument, "'skn sweep --overwrite' makes it again")
        return cls(Path(path), **stored)

    def save(self) -> None:
        grid = {"tasks": self.tasks, "seeds": self.seeds, "settings": self.settings}
        documents.write(self.path / "sweep.json", "sweep", grid)

    @property
    def cells(self) -> list[Cell]:
        """All cells, ordered by task and then by seed."""
        return [Cell(task, seed) for task in self.tasks for seed in self.seeds]

    def folder(self, cell: Cell) -> Path:
        return folders.below(self.path, cell.task, f"seed-{cell.seed}")

    def begun(self, cell: Cell) -> Run | None:
        """Return the run of a cell, finished or not; None if there is no run.

        Raises :class:`InputError` for the run of another cell.
        """
        file = self.folder(cell) / "run.json"
        if not stands(file):
            return None
        run = Run.open_unfinished(file.parent)
        task, seed = run.config.data.task, run.config.seed
        if task not in (None, cell.task) or seed != cell.seed:
            is_of = f"seed {seed}" if task is None else Cell(task, seed)
            raise InputError(
                f"{file}: the run of {is_of}, expected {cell}; put this cell's own folder back, or delete this one, and "
                f"'skn sweep --resume --out {self.path}' trains it"
            )
        return run

    def run(self, cell: Cell) -> Run:
        """Return the finished run of a cell. Raises :class:`InputError` if there is none."""
        run = self.begun(cell)
        if run is None:
            raise InputError(f"{self.path}: cell {cell} is missing; 'skn sweep --resume --out {self.path}' trains it")
        return run.finished()

    def finished_runs(self) -> dict[Cell, Run]:
        """Return the run of every cell. Raises :class:`InputError`, which names missing and unfinished cells."""
        runs: dict[Cell, Run] = {}
        absent: list[str] = []
        for cell in self.cells:
            run = self.begun(cell)
            if run is None or not run.is_done:
                absent.append(str(cell))
            else:
                runs[cell] = run
        if absent:
            named = ", ".join(absent[:3]) + (", …" if len(absent) > 3 else "")
            raise InputError(
                f"{self.path}: {len(absent)} of {len(self.cells)} cells are missing or unfinished ({named}); "
                f"'skn sweep --resume --out {self.path}' trains them, --emotions leaves out whole emotions"
            )
        return runs

    @property
    def conditions(self) -> list[str]:
        """The last part of each task's name, in the order of ``tasks``. Raises :class:`InputError` if two are equal."""
        names = [Cell(task, 0).condition for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{self.path}: two tasks are called '{twice[0]}'; they need different names")
        return names

    def only(self, conditions: Collection[str]) -> Sweep:
        """Return this sweep with only the tasks of the given ``conditions``, in the sweep's own order."""
        tasks = zip(self.tasks, self.conditions, strict=True)
        return replace(self, tasks=[task for task, name in tasks if name in conditions])

    def refuse_foreign(self, where: Path, provenance: Mapping[str, Any], again: str) -> None:
        """Refuse a file that was made with prompts other than this sweep's prompts. Raises :class:`InputError`.

        Older files do not name their prompts. ``again`` tells the user what to do.
        """
        prompts, cells = provenance.get("prompts") or {}, {str(cell): cell for cell in self.cells}
        for name, prompt in prompts.items():
            if name not in cells:
                raise InputError(f"{where}: of the cell {name}, which {self.path / 'sweep.json'} has not; {again}")
            run = self.begun(cells[name])
            if run is not None and run.is_done:
                compare_provenance(
                    {**provenance, "tuned": prompt},
                    {name: run.identity()[name] for name in ("backbone_digest", "tuned")},
                    str(where), other=str(run.tuned_file), way_out=again,
                )  # fmt: skip

    @property
    def activations_file(self) -> Path:
        return self.path / "activations.safetensors"
