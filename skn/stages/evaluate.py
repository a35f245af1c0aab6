"""``skn evaluate``: accuracy of the full and the pruned model on a split and, on request, their speed side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skn.console import show
from skn.inference.compute import AS_TRAINED, Compute
from skn.pruned import evaluation as library
from skn.runs.run import Run, timed
from skn.store.output import refuse_existing


def evaluate(
    run_path: Path,
    models: Sequence[Path] = (),
    split: str = "test",
    *,
    repeats: int | None = None,
    compute: Compute = AS_TRAINED,
    overwrite: bool = False,
) -> Path:
    """Write ``evaluate-<split>.json`` and print it. ``models`` are pruned folders; default: the run's own, if any."""
    run = Run.open(run_path)
    library.check(repeats)
    out = run.path / f"evaluate-{split}.json"
    refuse_existing([out], overwrite)
    loaded = run.load(compute)
    own = run.path / "pruned"
    folders = models or ([own] if own.is_dir() else [])
    with timed(run_path, f"evaluate-{split}"):
        evaluation = library.evaluate(
            loaded, folders, split, repeats=repeats, compute=compute, out=out, overwrite=overwrite
        )
    show(evaluation.table())
    return out
