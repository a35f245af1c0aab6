"""Which data a run is about, as the user says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skn.data.tasks import get_task
from skn.store.delimited import Dialect

SPLITS = ("train", "validation", "test")


def column_names(columns: str | Sequence[str] | None) -> list[str] | None:
    """Names of columns as a list: one text has commas between them."""
    if columns is None:
        return None
    return [name.strip() for name in (columns.split(",") if isinstance(columns, str) else columns)]


@dataclass(frozen=True)
class DataSpec:
    """What the user said about the data; it is stored in the run and read again by every stage.

    ``draw_seed`` is the run's seed where the task draws rows by it (:meth:`drawn_by`); ``quoting``, ``encoding`` and
    ``columns`` say how its text files are written, see :class:`skn.store.delimited.Dialect`.
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
        """The same data, its rows drawn by ``seed`` where the task draws any."""
        draws = self.task is not None and get_task(self.task).one_of
        return replace(self, draw_seed=seed) if draws else self
