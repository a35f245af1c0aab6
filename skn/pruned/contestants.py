"""The models that are evaluated side by side: a run's own and pruned ones, on one device and in one dtype."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.engine import PromptedModel, choose_engine
from skn.inference.loaded import LoadedRun
from skn.model.backbone import DTYPES
from skn.model.pretrained import load_tokenizer, resolve_device
from skn.pruned.folder import load_pruned
from skn.pruned.pruning import parameter_count
from skn.store.digests import identity_of, of_json
from skn.store.folders import mark_of


@dataclass(frozen=True)
class Contestant:
    """``digest`` tells its weights from others'."""

    name: str
    model: PromptedModel
    parameters: int
    engine: str
    digest: str


def all_of(loaded: LoadedRun, models: Sequence[Path | str | nn.Module], engine: str | None) -> list[Contestant]:
    """The run's own model and the others, each under a name of its own. Raises :class:`InputError`."""
    found = [full(loaded), *(pruned(model, loaded, engine) for model in models)]
    names = [contestant.name for contestant in found]
    places = [None, *models]
    return [
        replace(contestant, name=_apart(contestant.name, i, places[i]))
        if names.count(contestant.name) > 1
        else contestant
        for i, contestant in enumerate(found)
    ]


def _apart(name: str, number: int, place: Path | str | nn.Module | None) -> str:
    """A name for one of several models that are called the same: the folder as it was given, or the place in the list."""
    if place is None:
        return name
    return f"{name} {number}" if isinstance(place, nn.Module) else str(place)


def full(loaded: LoadedRun) -> Contestant:
    """The run's own model."""
    backbone = loaded.model.backbone
    module = backbone.base if backbone.headless else backbone.model
    parameters = parameter_count(module) + loaded.model.prompt.numel()
    origin = {name: loaded.provenance.get(name) for name in ("backbone_digest", "tuned")}
    return Contestant("full", loaded.model, parameters, loaded.engine, of_json(origin))


def pruned(model: Path | str | nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    """A pruned or exported model, or the folder of one, on the device and in the dtype of the run; raises :class:`InputError`."""
    if isinstance(model, nn.Module):
        if not isinstance(model, PreTrainedModel) or not isinstance(model, PromptedModel):
            raise InputError(
                f"models: expected what skn.prune or skn.export returns, or its folder, not a {type(model).__name__}"
            )
        if model.label_ids.numel() != len(loaded.data.classes):
            raise InputError(
                f"models: one of {model.label_ids.numel()} classes, this run has {len(loaded.data.classes)}"
            )
        return _placed("pruned", copy.deepcopy(model), loaded, engine)  # the user's own stays as it is
    folder = Path(model)
    model = load_pruned(folder)
    if model.label_ids.numel() != len(loaded.data.classes):
        raise InputError(
            f"{folder}: {model.label_ids.numel()} classes, this run has {len(loaded.data.classes)}; give one pruned for this task"
        )
    name = _named_by_task(folder, model, loaded)
    room, longest = model.backbone.max_positions - model.prompt_length, loaded.max_length
    if load_tokenizer(str(folder)).get_vocab() != loaded.tokenizer.get_vocab() or room < longest:
        raise InputError(
            f"{folder}: made from another backbone or for shorter texts than this run's; give one pruned from it"
        )
    return _placed(name, model, loaded, engine)


def _named_by_task(folder: Path, model: PromptedModel, loaded: LoadedRun) -> str:
    """What the model is called; one that was made for another task is named after it, too, if its label words are the run's.

    Raises :class:`InputError` for one of other label words.
    """
    mark = mark_of(folder)
    origin = ((mark.about if mark else None) or {}).get("provenance")
    task, own = origin.get("task") if isinstance(origin, dict) else None, loaded.provenance["task"]
    if task in (None, own):
        return folder.name
    if model.label_ids.tolist() != loaded.model.label_ids.tolist():
        raise InputError(f"{folder}: made for the task '{task}', this run's is '{own}'; give one pruned for this task")
    return f"{folder.name} (of {task})"


def _placed(name: str, model: nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    digest = identity_of(model.state_dict())
    placed(model, loaded.provenance["device"], loaded.provenance["dtype"])
    return Contestant(name, model, parameter_count(model), choose_engine(model.backbone, engine), digest)


def placed(model: nn.Module, device: str, dtype: str) -> nn.Module:
    """A pruned model on a device and in a dtype, in place."""
    model.bf16x3 = dtype == "bf16x3"
    return model.eval().to(device=resolve_device(device), dtype=DTYPES[dtype])
