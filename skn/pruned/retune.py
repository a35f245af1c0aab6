"""Tune the prompt of a pruned model again, because the first prompt was tuned with neurons that are removed."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.engine import choose_engine, predict
from skn.inference.loaded import LoadedRun
from skn.inference.measures import Score, majority
from skn.intervals import none_better
from skn.model.portable.modeling_skn import PROMPT_TENSORS
from skn.model.tuned import TunedModel
from skn.tables import Table, span
from skn.training import trainer
from skn.training.outcome import TrainResult
from skn.training.settings import DEFAULT_LR, TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """Scores of a pruned model on validation: after pruning, after tuning again, and of always giving the larger class."""

    majority: float
    pruned: Score
    retuned: Score | None = None

    @property
    def last(self) -> Score:
        return self.retuned or self.pruned

    def table(self) -> Table:
        """A table with one row for each score."""
        lines = [("the larger class alone", None), ("pruned", self.pruned), ("tuned again", self.retuned)]
        rows = [
            [name, *((self.majority, None, None) if score is None else vars(score).values())]
            for name, score in lines
            if score is not None or name.startswith("the")
        ]
        formats = {"accuracy": ".4f", "95% interval": span, "AUC": ".4f"}
        return Table("After pruning, on validation", ["", *formats], rows, formats)

    def advice(self, epochs: int | None) -> str | None:
        """Say what to do if the model is no better than guessing. ``epochs`` is the number of epochs to propose; None for a
        model without a prompt to tune."""
        if self.last.beats(self.majority):
            return None
        than = none_better(self.last.accuracy, self.majority)
        reached = f"{self.last.accuracy:.4f} on validation, {than} the larger class alone ({self.majority:.4f})"
        if self.retuned is None:
            mend = f"tune its prompt again with --retune {epochs}" if epochs else "keep more neurons"
            return f"the pruned model reaches {reached}: {mend}"
        return f"tuned again, the pruned model reaches {reached}: tune longer, or keep more neurons"


def stored_standing(stored: dict[str, Any]) -> Standing:
    """Read the scores from ``prune.json``."""
    scores = {name: stored[name] and Score(**stored[name]) for name in ("pruned", "retuned")}
    return Standing(stored["majority"], **scores)


def standing(run: LoadedRun, model: nn.Module, epochs: int | None = None) -> Standing:
    """Score a pruned model of a run. With ``epochs``, first tune its prompt again, in place.

    The better of the two prompts is kept. Raises :class:`InputError` for a model without a prompt to tune.
    """
    check_retune(run, epochs)
    validation = run.encoded("validation")
    guess, before = majority(validation.label), _score(model, validation)
    if not epochs:
        return Standing(guess, before)
    prompt = model.prompt.detach().clone()
    rising = _tune(run, model, validation, epochs).was_rising
    after = _score(model, validation)
    if rising and after.beats(guess):  # otherwise the advice says more
        log.info("accuracy still rose when the epochs ended: more may help (--retune %d)", 2 * epochs)
    if after.accuracy < before.accuracy:
        with torch.no_grad():
            model.prompt.copy_(prompt)
        after = before
    return Standing(guess, before, after)


def check_retune(run: LoadedRun, epochs: int | None) -> None:
    """Raises :class:`InputError` for a bad number of epochs, and for a run without a prompt to tune."""
    if epochs is None:
        return
    if not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"--retune {epochs}: a number of epochs, 1 or more")
    if run.template is not None:
        raise InputError("--retune: tunes a prompt, and a run by template has none; leave the option out")
    if run.model.prompt_length < 2:
        raise InputError(
            "--retune: tunes a prompt, and this run has the mask alone; 'skn train --backbone RUN/pruned --method bitfit' "
            "tunes the pruned model in another way"
        )


def _score(model: nn.Module, validation: Encoded) -> Score:
    logits = predict(model, validation, description="validation", engine=choose_engine(model.backbone))
    return Score.of(logits, validation.label)


def _tune(run: LoadedRun, model: nn.Module, validation: Encoded, epochs: int) -> TrainResult:
    train = run.encoded("train")
    batch = min(TrainSettings.batch_size, len(train))
    settings = TrainSettings(
        epochs=epochs,
        batch_size=batch,
        lr=DEFAULT_LR["prompt"],
        eval_every=max(1, -(-len(train) // batch) // 2),
        seed=run.provenance["seed"],
    )
    names = [name for name in PROMPT_TENSORS if hasattr(model, name)]  # a decoder has no mask
    held = {name: getattr(model, name).detach() for name in names}
    tuned = TunedModel.from_tensors(model.backbone, held, "prompt", model.config.position_start)
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        result = trainer.tune(tuned, train, validation, settings=settings, folder=Path(folder), resume=False)
    with torch.no_grad():
        model.prompt.copy_(tuned.prompt)
    for parameter, want in wanted.items():
        parameter.requires_grad_(want)
    return result
