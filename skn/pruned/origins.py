"""The origin of a model that is evaluated beside a run's own model: which models are refused, and how a name says a
difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.engine import PromptedModel
from skn.inference.loaded import LoadedRun
from skn.model.pretrained import load_tokenizer
from skn.store.folders import mark_of


def origin_in(folder: Path) -> dict[str, Any]:
    """Return the provenance of the run from which a folder's model was made; empty if the folder does not say it."""
    mark = mark_of(folder)
    origin = ((mark.about if mark else None) or {}).get("provenance")
    return origin if isinstance(origin, dict) else {}


def differences(where: str, model: PreTrainedModel, origin: Mapping[str, Any], run: LoadedRun) -> str:
    """Say in words how a model's ``origin`` differs from the run: "of joy, over roberta-large", or an empty text.

    The model may belong to another run, another backbone or another task, if its classes are the run's classes. Raises
    :class:`InputError` if its answers mean something else, or if it cannot read the run's texts.
    """
    _check_classes(where, model, origin, run)
    _check_reading(where, model, run)
    own, said = run.provenance, []
    if _differs(origin, own, "task"):
        said.append(f"of {origin['task']}")
    if _differs(origin, own, "backbone_digest"):
        said.append(f"over {'another ' if origin.get('backbone') == own['backbone'] else ''}{origin.get('backbone')}")
    if not said and _differs(origin, own, "tuned"):
        said.append("of another run")
    return ", ".join(said)


def _differs(origin: Mapping[str, Any], own: Mapping[str, Any], key: str) -> bool:
    """Whether both give a value and the values differ. Models of older versions give fewer values."""
    return None not in (origin.get(key), own.get(key)) and origin[key] != own[key]


def _check_classes(where: str, model: PromptedModel, origin: Mapping[str, Any], run: LoadedRun) -> None:
    count, wanted = model.label_ids.numel(), len(run.data.classes)
    if count != wanted:
        raise InputError(f"{where}: {count} classes, this run has {wanted}; give one made for this task")
    other_task = _differs(origin, run.provenance, "task")
    other_words = model.label_ids.tolist() != run.model.label_ids.tolist()
    if origin.get("class_names") is not None:
        others = list(origin["class_names"]) != run.data.classes
    else:
        names = [model.config.id2label[c] for c in range(count)]
        unnamed = [f"LABEL_{c}" for c in range(count)]
        others = names not in (run.class_names, run.data.classes, unnamed)
    if others or (other_task and other_words):
        task = f"the task '{origin['task']}' with " if other_task else ""
        what = "classes" if others else "label words"
        raise InputError(
            f"{where}: made for {task}other {what}, this run's task is '{run.provenance['task']}'; give one made for it"
        )


def _check_reading(where: str, model: PreTrainedModel, run: LoadedRun) -> None:
    reader, folder = getattr(model, "reader", None), Path(model.name_or_path or "")
    tokenizer = reader.tokenizer if reader else load_tokenizer(str(folder)) if _has_tokenizer(folder) else None
    room = model.backbone.max_positions - model.prompt_length
    if (tokenizer and tokenizer.get_vocab() != run.tokenizer.get_vocab()) or room < run.max_length:
        raise InputError(
            f"{where}: has another vocabulary or is for shorter texts than this run; give one over a backbone that reads as "
            f"this run's"
        )


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer_config.json").is_file()
