"""The results of ``skn.off_target``: as tables, and as the JSON file from which an interrupted command resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from skn.intervals import none_better
from skn.names import quoted
from skn.neurons.excess_drop import Harmed, on_less_off
from skn.neurons.neuron_sets import SetIdentity, whose
from skn.store import documents
from skn.store.foreign_files import stands
from skn.store.provenance import ANEW, refuse_differences, resumed
from skn.store.schemas import Share
from skn.tables import Table, span

Difference = Annotated[float, Field(ge=-1, le=1)]

# The settings that all runs of a file share.
SETTINGS = ("kind", "alpha", "controls", "match", "layers", "split", "seed", "fractions", "on")

NOTES = (
    "excess drop: mean accuracy under the random masks less the accuracy under the mask; its 95% interval is over the "
    "examples (Bonett and Price, 2012), for these random masks",
    "D: excess drop of the ranking's own run less that of the other run, each as a share of what the unmasked model "
    "reaches above the larger class; p: the share of all sets, the random ones and the chosen one, with a D at least "
    "as large; p is not corrected for the number of runs and shares",
)


@dataclass(frozen=True, kw_only=True)
class HarmRow:
    """One masked set in one run: a share of each layer, or a fixed set. ``draws``: the accuracy under each random set."""

    fraction: Share | None
    neurons: PositiveInt
    accuracy: Share
    excess: Difference
    interval: tuple[Difference, Difference]
    draws: Annotated[list[Share], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class HarmedRun:
    """One run under all masks. ``accuracy`` is without a mask, ``majority`` the share of the most frequent class."""

    run: str
    examples: PositiveInt
    accuracy: Share
    interval: tuple[Share, Share]
    majority: Share
    mean: str | None
    engine: str
    provenance: dict[str, Any]
    rows: list[HarmRow]
    kept_own: Share | None = None


@dataclass(frozen=True, kw_only=True)
class OffTargetTest:
    """The test of the ranking's own run against another run, for one masked set."""

    fraction: Share | None
    run: str
    difference: float
    p: Share


@dataclass(frozen=True, kw_only=True)
class OffTargetDocument:
    """The content of ``off-target-<kind>[-<name>].json``. The first of ``runs`` is the ranking's own run."""

    kind: str
    alpha: float | None
    controls: PositiveInt
    match: str
    layers: tuple[NonNegativeInt, NonNegativeInt]
    split: Literal["train", "validation", "test"]
    seed: int
    fractions: list[Share] | None
    on: list[str]
    neurons: SetIdentity
    dtype: str
    provenance: dict[str, Any]
    runs: list[HarmedRun]
    tests: list[OffTargetTest]
    notes: list[str]
    name: str | None = None

    def __post_init__(self) -> None:
        sets = self.fractions or [None]
        if any([row.fraction for row in run.rows] != sets for run in self.runs):
            raise ValueError("a run without all its rows")
        if any(len(row.draws) != self.controls for run in self.runs for row in run.rows):
            raise ValueError("a row without all its draws")


@dataclass(frozen=True, repr=False)
class OffTarget:
    """What masking one run's neurons costs this run and other runs, with the fields of the JSON file.

    ``runs`` has the run of the ranking first, then the others; each has ``rows``, one for each masked set. ``tests``
    compares the first run with each other run.
    """

    document: dict[str, Any]
    path: Path | None = None

    @property
    def runs(self) -> list[dict[str, Any]]:
        return self.document["runs"]

    @property
    def tests(self) -> list[dict[str, Any]]:
        return self.document["tests"]

    @property
    def notes(self) -> list[str]:
        return self.document["notes"]

    def matrix(self) -> Table:
        """The excess drops: a row for each masked set, a column for each run."""
        names = [run["run"] for run in self.runs]
        rows = [
            [set_name(rows[0]["fraction"]), rows[0]["neurons"], *(row["excess"] for row in rows)]
            for rows in zip(*(run["rows"] for run in self.runs), strict=True)
        ]
        title = f"Excess drop of accuracy, {setting(self.document)}; chosen: {whose(self.document['neurons'])}"
        return Table(title, ["masked", "neurons", *names], rows, dict.fromkeys(names, "+.4f"))

    def table(self) -> Table:
        """A table with one row for each masked set and run, and the test against the ranking's own run."""
        columns = ["run", "masked", "unmasked", "larger class", "chosen", "control mean", "excess drop"]
        columns += ["95% interval", "D", "p"]
        formats = dict.fromkeys(columns[2:6], ".4f")
        formats |= {"excess drop": "+.4f", "95% interval": signed, "D": "+.3f", "p": ".3g"}
        rows = [self._row(run, row) for run in self.runs for row in run["rows"]]
        return Table(f"On target and off target, {setting(self.document)}", columns, rows, formats)

    def to_pandas(self) -> Any:
        """The table as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def _row(self, run: Mapping[str, Any], row: Mapping[str, Any]) -> list[Any]:
        test = test_of(self.tests, run["run"], row["fraction"]) or {"difference": None, "p": None}
        mean = sum(row["draws"]) / len(row["draws"])
        measured = [run["accuracy"], run["majority"], row["accuracy"], mean, row["excess"], row["interval"]]
        return [run["run"], set_name(row["fraction"]), *measured, test["difference"], test["p"]]

    def _repr_html_(self) -> str:
        return self.matrix()._repr_html_() + self.table()._repr_html_()

    def __repr__(self) -> str:
        return f"{self.matrix()}\n{self.table()}"


def test_of(tests: Sequence[dict[str, Any]], run: str, fraction: float | None) -> dict[str, Any] | None:
    """Return the test of a run and a masked set; None for the ranking's own run, and where there is no D."""
    return next((test for test in tests if (test["run"], test["fraction"]) == (run, fraction)), None)


