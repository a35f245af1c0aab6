"""``skn select --rsa``: for each attribute the best neurons over all layers, at several counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skn.console import show
from skn.rsa.cut_sets import cut_sets


def select_rsa(rsa: Path, counts: list[int], out: Path, attributes: list[str] | None = None, **options: Any) -> Path:
    """Write the folder of neuron sets, and print how many neurons of the largest set each layer holds."""
    show(cut_sets(rsa, counts, out, attributes, **options))
    return out
