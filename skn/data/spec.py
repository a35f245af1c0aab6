"""The data of a run, as the user names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skn.data.tasks import get_task
from skn.store.delimited import Dialect

SPLITS = ("train", "validation", "test")


def column_names(columns: str | Sequence[str] | None) -> list[str] | None:
    """Return names of columns as a list. A single text separates the names with commas."""
    if columns is None:
        return None
    return [name.strip() for name in (columns.split(",") if isinstance(columns, str) else columns)]


@dataclass(frozen=True)
class DataSpec:
    """The user's description of the data. The run stores it, and every stage reads it again.

    ``draw_seed`` is the run's seed if the task draws rows (:meth:`drawn_by`). ``quoting``, ``encoding`` and ``columns``
    say how the text files are written, see :class:`skn.store.delimited.Dialect`.
    """

    task: str | None = None
    data: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    drop_unlabelled: bool = False
    draw_seed: int = 0
    quoting: str | None = None
    encoding: str | None = None
    columns: list[str] | None = None

    @property
    def name(self) -> str:
        return self.task or Path(self.data or "").stem

    @property
    def dialect(self) -> Dialect:
        return Dialect(self.quoting, self.encoding, self.columns)

    def drawn_by(self, seed: int) -> DataSpec:
        """Return the same data with rows drawn by ``seed``, if the task draws rows."""
        draws = self.task is not None and get_task(self.task).one_of
        return replace(self, draw_seed=seed) if draws else self
