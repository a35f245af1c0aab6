"""Small multiples: a panel for each attribute, on common axes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from skn.reports.drawing import WIDTH, shorten


def small_multiples(count: int, height: float, x: str, y: str, shared: bool = True) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``count`` panels, row by row, each ``height`` inches high.

    With ``shared``, the panels share their axes.
    """
    columns = min(count, 4 if count > 9 else 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.75 + height * rows))
    grid = figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False)
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[max(count - columns, 0) : count]:  # the panels with no panel below them
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(x)
    for axes in grid[:, 0]:
        axes.set_ylabel(y)
    return figure, list(grid.flat[:count])


def panel(axes: Axes, name: str, tops: Sequence[int]) -> None:
    """Style one of the small multiples, with the k of ``tops`` along its x axis."""
    axes.set_title(shorten(name, 22))
    # A locator leaves out whole numbers that are close together.
    few = len(tops) <= 3
    axes.xaxis.set_major_locator(FixedLocator(tops) if few else MaxNLocator(integer=True, nbins=4))
    axes.tick_params(labelsize=7.5)
