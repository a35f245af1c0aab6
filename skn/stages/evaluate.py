"""``skn evaluate``: accuracy of the full and the pruned model on a split or another file and, on request, their speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skn.console import say, show
from skn.errors import InputError
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.predictions import csv_of
from skn.inference.processes import everywhere
from skn.pruned import evaluation as library
from skn.pruned.predict import check_out
from skn.runs.moved import is_another
from skn.runs.run import Run, timed
from skn.store import atomic
from skn.store.folders import mark_of
from skn.store.output import refuse_existing
from skn.store.provenance import compare_provenance


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The options of ``skn evaluate``. ``models`` are pruned folders, by default the run's own folder if it exists.

    ``data`` is another labelled file, or the run's own data at its new place. ``columns`` describe another file, by the
    names of the Python face.
    """

    models: Sequence[Path] = ()
    split: str | None = None
    data: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    predictions: Path | None = None
    repeats: int | None = None
    compute: Compute = AS_TRAINED
    name: str | None = None


def evaluate(run_path: Path, request: EvaluateRequest, overwrite: bool = False) -> Path:
    """Write ``evaluate-<split>[-<name>].json``, or ``evaluate-data-<name of the file>[@<name>].json``, and print it."""
    run = Run.open(run_path)
    library.check(request.repeats)
    other, compute = _other_file(run, request)
    split = request.split or "test"
    out = library.evaluation_file(run.path, split, other, request.name)
    refuse_existing([out], overwrite, name_option=True)
    check_out(request.predictions, overwrite, "--predictions")
    loaded = everywhere(run.load, compute)
    folders = request.models or _own_models(run, loaded.provenance)
    asked = {"data": other, "repeats": request.repeats, "compute": compute, "name": request.name, **request.columns}
    with timed(run_path, out.stem):
        evaluation = library.evaluate(loaded, folders, split, **asked, out=out, overwrite=overwrite)
    if request.predictions is not None:
        atomic.write_text(request.predictions, csv_of(evaluation.predictions))
        say(f"wrote {request.predictions}")
    show(evaluation.table())
    return out


def _own_models(run: Run, provenance: Mapping[str, Any]) -> list[Path]:
    """Return the run's folder ``pruned`` if it exists. Raises :class:`InputError` if it was pruned from another run."""
    folder = run.path / "pruned"
    mark = mark_of(folder)
    origin = ((mark.about if mark else None) or {}).get("provenance")
    if isinstance(origin, dict):
        way_out = f"'skn prune --overwrite' makes it again, --model {folder} evaluates it all the same"
        compare_provenance(origin, provenance, str(folder), other=str(run.tuned_file), way_out=way_out)
    return [folder] if folder.is_dir() else []


def _other_file(run: Run, request: EvaluateRequest) -> tuple[str | None, Compute]:
    """Return the file that replaces a split, if there is one, and how to load the run. Raises :class:`InputError`."""
    if request.data is not None and is_another(run, request.data):
        if request.split is not None:
            raise InputError(
                f"--split: {request.data} is another file than the run's data and has no splits; leave it out"
            )
        return request.data, request.compute
    if request.columns:
        raise InputError(
            "--data: columns go with another file than the run's data; leave them out, or give such a file"
        )
    return None, replace(request.compute, data=request.data)
