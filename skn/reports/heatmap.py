"""Draw a matrix as coloured cells, with numbers in the cells if the numbers are readable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from skn.reports.drawing import GREY

# Blue is below the centre, orange above. People with any common colour blindness can tell them apart, and the numbers
# have signs.
DIVERGING = LinearSegmentedColormap.from_list("blue-orange", ["#00497A", "#5AA5D6", "#F7F7F7", "#EE9447", "#8F3D00"])
ABSENT = "#FFFFFF"

# Sizes of a number in a cell, in points. Smaller numbers are not readable at page width; larger ones compete with the
# labels.
SMALLEST, LARGEST = 5.6, 7.5
_DIGIT = 0.62  # a digit's width, relative to its height
_LABELS = 75  # characters of 7.5 points that fit side by side under the cells of a figure as wide as the page


def draw_cells(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], colours: Colormap, norm: Normalize
) -> AxesImage:
    """Draw ``values`` [row, column] as cells; NaN stays white.

    After the layout, :func:`write_numbers` adds the numbers.
    """
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    axes.set_facecolor(ABSENT)
    upright = len(columns) * (1 + max(map(len, columns), default=0)) <= _LABELS
    axes.set_xticks(range(len(columns)), columns, rotation=0 if upright else 55, ha="center" if upright else "right")
    axes.set_yticks(range(len(rows)), rows)
    for label in axes.get_xticklabels():
        label.set_rotation_mode("anchor")
    axes.tick_params(length=0, labelsize=7.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    # White lines between cells separate neighbours of one colour.
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(visible=True, which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    return image


def write_numbers(figure: Figure, panels: Sequence[tuple[Axes, AxesImage, Callable[[float], str]]]) -> None:
    """Write each panel's numbers in the panel's own form.

    A panel gets no numbers if its longest number does not fit a cell.
    """
    figure.draw_without_rendering()  # only the layout fixes the sizes of the cells
    for axes, image, form in panels:
        values = image.get_array()
        texts = [["" if hidden else form(value) for value, hidden in zip(*row, strict=True)] for row in _rows(values)]
        size = _font_size(figure, axes, values.shape, max((len(t) for row in texts for t in row), default=0))
        if size is None:
            continue
        colours = image.cmap(image.norm(values))
        for (r, c), _ in np.ndenumerate(np.ma.getdata(values)):
            axes.text(c, r, texts[r][c], ha="center", va="center", size=size, color=_ink(colours[r, c]))


def colour_bar(
    figure: Figure, drawn: ScalarMappable, axes: Axes | Sequence[Axes], label: str, **options: Any
) -> Colorbar:
    """Draw a slim bar to the right of ``axes``. Numbers in the cells are more exact than the bar."""
    bar = figure.colorbar(drawn, ax=axes, fraction=0.02, pad=0.01, aspect=40, **options)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def mark_cell(axes: Axes, row: int, column: int, hatch: str) -> None:
    """Hatch a cell that has no value."""
    box = Rectangle(
        (column - 0.485, row - 0.465), 0.97, 0.93, facecolor="#EDEDED", edgecolor=GREY, hatch=hatch, linewidth=0
    )
    axes.add_patch(box)


def _rows(values: np.ma.MaskedArray):
    return zip(np.ma.getdata(values), np.ma.getmaskarray(values), strict=True)


def _font_size(figure: Figure, axes: Axes, shape: tuple[int, int], characters: int) -> float | None:
    """Return the size in points at which the longest number fits its cell; None if this is below :data:`SMALLEST`."""
    box, rows, columns = axes.get_window_extent(), *shape
    points = 72 / figure.dpi
    fits = min(0.72 * box.height * points / rows, 0.86 * box.width * points / columns / max(characters * _DIGIT, 1))
    return None if fits < SMALLEST else min(fits, LARGEST)


def _ink(colour: np.ndarray) -> str:
    """Return black or white, whichever has more contrast to the colour (relative luminance)."""
    linear = np.where(colour[:3] <= 0.04045, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"
