"""Where a run's numbers come from, as every one of its files says it, and names that hold wherever they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skn
from skn.data.splits import LabelledData
from skn.model.backbone import Backbone
from skn.ops import backends
from skn.runs.config import RunConfig


def asked_for(config: RunConfig) -> dict[str, Any]:
    """What a training was asked for, by the names of its files' provenance; older runs do not say their backbone's digest."""
    return {
        "backbone_digest": config.backbone_digest,
        "task": config.data.name,
        "method": config.method,
        "prompt_length": config.prompt_length,
        "label_words": config.label_words,
        "seed": config.seed,
    }


def provenance_of(config: RunConfig, backbone: Backbone, data: LabelledData, device: str, dtype: str) -> dict[str, Any]:
    """Where an artifact's numbers come from; stored in every file.

    Once there is something tuned, "tuned" is added to it, the digest of its tensors."""
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
    """A path that holds in every working folder; an id on the hub stays as it is."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _recognisable(backbone: str) -> str:
    """A hub id as it is; of a folder its name and its parent's, because many folders are called "model".

    For people: artifacts are told apart by ``backbone_digest``.
    """
    folder = Path(backbone)
    return "/".join(filter(None, (folder.parent.name, folder.name))) if folder.is_dir() else backbone
