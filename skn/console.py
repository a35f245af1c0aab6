"""Standard output: tables and lines that fit it; with --json one document of the tables and nothing else."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

# A file or a pipe has no width of its own; at rich's 80 columns a table of a searchlight loses its names.
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140
console = Console(width=WIDTH)  # results
notes = Console(width=WIDTH)  # what is said about the work: --quiet leaves it out

# How a column's values are shown: a format specification, ".4f", or a function of the value.
Format = str | Callable[[Any], str]

_collected: list[dict[str, Any]] | None = None  # the tables printed so far, where they become JSON


def say(line: object, style: str | None = None) -> None:
    """A line about the work, as it is: not cut to the width, nothing in it is markup."""
    notes.print(str(line), style=style, soft_wrap=True, highlight=False, markup=False)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    formats: Mapping[str, Format] | None = None,
) -> None:
    """A table on standard output, numbers to the right; None is a dash.

    ``rows`` hold plain values, which JSON has as they are; ``formats`` says how those of a column are shown.
    """
    if _collected is not None:
        if not console.quiet:
            plain = [[_plain(value) for value in row] for row in rows]
            _collected.append({"title": title, "columns": list(columns), "rows": plain})
        return
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(shown(value, (formats or {}).get(name)) for name, value in zip(columns, row, strict=True)))
    console.print(table)


def shown_width() -> int | None:
    """How many characters a table may have; None where it becomes JSON."""
    return console.width if _collected is None else None


def collect_tables() -> None:
    """From now on tables are kept for :func:`take_document`, and lines go to standard error."""
    global _collected
    _collected = []
    console.stderr = notes.stderr = True


def take_document() -> str | None:
    """The tables kept since :func:`collect_tables` as JSON, and the end of keeping them; None where none are kept."""
    global _collected
    tables, _collected = _collected, None
    console.stderr = notes.stderr = False
    return None if tables is None else json.dumps({"tables": tables}, ensure_ascii=False)


def interval(ends: Sequence[float]) -> str:
    """[0.7012, 0.729] → "0.7012 – 0.7290" """
    low, high = ends
    return f"{low:.4f} – {high:.4f}"


def listed(values: Sequence[object]) -> str:
    """[3, 12] → "3,12" """
    return ",".join(map(str, values))


def shown(value: object, how: Format | None) -> str:
    """A value as the table has it; a text stands as it is: a cell's state may stand in a column of numbers."""
    if value is None:
        return "–"
    if how is None or isinstance(value, str):
        return str(value)
    return how(value) if callable(how) else format(value, how)


def _plain(value: Any) -> Any:
    """What JSON has for a value: numpy's numbers as Python's, NaN and infinity as null, paths as texts."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
