"""Read the marks of the pruned models in a run's folder: how many neurons each model kept, and its scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.pruned.int8 import stored_int8
from skn.pruned.prune import PruneDocument
from skn.reports.run_data import Kept
from skn.store import folders, schemas

LAST = "the last pruned model"


def read_kept(run: Path, identity: dict[str, Any], last: dict[str, Any] | None) -> list[Kept]:
    """Return the models that were pruned from this very run and were scored on validation.

    ``last`` is the content of ``prune.json``, whose model may be outside the run's folder. Raises :class:`InputError`
    for a damaged mark.
    """
    found = list(_inside(run, identity))
    if last is None or not last.get("validation"):
        return found
    outside = _kept(LAST, last)
    return found if any(replace(one, name=LAST) == outside for one in found) else [*found, outside]


def _inside(run: Path, identity: dict[str, Any]) -> Iterator[Kept]:
    for file in sorted(run.glob(f"*/{folders.MARK}")):
        mark = folders.read_mark(file.parent)
        about = mark.about or {}
        if mark.of != "pruned model" or not about.get("validation"):
            continue
        names = {field.name for field in fields(PruneDocument)}
        summary = {name: value for name, value in about.items() if name in names}
        problem = schemas.fault(PruneDocument, summary)
        if problem:
            raise InputError(f"{file}: damaged ({problem}); run 'skn prune --overwrite' again")
        if _tuned(about.get("provenance")) in (None, identity.get("tuned")):
            yield _kept(file.parent.name, summary)


def _tuned(provenance: Any) -> Any:
    return provenance.get("tuned") if isinstance(provenance, dict) else None


def _kept(name: str, summary: dict[str, Any]) -> Kept:
    standing = summary["validation"]
    pruned, retuned = (
        standing[way] and (standing[way]["accuracy"], *standing[way]["interval"]) for way in ("pruned", "retuned")
    )
    int8 = stored_int8(summary["int8"]) if summary.get("int8") else None
    return Kept(name, sum(summary["widths"]), pruned, retuned, standing["majority"], int8=int8)
