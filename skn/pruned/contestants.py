"""The models that are evaluated side by side: a run's own and pruned ones, on one device and in one dtype."""

from __future__ import annotations

import copy
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Contestant:
    name: str
    model: PromptedModel
    parameters: int
    engine: str


def full(loaded: LoadedRun) -> Contestant:
    """The run's own model."""
    backbone = loaded.model.backbone
    module = backbone.base if backbone.headless else backbone.model
    return Contestant("full", loaded.model, parameter_count(module) + loaded.model.prompt.numel(), loaded.engine)


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
    room, longest = model.backbone.max_positions - model.prompt_length, loaded.max_length
    if load_tokenizer(str(folder)).get_vocab() != loaded.tokenizer.get_vocab() or room < longest:
        raise InputError(
            f"{folder}: made from another backbone or for shorter texts than this run's; give one pruned from it"
        )
    return _placed(folder.name, model, loaded, engine)


def _placed(name: str, model: nn.Module, loaded: LoadedRun, engine: str | None) -> Contestant:
    placed(model, loaded.provenance["device"], loaded.provenance["dtype"])
    return Contestant(name, model, parameter_count(model), choose_engine(model.backbone, engine))


def placed(model: nn.Module, device: str, dtype: str) -> nn.Module:
    """A pruned model on a device and in a dtype, in place."""
    model.bf16x3 = dtype == "bf16x3"
    return model.eval().to(device=resolve_device(device), dtype=DTYPES[dtype])
