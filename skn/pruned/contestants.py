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
    """``digest`` tells its weights from others'; ``task`` is that of a model that was made for another than the run's."""

    name: str
    model: PromptedModel
    parameters: int
    engine: str
    digest: str
    task: str | None = None

    def called(self, name: str) -> Contestant:
        """The same under a name that says its task, too, if its task is not the run's."""
        return replace(self, name=name if self.task is None else f"{name} (of {self.task})")


def all_of(loaded: LoadedRun, models: Sequence[Path | str | nn.Module], engine: str | None) -> list[Contestant]:
    """The run's own model and the others, each under a name of its own.

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
    """A name for one of several models that are called the same: the folder as it was given, or the place in the list."""
    if place is None:
        return name
    if isinstance(place, nn.Module):
        return f"{name} {number}"
    folder = Path(place)
    return str(folder if len(folder.parts) > 1 else folder.resolve())  # "full" alone is what the run's own is called


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
    task = _other_task(folder, model, loaded)
    room, longest = model.backbone.max_positions - model.prompt_length, loaded.max_length
    if load_tokenizer(str(folder)).get_vocab() != loaded.tokenizer.get_vocab() or room < longest:
        raise InputError(
            f"{folder}: made from another backbone or for shorter texts than this run's; give one pruned from it"
        )
    return replace(_placed(folder.name, model, loaded, engine), task=task)


def _other_task(folder: Path, model: PromptedModel, loaded: LoadedRun) -> str | None:
    """The task of a model that was made for another than the run's, if its label words and its classes are the run's.

    Raises :class:`InputError` for one of other label words or classes.
    """
    mark = mark_of(folder)
    origin = ((mark.about if mark else None) or {}).get("provenance")
    origin, own = origin if isinstance(origin, dict) else {}, loaded.provenance["task"]
    task, classes = origin.get("task"), origin.get("class_names")
    if task in (None, own):
        return None
    other_words = model.label_ids.tolist() != loaded.model.label_ids.tolist()
    if other_words or classes not in (None, loaded.provenance["class_names"]):
        what = "label words" if other_words else "classes"
        raise InputError(
            f"{folder}: made for the task '{task}' with other {what}, this run's is '{own}'; give one pruned for this task"
        )
    return task


def _placed(name: str, model: nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    digest = identity_of(model.state_dict())
    placed(model, loaded.provenance["device"], loaded.provenance["dtype"])
    return Contestant(name, model, parameter_count(model), choose_engine(model.backbone, engine), digest)


def placed(model: nn.Module, device: str, dtype: str) -> nn.Module:
    """A pruned model on a device and in a dtype, in place."""
    model.bf16x3 = dtype == "bf16x3"
    return model.eval().to(device=resolve_device(device), dtype=DTYPES[dtype])
