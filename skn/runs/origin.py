"""The provenance of a run's numbers, as every file of the run states it, and paths that hold in every working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skn
from skn.data.splits import LabelledData
from skn.model.backbone import Backbone
from skn.ops import backends
from skn.runs.config import RunConfig


def asked_for(config: RunConfig) -> dict[str, Any]:
    """Return the settings of a training by the names of provenance. Older runs do not know their backbone's digest."""
    return {
        "backbone_digest": config.backbone_digest,
        "task": config.data.name,
        "method": config.method,
        **({} if config.template is None else {"template": config.template}),
        "prompt_length": config.prompt_length,
        "label_words": config.label_words,
        "seed": config.seed,
        **({"autocast": True} if config.autocast else {}),
    }


def provenance_of(config: RunConfig, backbone: Backbone, data: LabelledData, device: str, dtype: str) -> dict[str, Any]:
    """Return the provenance of a run's artifacts, which every file of the run stores.

    Once a prompt is tuned, the caller adds "tuned", the digest of the tuned tensors.
    """
    return {
        **asked_for(config),
        "backbone": _recognisable(config.backbone),
        "backbone_digest": backbone.loaded_digest,
        "word_scores": backbone.word_scores_by,
        "split_digest": data.digest,
        "class_names": data.classes,
        "dtype": dtype,
        "device": device,
        "backend": backends.implementation("accumulate_moments", device),
        "engine": "hf",
        "skn_version": skn.__version__,
    }


def absolute(name: str) -> str:
    """Return a path that holds in every working folder. An id on the hub stays as it is."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _recognisable(backbone: str) -> str:
    """Return a hub id as it is. For a folder, return the names of its parent and itself, because many are called
    "model".

    This name is for people. ``backbone_digest`` tells artifacts apart.
    """
    folder = Path(backbone)
    return "/".join(filter(None, (folder.parent.name, folder.name))) if folder.is_dir() else backbone
