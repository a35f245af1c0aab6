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
    """Train into ``out``, which must not exist or be a run that ``overwrite`` gives up. Raises :class:`InputError`."""
    library.start(request, out, overwrite)
    return _say(Run.open(out))


def resume(out: Path, said: Mapping[str, Any] | None = None) -> Run:
    """Continue the training in ``out``; ``said`` is what the user says beside what is stored there."""
    if library.resume(out, said) is None:
        run = Run.open(out)
        tell(f"{out}: training is complete (validation accuracy {run.training['best_accuracy']:.4f})")
        return run
    return _say(Run.open(out))


def _say(run: Run) -> Run:
    config, training = run.config, run.training
    tell(
        f"{run.path}: validation accuracy {training['best_accuracy']:.4f} at step {training['best_step']} "
        f"({config.method}, {config.dtype}, {run.validation_rows()} examples)"
    )
    return run
