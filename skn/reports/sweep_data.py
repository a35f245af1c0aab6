"""The content of a sweep's report.

The stage reads it from files; :mod:`skn.reports.sweep_page` turns it into a page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skn.names import real_name
from skn.reports.run_data import FileEntry


@dataclass(frozen=True)
class Grid:
    """The cells: ``accuracy`` [task, seed] on the validation split, NaN if a cell is not done, and each cell's
    ``state``.

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
        """[task, seed]: the distance from each accuracy to the farther end of its interval."""
        return None if self.interval is None else np.abs(self.interval - self.accuracy[..., None]).max(axis=-1)

    @property
    def names(self) -> list[str]:
        """The last parts of the tasks' names, or the whole names if two last parts are equal."""
        short = [task.rpartition("/")[2] for task in self.tasks]
        return short if len(set(short)) == len(short) else self.tasks

    def count(self, state: str) -> int:
        return sum(row.count(state) for row in self.state)


@dataclass(frozen=True)
class Dropped:
    """Jaccard indices: ``jaccard`` by k, [dropped, attribute], of the top-k set with all ``names`` and the set without
    one.
    """

    names: list[str]
    jaccard: dict[int, np.ndarray]

    def summary(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the lowest known index of each attribute; NaN without a known index."""
        known = np.ma.masked_invalid(self.jaccard[k])
        return known.mean(axis=0).filled(np.nan), known.min(axis=0).filled(np.nan)


@dataclass(frozen=True)
class Searchlight:
    """A searchlight.

    ``values`` by name, "rank", "tau", "p" and so on, each [attribute, L, F], NaN for a constant neuron.
    """

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
        """The number of layers, and of neurons in a layer."""
        return self.values["rank"].shape[1:]

    def significant(self, name: str) -> np.ndarray:
        """[attribute, L, F] bool: ``values[name]`` does not exceed alpha. A constant neuron is never significant."""
        return self.values[name] <= self.alpha


@dataclass(frozen=True)
class Masked:
    """A masked sweep: the columns of one ``accuracy.csv``, the settings of the masks, and the tests.

    ``draws`` [draw] by attribute and k: the accuracy under each random mask, averaged over the cells.
    """

    folder: str
    columns: dict[str, np.ndarray]
    settings: dict[str, Any]
    draws: dict[tuple[str, int], np.ndarray]
    specificity: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The folder's name for people."""
        return real_name(self.folder)

    @property
    def attributes(self) -> list[str]:
        """The attributes in the order of their first row."""
        return list(dict.fromkeys(self.columns["attribute"].tolist()))


@dataclass(frozen=True)
class SweepReportData:
    """The content of a sweep. A missing part is empty or None. ``grid`` is None for a searchlight without a sweep."""

    title: str
    grid: Grid | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    searchlight: Searchlight | None = None
    masked: list[Masked] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
