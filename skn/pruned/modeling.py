"""skn's classes of pruned RoBERTa and BERT. Importing this module registers them with the Auto classes.

They are the models of ``skn.model.portable`` with a faster forward. Without gradients, they answer through the operator
``encode`` if it has a kernel. In training, under autocast, ``torch.compile`` and ``torch.export``, they are the
ordinary modules.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.families import PRUNED
from skn.model.portable import modeling_skn as portable
from skn.model.portable.modeling_skn import PrunedBertConfig, PrunedRobertaConfig
from skn.pruned import narrow
from skn.pruned.served import Served, ServedPrompt
from skn.store import atomic

MODELING = "modeling_skn"  # the file of a portable folder that config.json names
CODE = (f"{MODELING}.py", "layers_skn.py")


class _Portable(Served):
    """A served model whose folder may hold its code."""

    def save_pretrained(self, save_directory: str | Path, *arguments: Any, **named: Any) -> Any:
        """Save as transformers does. The folder of a portable model also gets the model's code."""
        if getattr(self.config, "auto_map", None):
            make_portable(self)  # after loading from the hub, auto_map names the hub's code
            for name in CODE:
                source = files("skn.model.portable").joinpath(name).read_text(encoding="utf-8")
                Path(save_directory).mkdir(parents=True, exist_ok=True)
                atomic.write_text(Path(save_directory) / name, source)
        return super().save_pretrained(save_directory, *arguments, **named)


class PrunedRobertaForMaskedLM(_Portable, portable.PrunedRobertaForMaskedLM):
    """RoBERTa (or XLM-RoBERTa) with its own FFN width in each layer."""


class PrunedBertForMaskedLM(_Portable, portable.PrunedBertForMaskedLM):
    """BERT, with or without an LM head, with its own FFN width in each layer."""


class PrunedRobertaForPromptClassification(
    ServedPrompt, PrunedRobertaForMaskedLM, portable.PrunedRobertaForPromptClassification
):
    """A pruned RoBERTa with prompt and label words inside; works in ``pipeline("text-classification")``."""


class PrunedBertForPromptClassification(
    ServedPrompt, PrunedBertForMaskedLM, portable.PrunedBertForPromptClassification
):
    """A pruned BERT with prompt and label words inside; works in ``pipeline("text-classification")``."""


# Family's LM attribute (Family.base) → the classes of its pruned models with a prompt.
_PROMPTED = {
    "roberta": (PrunedRobertaConfig, PrunedRobertaForPromptClassification),
    "bert": (PrunedBertConfig, PrunedBertForPromptClassification),
}

# The same → the classes of language models, which hold no prompt.
_LMS = {
    "roberta": (PrunedRobertaConfig, PrunedRobertaForMaskedLM),
    "bert": (PrunedBertConfig, PrunedBertForMaskedLM),
}

# Configuration → the class that each Auto class loads with it.
_LOADED = {
    PrunedRobertaConfig: {
        AutoModelForSequenceClassification: PrunedRobertaForPromptClassification,
        AutoModelForMaskedLM: PrunedRobertaForMaskedLM,
        AutoModel: portable.PrunedRobertaModel,
    },
    PrunedBertConfig: {
        AutoModelForSequenceClassification: PrunedBertForPromptClassification,
        AutoModelForMaskedLM: PrunedBertForMaskedLM,
        AutoModel: portable.PrunedBertModel,
    },
}


def prompted_classes(backbone: Backbone) -> tuple[type, type]:
    """Return the configuration and the class of a backbone's pruned models with prompt and label words inside.

    Raises :class:`InputError` for adapters in a family whose pruned models have none.
    """
    if backbone.family.base in _PROMPTED:
        return _PROMPTED[backbone.family.base]
    if backbone.adapter_bottleneck:
        raise InputError(
            f"a {backbone.config.model_type} with adapters cannot be pruned or exported; RoBERTa, XLM-RoBERTa and BERT can"
        )
    made = narrow.classes_of(backbone.config.model_type.removeprefix(PRUNED))
    return made.config, made.prompted


def lm_classes(backbone: Backbone) -> tuple[type, type]:
    """Return the configuration and the class of a backbone's pruned language models."""
    if backbone.family.base in _LMS:
        return _LMS[backbone.family.base]
    made = narrow.classes_of(backbone.config.model_type.removeprefix(PRUNED))
    return made.config, made.lm


def make_portable(model: Any) -> None:
    """Mark a pruned model as portable: ``save_pretrained`` then also writes the model's code, for readers without skn.

    Raises :class:`InputError` for a family whose classes are no file of their own.
    """
    config = type(model.config)
    if config not in _LOADED:
        raise InputError(
            f"--portable: a {type(model).__name__} needs skn where it is loaded; leave it out, or prune a RoBERTa or BERT"
        )
    classes = {AutoConfig: config, **_LOADED[config]}
    model.config.auto_map = {auto.__name__: f"{MODELING}.{kind.__name__}" for auto, kind in classes.items()}


def _of_older_folders(config: type, model_type: str) -> type:
    """Make the configuration class for a model type of format 1. It reads the values into today's ``config``."""

    def from_dict(_, values: dict[str, Any], **more: Any) -> PreTrainedConfig:
        return config.from_dict({**values, "model_type": config.model_type}, **more)

    return type(f"Older{config.__name__}", (config,), {"model_type": model_type, "from_dict": classmethod(from_dict)})


def register() -> None:
    """Let the Auto classes load pruned folders."""
    for config, classes in _LOADED.items():
        AutoConfig.register(config.model_type, config, exist_ok=True)
        older = config.model_type.removeprefix("skn_")
        AutoConfig.register(older, _of_older_folders(config, older), exist_ok=True)
        for auto, model in classes.items():
            auto.register(config, model, exist_ok=True)
    narrow.register()


register()
