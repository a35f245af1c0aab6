"""What the report of a sweep shows, read from files by the stage and turned into a page by :mod:`skn.reports.sweep_page`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skn.names import real_name
from skn.reports.run_data import FileEntry


@dataclass(frozen=True)
class Grid:
    """The cells: ``accuracy`` [task, seed] on the validation split, NaN where a cell is not done; its ``state``.

    ``interval`` [task, seed, 2] holds the ends of each accuracy's 95% interval.
    """

    tasks: list[str]
    seeds: list[int]
    accuracy: np.ndarray
    state: list[list[str]]
    failed: dict[str, str] = field(default_factory=dict)  # cell → one line
    interval: np.ndarray | None = None

    @property
    def margin(self) -> np.ndarray | None:
        """[task, seed]: how far each accuracy lies from the farther end of its interval."""
        return None if self.interval is None else np.abs(self.interval - self.accuracy[..., None]).max(axis=-1)

    @property
    def names(self) -> list[str]:
        """The tasks' own names, or the whole ones where two share theirs."""
        short = [task.rpartition("/")[2] for task in self.tasks]
        return short if len(set(short)) == len(short) else self.tasks

    def count(self, state: str) -> int:
        return sum(row.count(state) for row in self.state)


@dataclass(frozen=True)
class Dropped:
    """``jaccard`` by k, [dropped, attribute]: of the top-k set with all ``names`` and that without one of them."""

    names: list[str]
    jaccard: dict[int, np.ndarray]

    def summary(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and lowest index of each attribute, of those that are known; NaN where none is."""
        known = np.ma.masked_invalid(self.jaccard[k])
        return known.mean(axis=0).filled(np.nan), known.min(axis=0).filled(np.nan)


@dataclass(frozen=True)
class Searchlight:
    """``values`` by name, "rank", "tau", "p" and so on, each [attribute, L, F], NaN for a constant neuron."""

    attributes: list[str]
    values: dict[str, np.ndarray]
    conditions: list[str]
    seeds: list[int]
    permutations: int
    permutation_seed: int | None
    top: list[int]
    alpha: float
    stability: dict[str, Dropped]  # "seeds", "conditions"
    provenance: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and neurons in a layer."""
        return self.values["rank"].shape[1:]

    def significant(self, name: str) -> np.ndarray:
        """[attribute, L, F] bool: ``values[name]`` does not exceed alpha; a constant neuron is never significant."""
        return self.values[name] <= self.alpha


@dataclass(frozen=True)
class Masked:
    """The columns of one ``accuracy.csv``, all of a length; what the cells were masked with; the tests on them.

    ``draws`` [draw] by attribute and k: the accuracy under each random mask, averaged over the cells.
    """

    folder: str
    columns: dict[str, np.ndarray]
    settings: dict[str, Any]
    draws: dict[tuple[str, int], np.ndarray]
    specificity: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What the folder is called, as people read it."""
        return real_name(self.folder)

    @property
    def attributes(self) -> list[str]:
        """In the order of their first row."""
        return list(dict.fromkeys(self.columns["attribute"].tolist()))


@dataclass(frozen=True)
class SweepReportData:
    """What a sweep holds; what is not there is empty or None. ``grid`` is None for a searchlight without a sweep."""

    title: str
    grid: Grid | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    searchlight: Searchlight | None = None
    masked: list[Masked] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
