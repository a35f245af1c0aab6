"""``skn predict``: predict the classes of new texts with a run's model or a pruned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from skn.console import say, show, shown_width
from skn.errors import InputError
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.predictions import counted
from skn.pruned import predict as library
from skn.runs.run import Run


def predict(
    place: Path,
    is_run: bool,
    texts: Sequence[str] | None,
    data: Path | None,
    columns: Mapping[str, str],
    *,
    out: Path | None = None,
    compute: Compute = AS_TRAINED,
    overwrite: bool = False,
) -> None:
    """Print the predictions of a run or of a pruned folder for texts or for a file, and write them to ``out``.

    ``place`` is the folder of the run or the pruned model. The run's own data is not read. ``columns`` have the names
    of the Python face.
    """
    library.check_out(out, overwrite)
    if not is_run and (place / "run.json").is_file():
        raise InputError(f"--model {place}: a run; give it with --run")
    model = Run.open(place).load(compute, rows=False) if is_run else place
    found = library.predict(model, texts, data=data, **columns, compute=compute, out=out, overwrite=overwrite)
    if out is not None:
        say(f"wrote {out}")
    if shown_width() is None:
        show(found.table())
        return
    table = found.short()
    show(table)
    if len(table) < len(found):
        say(f"{counted(len(found) - len(table), 'text')} more" + ("" if out else "; --out FILE.csv writes all"))