def judged(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tests of the first run against each other run, and notes on what the numbers mean and why one is
    missing.
    """
    if not runs:
        return {"tests": [], "notes": []}
    own, *others = runs
    remarks = [remark for run in runs for remark in (_own_kept(run), _weak(run)) if remark is not None]
    tests = []
    for other in others if _above_guessing(own) > 0 else ():
        for on, off in zip(own["rows"], other["rows"], strict=True) if _above_guessing(other) > 0 else ():
            difference, p = on_less_off(_harmed(own, on), _harmed(other, off))
            tests.append({"fraction": on["fraction"], "run": other["run"], "difference": difference, "p": p})
    return {"tests": tests, "notes": [*NOTES, *remarks]}


def _harmed(run: Mapping[str, Any], row: Mapping[str, Any]) -> Harmed:
    return Harmed(row["accuracy"], row["draws"], _above_guessing(run))


def _above_guessing(run: Mapping[str, Any]) -> float:
    return run["accuracy"] - run["majority"]


def _own_kept(run: Mapping[str, Any]) -> str | None:
    """Say how many positions kept their own activations under kind "resample"."""
    share = run.get("kept_own")
    return (
        None
        if share is None
        else f"{run['run']}: masked neurons keep their own activations at {100 * share:.1f}% of positions"
    )


def _weak(run: Mapping[str, Any]) -> str | None:
    """Say so if the unmasked model is not clearly better than the larger class, of which D is a share."""
    if run["interval"][0] > run["majority"]:
        return None
    than = none_better(run["accuracy"], run["majority"])
    cost = "no D" if _above_guessing(run) <= 0 else "D divides by a small and uncertain number"
    return (
        f"{run['run']}: the unmasked accuracy {run['accuracy']:.4f} (95%: {span(run['interval'])}) is {than} the larger "
        f"class's share {run['majority']:.4f}: {cost}"
    )


def setting(document: Mapping[str, Any]) -> str:
    """Describe the masks in words."""
    low, high = document["layers"]
    alpha = "" if document["alpha"] is None else f" (alpha {document['alpha']:g})"
    where = f"layers {low}:{high}, split {document['split']}, {document['dtype']}"
    return f"mask{quoted(document['name'])} {document['kind']}{alpha}, {where}, {document['controls']} random sets"


def set_name(fraction: float | None) -> str:
    return "fixed set" if fraction is None else f"{fraction:g}"


def signed(ends: Sequence[float]) -> str:
    low, high = ends
    return f"{low:+.3f} – {high:+.3f}"


def runs_of(file: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the complete runs that an interrupted command left in ``file``.

    Raises :class:`InputError` if its settings were others.
    """
    if not stands(file):
        return []
    stored = documents.read(file, "off-target", OffTargetDocument, "--overwrite replaces it", old_too=False)
    refuse_differences(file, _settings(stored), _settings(document), ANEW)
    return stored["runs"]


def refuse_other_run(file: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises :class:`InputError` if a stored run's prompt, data or means are not those of the run with its name now."""
    was, asked = ({**resumed(run["provenance"]), "mean": run["mean"]} for run in (stored, now))
    was, asked = ({f"{stored['run']}'s {name}": value for name, value in of.items()} for of in (was, asked))
    refuse_differences(file, was, asked, ANEW)


def read_off_target(file: Path) -> dict[str, Any]:
    """Read a JSON file of ``skn mask --on``. Raises :class:`InputError` if the file is damaged."""
    again = "run 'skn mask --on' with --overwrite again"
    return documents.read(file, "off-target", OffTargetDocument, again, old_too=False)


def _settings(document: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that must be equal to resume a file."""
    named = {name: document[name] for name in SETTINGS} | {"digest of the neurons": document["neurons"]["digest"]}
    return named | {f"run's {name}": value for name, value in resumed(document["provenance"]).items()}
