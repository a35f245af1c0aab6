"""Load the folder of a pruned model with its prompt. This is the only way in which skn loads such a folder."""

from __future__ import annotations

from pathlib import Path

import transformers
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.model.families import PRUNED
from skn.model.pretrained import load_config, load_model
from skn.store.folders import mark_of


def load_pruned(folder: Path) -> PreTrainedModel:
    """Load a pruned model with prompt and label words, in float32. Raises :class:`InputError` for any other folder."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder}: not the folder of a model (no config.json in it); 'skn prune' and 'skn export' make one"
        )
    mark = mark_of(folder)
    if ((mark.about if mark else None) or {}).get("provenance", {}).get("template"):
        raise InputError(
            f"{folder}: a language model of a run by template, without prompt and label words inside; "
            "give the run (--run), or ask the model with transformers as its README.md says"
        )
    config = load_config(str(folder))
    if not config.model_type.startswith(PRUNED):
        raise InputError(
            f"{folder}: not a model pruned or exported by skn (no prompt inside); 'skn prune' and 'skn export' make one"
        )
    model, _ = load_model(transformers.AutoModelForSequenceClassification, str(folder), config)
    return model
