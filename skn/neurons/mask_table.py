"""The rows of ``skn.mask``: as a table, and as the JSON file from which an interrupted command resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt

from skn.inference.measures import accuracy, auc
from skn.names import quoted
from skn.neurons.matching import BALANCE, Balance
from skn.neurons.neuron_sets import SetIdentity, whose
from skn.store import documents
from skn.store.foreign_files import stands
from skn.store.provenance import ANEW, refuse_differences, resumed
from skn.store.schemas import Share
from skn.tables import Table, span

# Zeroing many neurons, even random ones, also shifts the class scores. Accuracy shows this shift, AUC does not.
MEASURES = {"accuracy": accuracy, "auc": auc}
WORDS = {"accuracy": "accuracy", "auc": "AUC"}
MATCHED = {"layer": "as many in each layer", "overall": "as many in all", "activity": "of equal activity"}

# The settings of a file's rows, besides the neurons and the run.
SETTINGS = ("kind", "alpha", "controls", "match", "layers", "split", "seed", "mean")
_MAY_BE_NONE = ("alpha", "mean")  # in older files, the other settings may be missing, which None says


@dataclass(frozen=True, kw_only=True)
class ControlSummary:
    """The random sets of one row by one measure. ``mean_low`` and ``mean_high`` need at least two sets."""

    draws: list[Share]
    mean: Share
    low: Share
    high: Share
    mean_low: float | None = None
    mean_high: float | None = None

    def __post_init__(self) -> None:
        if (self.mean_low is None) != (self.mean_high is None):
            raise ValueError("one end of an interval")


@dataclass(frozen=True, kw_only=True)
class ControlMeasures:
    """The controls of one row by each measure; None if a measure has no meaning."""

    accuracy: ControlSummary
    auc: ControlSummary | None


@dataclass(frozen=True, kw_only=True)
class MaskRow:
    """One masked neuron set: a share of each layer, or a fixed set."""

    fraction: Share | None
    neurons: NonNegativeInt
    accuracy: Share
    auc: Share | None
    controls: ControlMeasures | None
    interval: tuple[Share, Share] | None = None
    controls_by_match: dict[str, ControlMeasures | None] | None = None
    balance: Balance | None = None

    def __post_init__(self) -> None:
        by_match = [self.controls] if self.controls_by_match is None else list(self.controls_by_match.values())
        if self.controls not in by_match:
            raise ValueError("controls that no match drew")
        if any(controls and (self.auc is None) != (controls.auc is None) for controls in by_match):
            raise ValueError("an AUC of the neurons or of their controls alone")


@dataclass(frozen=True, kw_only=True)
class MaskDocument:
    """The content of ``mask-<kind>[-<name>].json``. Files of older versions may lack the fields that have a default."""

    kind: str
    alpha: float | None
    layers: tuple[NonNegativeInt, NonNegativeInt]
    split: Literal["train", "validation", "test"]
    dtype: str
    rows: list[MaskRow]
    neurons: SetIdentity | str | None = None
    controls: int | None = None
    match: str | None = None
    seed: int | None = None
    mean: str | None = None
    engine: str | None = None
    provenance: dict[str, Any] | None = None
    name: str | None = None
    activity: str | None = None
    kept_own: Share | None = None

    def __post_init__(self) -> None:
        if len({row.fraction for row in self.rows}) < len(self.rows):
            raise ValueError("two rows of one fraction")


@dataclass(frozen=True, repr=False)
class MaskTable:
    """The rows of a mask, with the fields of the JSON file.

    Each row has ``fraction``, ``neurons``, ``accuracy``, ``interval``, ``auc``, ``controls`` and
    ``controls_by_match``. ``interval`` is the 95% interval (Wilson) of the accuracy over the split's examples.
    ``controls_by_match`` has for each match the draws, their mean and their intervals, or None if nothing was drawn.
    ``controls`` repeats them for the first match. ``balance`` says how alike the set and its controls of equal activity
    are (:class:`skn.neurons.matching.Balance`), or is None.
    """

    document: dict[str, Any]
    path: Path | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.document["rows"]

    def table(self) -> Table:
        """A table with one row for each set, measure and match, beside the controls."""
        columns = ["fraction", "neurons", "measure", "chosen", "95% of chosen", "match", "control mean"]
        columns += ["95% of the mean", "95% of the draws"]
        rows = [
            self._row(row, name, match, controls)
            for row in self.rows
            for name in MEASURES
            for match, controls in controls_of(self.document, row).items()
        ]
        low, high = self.document["layers"]
        document = self.document
        where = f"layers {low}:{high}, split {document['split']}, {document['dtype']}"
        kind = f"{document['kind']}{own_kept(document)}"
        title = f"Mask{quoted(document.get('name'))} {kind}, {where}; chosen: {whose(document.get('neurons'))}"
        formats = {"fraction": "g", "chosen": ".4f", "control mean": ".4f"} | {
            name: span for name in columns if name.startswith("95%")
        }
        return Table(title, columns, rows, formats)

    def balance(self) -> Table | None:
        """A table of how alike each set and its controls of equal activity are; None if none were drawn.

        "difference" is the standardised difference of the logarithms. The last columns count neurons without a control
        that is nearer than a factor of 1.25, and neurons without any control.
        """
        found = [(row, row["balance"]) for row in self.rows if row.get("balance")]
        if not found:
            return None
        columns = ["fraction", "neurons", "activity of chosen", "of controls", "difference"]
        columns += ["none within 1.25", "none at all"]
        rows = [[_of(row), row["neurons"], *(of[field] for field in BALANCE)] for row, of in found]
        formats = {"fraction": "g", "activity of chosen": ".4g", "of controls": ".4g"}
        formats |= {"difference": "+.3f", "none within 1.25": ".4g"}
        return Table(f"Controls of equal activity, mean of {self.document['controls']} draws", columns, rows, formats)

    def to_pandas(self) -> Any:
        """The table as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def _row(self, row: Mapping[str, Any], name: str, match: str, controls: Mapping[str, Any] | None) -> list[Any]:
        control = controls and controls[name]
        return [
            _of(row),
            row["neurons"],
            WORDS[name],
            row[name],
            row.get("interval") if name == "accuracy" else None,
            match if control else None,
            control["mean"] if control else None,
            _ends(control, "mean_low", "mean_high"),
            _ends(control, "low", "high"),
        ]

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self._tables())

    def __repr__(self) -> str:
        return "\n".join(map(str, self._tables()))

    def _tables(self) -> list[Table]:
        return [table for table in (self.table(), self.balance()) if table is not None]


