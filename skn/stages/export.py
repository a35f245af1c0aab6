"""``skn export``: write a run's model, full or pruned, as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from skn.console import show
from skn.inference.compute import Compute
from skn.pruned import export as library
from skn.pruned.int8 import check as check_int8
from skn.pruned.int8 import stored_int8
from skn.pruned.written import check, onnx_table
from skn.runs.run import Run, timed
from skn.store import folders
from skn.tables import Table, span


def export(
    run_path: Path,
    out: Path,
    *,
    compute: Compute,
    portable: bool = False,
    onnx: bool = False,
    int8: bool = False,
    no_plain: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the model to ``out`` and print its accuracy on validation."""
    run = Run.open(run_path)
    check(out, library.KIND, overwrite, onnx, run.config.dtype)
    check_int8(int8, no_plain, onnx)
    loaded = run.load(compute)
    with timed(run_path, "export"):
        asked = {"portable": portable, "onnx": onnx, "int8": int8, "no_plain": no_plain}
        library.export(loaded, out, **asked, overwrite=overwrite)
    summary = folders.read_mark(out).about
    reached = summary["validation"]
    formats = {"parameters": ",", "accuracy on validation": ".4f", "95% interval": span, "AUC": ".4f",
               "the larger class alone": ".4f"}  # fmt: skip
    row = [summary["parameters"], *(reached[name] for name in ("accuracy", "interval", "auc", "majority"))]
    show(Table(f"Exported model {out}", list(formats), [row], formats))
    if summary["int8"]:
        show(stored_int8(summary["int8"]).table())
    if "onnx" in summary:
        show(onnx_table(summary["onnx"]))
    return out
