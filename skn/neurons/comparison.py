"""What ``skn.compare`` found: as tables, and as the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from skn.store import documents
from skn.store.schemas import Share
from skn.tables import Table

Correlation = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One task: a run, or several seeds. ``neurons`` is the digest of the ranking."""

    run: str
    seeds: PositiveInt
    readout: str
    neurons: str
    provenance: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ComparedPair:
    """Two tasks. ``spearman`` has a value for each layer. The fields from ``shared`` on are those of an overlap."""

    first: str
    second: str
    spearman: list[Correlation | None]
    mean_spearman: Correlation | None
    shared: NonNegativeInt
    sizes: tuple[NonNegativeInt, NonNegativeInt]
    expected: Annotated[float, Field(ge=0)]
    low: NonNegativeInt
    high: NonNegativeInt
    p: Share


@dataclass(frozen=True, kw_only=True)
class ComparisonDocument:
    """The content of ``compare.json``."""

    fraction: Share
    overall: bool
    split: Literal["validation", "test"]
    by: str
    aggregate: str
    runs: list[ComparedRun]
    pairs: list[ComparedPair]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Which neurons tasks share, with the fields of the JSON file. ``pairs`` has every two of ``runs``."""

    document: dict[str, Any]
    path: Path | None = None

    @property
    def runs(self) -> list[dict[str, Any]]:
        return self.document["runs"]

    @property
    def pairs(self) -> list[dict[str, Any]]:
        return self.document["pairs"]

    @property
    def names(self) -> list[str]:
        return [run["run"] for run in self.runs]

    def table(self) -> Table:
        """A table with a row for each pair: the correlation, averaged over the layers, and the shared neurons beside chance."""
        columns = ["run", "other run", "Spearman, mean of layers", "shared", "of", "by chance", "95% by chance", "p"]
        rows = [
            [pair["first"], pair["second"], pair["mean_spearman"], pair["shared"], sizes_of(pair), pair["expected"],
             [pair["low"], pair["high"]], pair["p"]]
            for pair in self.pairs
        ]  # fmt: skip
        formats = {"Spearman, mean of layers": ".3f", "by chance": ".1f", "95% by chance": whole_span, "p": ".2g"}
        return Table(f"Shared neurons: {setting(self.document)}", columns, rows, formats)

    def by_layer(self) -> Table:
        """A table with the correlations: a row for each layer, a column for each pair."""
        columns = ["layer", *(pair_name(pair) for pair in self.pairs)]
        rows = [[layer, *values] for layer, values in enumerate(zip(*(p["spearman"] for p in self.pairs), strict=True))]
        title = f"Spearman's correlation by layer, neurons ranked by {self.document['by']} on {self.document['split']}"
        return Table(title, columns, rows, dict.fromkeys(columns[1:], ".3f"))

    def to_pandas(self) -> Any:
        """The table of pairs as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def write(self, file: Path) -> None:
        """Write the JSON file."""
        documents.write(file, "compare", self.document)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + self.by_layer()._repr_html_()

    def __repr__(self) -> str:
        return f"{self.table()}\n{self.by_layer()}"


def read_comparison(file: Path) -> Comparison:
    """Read a ``compare.json``. Raises :class:`InputError` if the file is damaged."""
    return Comparison(
        documents.read(file, "compare", ComparisonDocument, "run 'skn compare' again", old_too=False), file
    )


def setting(document: dict[str, Any]) -> str:
    """Describe the sets in words."""
    where = "all neurons, over the layers" if document["overall"] else "each layer"
    return f"the best {100 * document['fraction']:.4g}% of {where}, by {document['by']} on {document['split']}"


def pair_name(pair: dict[str, Any]) -> str:
    return f"{pair['first']} – {pair['second']}"


def sizes_of(pair: dict[str, Any]) -> str:
    """Write the sizes of the two sets, once if they are equal."""
    return ", ".join(map(str, dict.fromkeys(pair["sizes"])))


def whole_span(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low} – {high}"
