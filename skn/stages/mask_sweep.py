"""``skn mask --sweep``: mask every run of a sweep with the sets of every attribute, beside matched random masks."""

from __future__ import annotations

from pathlib import Path

from skn.reports.mask_tables import write_tables
from skn.runs.mask_sweep import MaskSweepRequest
from skn.runs.mask_sweep import mask_sweep as masked
from skn.runs.workers import Placement


def mask_sweep(request: MaskSweepRequest, placement: Placement, overwrite: bool = False, resume: bool = False) -> Path:
    """Write ``SWEEP/masked/SETS/`` and print its tables.

    The folder gets a ``masked`` file for each cell and attribute, ``accuracy.csv`` and ``.parquet``, and
    ``specificity.json``. Raises :class:`InputError` before anything is written.
    """
    masked_sweep = masked(request, placement, overwrite, resume)
    write_tables(masked_sweep.cells, masked_sweep.sets, masked_sweep.settings)
    return masked_sweep.settings.out
