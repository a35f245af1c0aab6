"""``skn binarize``: balanced binary sub-tasks of a multi-class data set, as a ``datasets`` folder each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skn.console import show
from skn.data import binarize as library
from skn.data.spec import DataSpec


def binarize(spec: DataSpec, out: Path, one_vs_rest: bool = False, **options: Any) -> list[Path]:
    """Write the folders and print the number of rows of each. Returns the folders."""
    table = library.binarize(spec, out, one_vs_rest, **options)
    show(table)
    return [Path(row["folder"]) for row in table]
