"""Standard output: tables and lines that fit it; with --json one document of the tables and nothing else."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from skn.tables import Format, Table
from skn.texts import json_safe, shown, spelled

# A file or a pipe has no width of its own; at rich's 80 columns a table of a searchlight loses its names.
WIDTH = None if (sys.stdout and sys.stdout.isatty()) or "COLUMNS" in os.environ else 140


class PlainConsole(Console):
    """A console to which no text is markup, for names and paths may have brackets and colons.

    Control characters are shown, and what the output's encoding lacks is spelled.
    """

    def render_str(self, text: str, **named: Any) -> Text:
        return super().render_str(spelled(shown(text), self.encoding), **{**named, "markup": False, "emoji": False})


class PlainFormatter(logging.Formatter):
    """Messages of the log with control characters shown."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


console = PlainConsole(width=WIDTH)  # results
notes = PlainConsole(width=WIDTH)  # what is said about the work: --quiet leaves it out

_collected: list[dict[str, Any]] | None = None  # the tables printed so far, where they become JSON


def say(line: object, style: str | None = None) -> None:
    """A line about the work, as it is: not cut to the width, nothing in it is markup."""
    notes.print(str(line), style=style, soft_wrap=True, highlight=False)


def tell(line: object) -> None:
    """A line of the results, not cut to the width either."""
    console.print(str(line), soft_wrap=True)


def show(table: Table) -> None:
    """A table on standard output, numbers to the right."""
    if _collected is not None:
        if not console.quiet:
            _collected.append(table.plain())
        return
    drawn = Drawn(title=table.title, title_justify="left")
    for i, name in enumerate(table.columns):
        drawn.add_column(name, justify="left" if i == 0 else "right")
    for row in table.written():
        drawn.add_row(*row)
    console.print(drawn)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    formats: Mapping[str, Format] | None = None,
) -> None:
    """Show the table of these parts."""
    show(Table(title, columns, rows, formats or {}))


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
    escape = not console.encoding.startswith("utf")
    return None if tables is None else json_safe(json.dumps({"tables": tables}, ensure_ascii=escape))
