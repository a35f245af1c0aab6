"""Standard output: tables, and lines that fit it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Drawn

from skn.tables import Table

# A file or a pipe has no width of its own; at rich's 80 columns a table of a searchlight loses its names.
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)


def show(table: Table) -> None:
    """A table on standard output; numbers to the right."""
    drawn = Drawn(title=table.title, title_justify="left")
    for i, name in enumerate(table.columns):
        drawn.add_column(name, justify="left" if i == 0 else "right")
    for row in table.written():
        drawn.add_row(*row)
    console.print(drawn)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table whose cells are text already."""
    show(Table(title, columns, rows))
