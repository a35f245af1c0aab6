"""Standard output: tables, and lines that fit it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

# A file or a pipe has no width of its own; at rich's 80 columns a table of a searchlight loses its names.
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row))
    console.print(table)
