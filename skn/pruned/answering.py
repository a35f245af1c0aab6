"""The smaller language model of a run by template: a plain language model, which answers inside the template."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.templated import TemplatedModel
from skn.pruned.cutting import view
from skn.pruned.pruning import pruned_model
from skn.pruned.stock import stock_model


class Answering(TemplatedModel):
    """A language model with a run's label words, as one of the models that skn scores and evaluates."""

    def __init__(self, lm: PreTrainedModel | Backbone, run: LoadedRun):
        super().__init__(view(lm), run.model.label_ids)
        self.lm = self.backbone.model
        self.config = self.lm.config
        self.name_or_path = self.lm.name_or_path
        self.reader = run.reader


def smaller(run: LoadedRun, keep: Tensor, frozen: Tensor, freeze: str, stock: bool) -> PreTrainedModel:
    """Prune the language model of a run by template.

    :param frozen: [L, F] float64, the values at which the removed neurons are frozen.
    :param stock: make a model of the architecture's own class, which needs one width for all layers.
    """
    backbone = run.model.backbone
    if stock:
        return stock_model(backbone, keep, frozen, freeze=freeze)
    return pruned_model(backbone, keep, frozen, freeze=freeze)


def answering(model: nn.Module, run: LoadedRun) -> nn.Module:
    """Return the model as one that skn can score: a language model of a run by template gets the run's label words."""
    return Answering(model, run) if run.template is not None else model


def load_answering(folder: Path, run: LoadedRun, origin: dict) -> Answering:
    """Load a folder that ``skn prune`` wrote for a run by template. Raises :class:`InputError` for another template."""
    if origin.get("template") != run.template.written:
        raise InputError(
            f"{folder}: not made for the template {run.template.written!r}; give a folder that 'skn prune' made of a run by "
            "this template"
        )
    return Answering(Backbone.load(str(folder)), run)


def check_templated(run: LoadedRun, stock: bool, **asked: object) -> None:
    """Refuse what the language model of a run by template does not have, and ``stock`` for a tuned prompt.

    :param asked: options by name, which need a prompt inside the model.
    """
    if run.template is None:
        if stock:
            raise InputError(
                "--stock: a tuned prompt stands in no stock architecture; leave the option out, or prune a run by template"
            )
        return
    for name, value in asked.items():
        if value:
            raise InputError(
                f"--{name.replace('_', '-')}: a run by template has no prompt inside its model; leave the option out"
            )
