"""The page of a report: sections of text, figures and tables, rendered into one self-contained HTML file.

The page holds no date, so equal sections give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from skn.reports.drawing import Picture
from skn.reports.neuron_map import NeuronMap


@dataclass(frozen=True)
class Table:
    """A table of the page. ``numeric`` columns are aligned to the right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: range = range(0)


@dataclass(frozen=True)
class Section:
    """A section. ``text`` says what these data show. The template says, by ``anchor``, what figures mean and do not
    mean.

    ``shaded`` are texts with coloured tokens (:class:`skn.reports.exemplar_section.ShadedTexts`).

    A ``folded`` section shows only its title until the reader opens it.
    """

    anchor: str
    title: str
    text: list[str]
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    shaded: list[Any] = field(default_factory=list)
    folded: bool = False


def render(
    template: str,
    title: str,
    sections: Sequence[Section],
    card: Sequence[Any] = (),
    quotable: Any = None,
    neuron_map: NeuronMap | None = None,
) -> tuple[dict[str, bytes], str]:
    """Return the PNGs and csv files by name, and the page with the PNGs inside.

    ``card`` holds the slots at the top, and ``quotable`` the sentences below them
    (:class:`skn.reports.quotable.Quotable`). ``neuron_map`` stands below the sentences.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    layout = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, **layout)
    on_top = {"card": card, "quotable": quotable, "map": neuron_map}
    page = environment.get_template(template).render(title=title, sections=sections, **on_top)
    pictures = [picture for section in sections for picture in section.pictures]
    files = {f"{picture.name}.png": picture.png for picture in pictures}
    numbered = [*pictures, *(shaded for section in sections for shaded in section.shaded)]
    return files | {f"{one.name}.csv": one.numbers.csv for one in numbered}, page


def percent(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.1%}"


def from_to(ends: Sequence[float] | None) -> str:
    """Write an interval in words: "70.1% to 72.3%"."""
    return "–" if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"


def with_interval(value: float, ends: Sequence[float] | None) -> str:
    """Write an accuracy and, if it is known, its interval."""
    return percent(value) + ("" if ends is None else f" (95%: {from_to(ends)})")


def layer_span(document: dict[str, Any]) -> str:
    """Write layers: [3, 12] is half-open and means layers 3 to 11."""
    low, high = document["layers"]
    return f"{low} to {high - 1}" if high - low > 1 else f"{low}"


def facts(caption: str, values: dict[str, Any]) -> Table:
    """Make a table of names and values. A value that is no text is shown as JSON."""
    shown = {key: "–" if value is None else value for key, value in values.items()}
    rows = [(k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in shown.items()]
    return Table(caption, ["name", "value"], rows)
