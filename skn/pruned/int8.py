"""The int8 form of a pruned or exported model, and how far it answers as the plain model does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.engine import predict
from skn.inference.loaded import LoadedRun
from skn.inference.measures import Score
from skn.int8.convert import calibration_inputs, check_convertible
from skn.store.schemas import Share
from skn.tables import Table, span


@dataclass(frozen=True)
class Int8Standing:
    """A model in int8 on validation: its score, and the share of texts that get the label of the plain model.

    ``plain`` says whether the plain weights are kept beside the bytes.
    """

    score: Score
    same_labels: Share
    plain: bool

    def table(self) -> Table:
        """A table of one row."""
        formats = {"accuracy": ".4f", "95% interval": span, "AUC": ".4f", "labels as the plain model": ".2%"}
        weights = "int8 and plain" if self.plain else "int8"
        row = [weights, *vars(self.score).values(), self.same_labels]
        return Table("In int8, on validation", ["weights", *formats], [row], formats)


def check(int8: bool, no_plain: bool, onnx: bool) -> None:
    """Refuse options that do not go together, before a model is needed. Raises :class:`InputError`."""
    if no_plain and not int8:
        raise InputError("--no-plain: leaves the plain weights out of a folder with --int8; give both, or neither")
    if int8 and onnx:
        raise InputError("--int8: ONNX files hold float32; leave one of --int8 and --onnx out")


def check_model(model: PreTrainedModel, int8: bool) -> None:
    """Refuse a model that has no int8 form, before its prompt is tuned again. Raises :class:`InputError`."""
    if int8:
        check_convertible(model.backbone, "--int8", "; leave it out")


def to_int8(run: LoadedRun, model: PreTrainedModel, keep_plain: bool) -> Int8Standing:
    """Convert a model of a run in place, calibrated on the run's train split."""
    validation = run.encoded("validation")
    plain = predict(model, validation, description="validation")
    model.converted(calibration_inputs(model, run.encoded("train")), keep_plain)
    found = predict(model, validation, description="validation")
    same = (found.argmax(dim=1) == plain.argmax(dim=1)).to(torch.float64).mean().item()
    return Int8Standing(Score.of(found, validation.label), same, keep_plain)


def stored_int8(stored: dict[str, Any]) -> Int8Standing:
    """Read the standing from ``prune.json`` or from a folder's mark."""
    return Int8Standing(Score(**stored["score"]), stored["same_labels"], stored["plain"])