def _of(row: Mapping[str, Any]) -> float | str:
    return "fixed set" if row["fraction"] is None else row["fraction"]


def own_kept(document: Mapping[str, Any]) -> str:
    """Say in brackets how many positions kept their own activations under kind "resample"; nothing for other kinds."""
    share = document.get("kept_own")
    return "" if share is None else f" (own activations at {100 * share:.1f}% of positions)"


def matches_of(document: Mapping[str, Any]) -> list[str]:
    """Return the matches of a mask, the first one first. Files of older versions may not name theirs: "layer"."""
    return (document.get("match") or "layer").split(",")


def controls_of(document: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the controls of a row by match, None if nothing was drawn. Rows of older versions have one match."""
    matches, by_match = matches_of(document), row.get("controls_by_match")
    return {matches[0]: row["controls"]} if by_match is None else {match: by_match.get(match) for match in matches}


def rows_of(file: Path, document: dict[str, Any]) -> dict[float | None, dict]:
    """Return the rows that an interrupted command left in ``file``.

    Raises :class:`InputError` if its settings were others.
    """
    if not stands(file):
        return {}
    stored = documents.read(file, "mask", MaskDocument, "--overwrite replaces it")
    before, asked = _settings(stored), _settings(document)
    if stored["match"] == document["match"]:  # another match needs no second reason
        before["digest of the activity"], asked["digest of the activity"] = stored["activity"], document["activity"]
    refuse_differences(file, before, asked, ANEW)
    return {row["fraction"]: row for row in stored["rows"]}


def read_mask(file: Path) -> dict[str, Any]:
    """Read a JSON file of ``skn mask``. Raises :class:`InputError` if the file is damaged."""
    return documents.read(file, "mask", MaskDocument, "run 'skn mask --overwrite' again")


def _settings(document: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that must be equal to resume a file: the digest of the neurons counts, the path of their file
    does not.
    """
    neurons, origin = document["neurons"], document["provenance"]
    named = {key: document[key] for key in SETTINGS if document[key] is not None or key in _MAY_BE_NONE}
    if isinstance(neurons, dict):  # older files hold a name here, and have no provenance
        named["digest of the neurons"] = neurons["digest"]
    if isinstance(origin, dict):
        named |= {f"run's {name}": value for name, value in resumed(origin).items()}
    return named


def _ends(control: Mapping[str, Any] | None, low: str, high: str) -> list[float] | None:
    return [control[low], control[high]] if control and control[low] is not None else None
