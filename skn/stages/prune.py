"""``skn prune``: keep the best neurons of each layer and write the smaller model as a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.console import show
from skn.inference.compute import Compute
from skn.pruned import prune as library
from skn.pruned.int8 import check as check_int8
from skn.pruned.int8 import stored_int8
from skn.pruned.prune import KIND, check_freeze, read_prune
from skn.pruned.retune import stored_standing
from skn.pruned.written import check, onnx_table
from skn.runs.run import Run, timed
from skn.tables import Table


@dataclass(frozen=True, kw_only=True)
class PruneRequest:
    """The options of ``skn prune``; ``fraction`` or ``count`` for a ranking, neither for a fixed set."""

    neurons: Path | None = None
    fraction: float | None = None
    count: int | Sequence[int] | None = None
    layers: range | None = None
    thresholds: Path | None = None
    freeze: str = "mean"
    retune: int | None = None
    portable: bool = False
    onnx: bool = False
    int8: bool = False
    no_plain: bool = False
    stock: bool = False
    compute: Compute = Compute(device="cpu")


def prune(run_path: Path, request: PruneRequest, out: Path | None = None, overwrite: bool = False) -> Path:
    """Write the pruned model to ``out`` (default ``RUN/pruned``) and ``prune.json`` beside the run's files.

    ``onnx`` adds ``model.onnx``, which is refused if it does not answer as the model does.
    """
    run = Run.open(run_path)
    out = out or run.path / "pruned"
    check(out, KIND, overwrite, request.onnx, run.config.dtype)
    check_int8(request.int8, request.no_plain, request.onnx)
    check_freeze(request.freeze, request.thresholds)
    loaded = run.load(request.compute)
    asked = {name: value for name, value in vars(request).items() if name != "compute"}
    with timed(run_path, "prune"):
        library.prune(loaded, **asked, out=out, overwrite=overwrite)
    present = loaded.model.backbone.present.sum(dim=1).tolist()
    for table in _tables(out, present, read_prune(run.path / "prune.json")):
        show(table)
    return out


def _tables(out: Path, present: list[int], summary: dict[str, Any]) -> list[Table]:
    rows = [[layer, *widths] for layer, widths in enumerate(zip(present, summary["widths"], strict=True))]
    before, after = summary["parameters_before"], summary["parameters_after"]
    tables = [
        Table(f"Pruned model {out}", ["layer", "neurons before", "after"], rows),
        Table(
            "Parameters", ["before", "after", "left"], [[before, after, after / before]],
            {"before": ",", "after": ",", "left": ".1%"},
        ),
    ]  # fmt: skip
    if summary["validation"]:
        tables.append(stored_standing(summary["validation"]).table())
    if summary["int8"]:
        tables.append(stored_int8(summary["int8"]).table())
    if summary["onnx"]:
        tables.append(onnx_table(summary["onnx"]))
    return tables
