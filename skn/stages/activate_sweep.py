"""``skn activate --sweep``: every neuron's activation at the first position, under the prompt of each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skn.console import say
from skn.runs.activate_sweep import activate_sweep as library


def activate_sweep(path: Path, emotions: list[str] | None = None, csv: Path | None = None, **options: Any) -> Path:
    """Write ``SWEEP/activations.safetensors`` and, on request, a folder of csv files, with the options of the library."""
    out = library(path, emotions, csv=csv, **options)
    for written in (out, csv):
        if written is not None:
            say(f"wrote {written}")
    return out
