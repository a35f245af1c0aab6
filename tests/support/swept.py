"""The command line of a small sweep: two emotions, two seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emotions_data import write_tsv
from options import replaced

from skn.runs.sweep import Cell

CELLS = [Cell(f"goemotions/{name}", seed) for name in ("joy", "love") for seed in (1, 2)]


@pytest.fixture(scope="session")
def emotions(tmp_path_factory) -> Path:
    return write_tsv(tmp_path_factory.mktemp("emotions"))


@pytest.fixture(scope="session")
def sweep_arguments(tiny, emotions) -> Callable[..., list]:
    """``sweep_arguments(out, *options)``: a sweep of four cells. A repeated option overrides the default."""

    def make(out, *options) -> list:
        given = ["sweep", "--tasks", "goemotions/joy,goemotions/love", "--seeds", "1,2", "--backbone", tiny("roberta"),
                 "--data", emotions, "--prompt-length", 4, "--lr", 0.05, "--epochs", 2, "--batch-size", 16,
                 "--eval-every", 3, "--out", out]  # fmt: skip
        return replaced(given, options)

    return make
