"""The models that skn evaluates side by side: a run's own model and pruned models, on one device and in one dtype."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.engine import PromptedModel, choose_engine
from skn.inference.loaded import LoadedRun
from skn.int8.convert import compute_in_int8
from skn.model.backbone import DTYPES
from skn.model.placement import main_device
from skn.pruned.answering import answering, load_answering
from skn.pruned.folder import load_pruned
from skn.pruned.origins import differences, origin_in
from skn.pruned.pruning import full_count, parameter_count
from skn.store.digests import identity_of, of_json


@dataclass(frozen=True)
class Contestant:
    """A model in an evaluation.

    ``digest`` identifies its weights. ``origin`` says in words what it was made from, if this is not the run.
    """

    name: str
    model: PromptedModel
    parameters: int
    engine: str
    digest: str
    origin: str = ""

    def called(self, name: str) -> Contestant:
        """Return the model under a name that also says its origin, if this is not the run."""
        return replace(self, name=f"{name} ({self.origin})" if self.origin else name)


def all_of(loaded: LoadedRun, models: Sequence[Path | str | nn.Module], engine: str | None) -> list[Contestant]:
    """Return the run's own model and the others, each under a different name.

    Raises :class:`InputError`, also for a folder that is given twice.
    """
    _refuse_twice(models)
    found = [full(loaded), *(pruned(model, loaded, engine) for model in models)]
    short = [contestant.called(contestant.name) for contestant in found]
    names = [contestant.name for contestant in short]
    places = [None, *models]
    return [
        contestant.called(_apart(contestant.name, i, places[i])) if names.count(short[i].name) > 1 else short[i]
        for i, contestant in enumerate(found)
    ]


def _refuse_twice(models: Sequence[Path | str | nn.Module]) -> None:
    folders = [Path(model).resolve() for model in models if not isinstance(model, nn.Module)]
    for folder in folders:
        if folders.count(folder) > 1:
            raise InputError(f"--model {folder}: is given twice; give each folder once")


def _apart(name: str, number: int, place: Path | str | nn.Module | None) -> str:
    """Tell apart models of the same name: by the folder as the user gave it, or by the number in the list."""
    if place is None:
        return name
    if isinstance(place, nn.Module):
        return f"{name} {number}"
    folder = Path(place)
    return str(folder if len(folder.parts) > 1 else folder.resolve())  # "full" is the name of the run's own model


def full(loaded: LoadedRun) -> Contestant:
    """Return the run's own model."""
    origin = {name: loaded.provenance.get(name) for name in ("backbone_digest", "tuned")}
    return Contestant("full", loaded.model, full_count(loaded.model), loaded.engine, of_json(origin))


def pruned(model: Path | str | nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    """Return a pruned or exported model, or load one from its folder, on the run's device and in its dtype.

    Raises :class:`InputError`.
    """
    if not isinstance(model, nn.Module):
        folder = Path(model)
        made_from = origin_in(folder)
        if loaded.template is None and made_from.get("template"):
            raise InputError(
                f"{folder}: made of a run by template, and this run has a tuned prompt; give one made for this run"
            )
        model = load_pruned(folder) if loaded.template is None else load_answering(folder, loaded, made_from)
        origin = _told_apart(str(folder), model, made_from, loaded)
        return replace(_placed(folder.name, model, loaded, engine), origin=origin)
    if isinstance(model, PreTrainedModel) and loaded.template is not None:
        return _placed("pruned", answering(copy.deepcopy(model), loaded), loaded, engine)
    if not isinstance(model, PreTrainedModel) or not isinstance(model, PromptedModel):
        raise InputError(
            f"models: expected what skn.prune or skn.export returns, or its folder, not a {type(model).__name__}"
        )
    made_from = getattr(model, "origin", None) or origin_in(Path(model.name_or_path or ""))
    origin = _told_apart("models", model, made_from, loaded)
    return replace(
        _placed("pruned", copy.deepcopy(model), loaded, engine), origin=origin
    )  # a copy, so that the user's model stays as it is


def _told_apart(where: str, model: PreTrainedModel, made_from: Mapping[str, Any], loaded: LoadedRun) -> str:
    """Say how a model differs from the run, also that it alone is in int8."""
    found = differences(where, model, made_from, loaded)
    alone = model.backbone.int8 and loaded.provenance["dtype"] != "int8"
    return ", ".join([*([found] if found else []), *(["in int8"] if alone else [])])


def _placed(name: str, model: nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    digest = identity_of(model.state_dict())
    placed(model, loaded.provenance["device"], loaded.provenance["dtype"])
    if loaded.provenance["dtype"] == "int8":
        compute_in_int8(model, loaded.encoded("train"), name)
    return Contestant(name, model, parameter_count(model), choose_engine(model.backbone, engine), digest)


def placed(model: nn.Module, device: str, dtype: str) -> nn.Module:
    """Move a pruned model to a device and a dtype, in place."""
    model.bf16x3 = dtype == "bf16x3"
    return model.eval().to(device=main_device(device), dtype=DTYPES[dtype])
