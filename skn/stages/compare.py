"""``skn compare``: whether tasks share neurons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skn.console import say, show
from skn.reports.comparison_page import write_comparison
from skn.runs import compare as library
from skn.store import folders


def compare(
    runs: Sequence[Sequence[Path]], options: dict[str, Any], out: Path | None = None, overwrite: bool = False
) -> None:
    """Print the tables of :func:`skn.runs.compare.compare`; into ``out`` write ``compare.json`` and a page.

    ``runs`` holds the seeds of each task.
    """
    if out is not None:
        folders.refuse_occupied(out, "comparison", overwrite)
    found = library.compare(*runs, **options)
    show(found.table())
    show(found.by_layer())
    if out is not None:
        say(f"wrote {write_comparison(out, found)}")
