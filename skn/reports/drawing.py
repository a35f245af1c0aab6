"""The common parts of all figures: style, colours, PNG, and small parts of axes.

Figures are made without pyplot, in a style of their own: without global state and display, and with the same bytes
whatever the user's matplotlibrc says. The colours are from Okabe and Ito. If colour tells two things apart, line style,
marker or label tells them apart, too.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from skn.reports.numbers import Numbers

log = logging.getLogger(__name__)

# Okabe and Ito's palette without black, and without yellow, which is too light for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#6B6B6B"

_STYLE = {
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    # A class may have the name "$". Names are text and not formulas.
    "text.parse_math": False,
}
WIDTH = 7.2  # inches, the width of the page
_LEGEND = 102  # characters of a legend that fit side by side in a figure as wide as the page
PERCENT = FuncFormatter(lambda value, _place: f"{100 * value:.4g}%")


# If DejaVu Sans lacks a letter, matplotlib takes the first of these fonts that is installed and has the letter.
_OTHER_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei"),
    *("SimHei", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function in the style of all figures. Every function that draws or lays out a figure has this decorator."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with matplotlib.style.context(["default", {**_STYLE, "font.family": _fonts()}]), _letters_noted():
            return draw(*args, **kwargs)

    return wrapper


@functools.cache
def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed)]


@contextlib.contextmanager
def _letters_noted() -> Iterator[None]:
    """Turn matplotlib's warnings about letters that no font has into one line of the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = [warning for warning in caught if re.match("Glyph .* missing", str(warning.message))]
    if missing:
        _say_missing()
    for warning in caught:
        if warning not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


@functools.cache
def _say_missing() -> None:
    """Say the line once for all figures."""
    log.info(
        "the figures show boxes for letters that no font here has (Noto Sans CJK has most); the tables show all names"
    )


@styled
def png(figure: Figure) -> bytes:
    """Return the figure as a PNG without a date or a version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@dataclass(frozen=True)
class Picture:
    """A figure in the page and, as ``name``.png, beside the page. ``name``.csv holds the numbers in the figure."""

    name: str
    figure: Figure
    alt: str
    numbers: Numbers

    @functools.cached_property
    def png(self) -> bytes:
        return png(self.figure)

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put a legend under the axes. Inside the axes, a legend could cover data."""
    handles, names = axes.get_legend_handles_labels()
    room = _LEGEND * figure.get_figwidth() / WIDTH
    columns = next((n for n in range(len(names), 1, -1) if _legend_width(names, n) <= room), 1)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, columnspacing=1.4)


def _legend_width(names: Sequence[str], columns: int) -> int:
    """Return the legend's width in characters, with a line of 7 characters before each column.

    Names run down the columns.
    """
    return sum(max(map(len, column)) + 7 for column in np.array_split(names, columns))


def shorten(name: str, width: int = 26) -> str:
    """Shorten a name so that it fits a legend. matplotlib's legends would hide a name with a leading underscore."""
    name = name if len(name) <= width else name[: width - 1] + "…"
    return f" {name}" if name.startswith("_") else name
