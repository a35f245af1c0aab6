"""``skn report``: figures and one self-contained HTML page of a run, a sweep or a searchlight."""

from __future__ import annotations

from pathlib import Path

from skn.console import say
from skn.reports.read_run import report as of_run
from skn.reports.read_sweep import report_rsa, report_sweep

FORMS = {"run": of_run, "sweep": report_sweep, "rsa": report_rsa}


def report(path: Path, form: str = "run") -> Path:
    """Write the page and its pictures beside what they show; returns the page. ``form`` is one of :data:`FORMS`."""
    page = FORMS[form](path)
    say(f"wrote {page}")
    return page
