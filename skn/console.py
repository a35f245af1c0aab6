"""Standard output: tables and lines that fit its width; with --json, one document with the tables and nothing else."""

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

# A file or a pipe has no width of its own. At rich's default of 80 columns, a table of a searchlight would lose its
# names.
WIDTH = None if (sys.stdout and sys.stdout.isatty()) or "COLUMNS" in os.environ else 140


class PlainConsole(Console):
    """A console on which no text is markup, because names and paths may have brackets and colons.

    Control characters are shown escaped. Characters that the output's encoding lacks are replaced.
    """

    def render_str(self, text: str, **named: Any) -> Text:
        return super().render_str(spelled(shown(text), self.encoding), **{**named, "markup": False, "emoji": False})


class PlainFormatter(logging.Formatter):
    """Formats log messages with control characters shown escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


console = PlainConsole(width=WIDTH)  # results
notes = PlainConsole(width=WIDTH)  # lines about the work, which --quiet leaves out

_collected: list[dict[str, Any]] | None = None  # the tables so far, if they become JSON


def say(line: object, style: str | None = None) -> None:
    """Print a line about the work, uncut and without markup."""
    notes.print(str(line), style=style, soft_wrap=True, highlight=False)


def tell(line: object) -> None:
    """Print a line of the results, uncut."""
    console.print(str(line), soft_wrap=True)


def show(table: Table) -> None:
    """Print a table on standard output, with numbers aligned to the right."""
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
    """Show a table made of these parts."""
    show(Table(title, columns, rows, formats or {}))


def shown_width() -> int | None:
    """Return how many characters wide a table may be; None if it becomes JSON."""
    return console.width if _collected is None else None


def collect_tables() -> None:
    """Collect tables for :func:`take_document` from now on, and print lines on standard error."""
    global _collected
    _collected = []
    console.stderr = notes.stderr = True


def take_document() -> str | None:
    """Return the collected tables as JSON, and stop collecting. None if tables were not collected."""
    global _collected
    tables, _collected = _collected, None
    console.stderr = notes.stderr = False
    escape = not console.encoding.startswith("utf")
    return None if tables is None else json_safe(json.dumps({"tables": tables}, ensure_ascii=escape))
