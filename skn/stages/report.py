"""``skn report``: figures and one self-contained HTML page of a run, a sweep or a searchlight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skn.console import say
from skn.errors import InputError
from skn.reports.compare import report_runs
from skn.reports.read_run import report as of_run
from skn.reports.read_sweep import report_rsa, report_sweep

FORMS = {"run": of_run, "sweep": report_sweep, "rsa": report_rsa}


def report(path: Path, form: str = "run", data: str | None = None) -> Path:
    """Write the page and its pictures into the folder that they show. Returns the page. ``form`` is one of
    :data:`FORMS`.

    ``data`` is where a run's data is now, if it was moved.
    """
    page = FORMS[form](path, *([data] if form == "run" else []))
    say(f"wrote {page}")
    return page


def compare(runs: Sequence[Path], out: Path | None) -> Path:
    """Write a page with several runs side by side, and its pictures, into ``out``. Returns the page."""
    if out is None:
        raise InputError("--out is needed with several runs: the folder for the page that compares them")
    page = report_runs(runs, out)
    say(f"wrote {page}")
    return page
