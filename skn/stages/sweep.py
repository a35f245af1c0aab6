"""``skn sweep``: one run for each task and seed. A cell that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.console import say, show, shown_width
from skn.errors import SknError
from skn.runs import train_sweep as library
from skn.runs.grid import FAILED, Grid, grid_table
from skn.runs.sweep import Sweep
from skn.runs.workers import Placement


def sweep(asked: Sweep, placement: Placement, overwrite: bool = False) -> Sweep:
    """Train every cell and print the grid. Raises :class:`SknError` if cells failed or were interrupted."""
    return _show(library.train_sweep(asked, placement, overwrite))


def resume(path: Path, said: Mapping[str, Any], placement: Placement) -> Sweep:
    """Train the cells that are not done, and print the grid.

    ``said`` holds the options that the user gives beside ``--resume``.
    """
    return _show(library.resume_sweep(path, said, placement))


def _show(grid: Grid) -> Sweep:
    """Print the table of the grid and the cells that failed."""
    made = grid.sweep
    show(grid_table(grid, shown_width()))
    failed = grid.cells(FAILED)
    for cell in failed:
        say(f"failed: {cell}: {grid.failures[str(cell)]}")
    if failed:
        named = ", ".join(map(str, failed[:3])) + (", …" if len(failed) > 3 else "")
        raise SknError(
            f"{len(failed)} of {len(made.cells)} cells failed ({named}); "
            f"'skn sweep --resume --out {made.path}' tries them again"
        )
    return made
