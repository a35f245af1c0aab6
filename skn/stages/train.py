"""``skn train``: tune a prompt, the biases or adapters over a frozen backbone, into a new run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.console import tell
from skn.runs import tune as library
from skn.runs.prepare import TrainRequest
from skn.runs.run import Run


def train(request: TrainRequest, out: Path, overwrite: bool = False) -> Run:
    """Train into ``out``, which must not exist, or must be a run that ``overwrite`` replaces.

    Raises :class:`InputError`.
    """
    library.start(request, out, overwrite)
    return _say(Run.open(out))


def resume(out: Path, said: Mapping[str, Any] | None = None) -> Run:
    """Continue the training in ``out``. ``said`` holds the options that the user gives beside ``--resume``."""
    is_new = library.resume(out, said) is not None
    return _say(Run.open(out), "" if is_new else "training is complete; ")


def _say(run: Run, before: str = "") -> Run:
    tell(f"{run.path}: {before}{library.summed_up(run.config, run.outcome())}")
    return run
