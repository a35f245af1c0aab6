"""Pruned RoBERTa and BERT as skn has them, registered with the Auto classes when this module is imported.

They are the models of ``skn.model.portable`` with a faster forward: without gradients, where ``encode`` has a kernel, they answer
through that operator; in training, under autocast, ``torch.compile`` and ``torch.export`` they are the ordinary modules.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from skn.errors import InputError
from skn.inference.fast import all_hidden, scored_hidden, serves
from skn.model.backbone import Backbone, PromptedBatch
from skn.model.portable import modeling_skn as portable
from skn.model.portable.layers_skn import EncoderInputs
from skn.model.portable.modeling_skn import PrunedBertConfig, PrunedRobertaConfig
from skn.store import atomic

MODELING = "modeling_skn"  # the file of a portable folder that its config.json names
CODE = (f"{MODELING}.py", "layers_skn.py")


class _Served:
    """What skn adds to a portable model: its operator, the model as a backbone, refusals in one line."""

    refusal = InputError
    bf16x3 = False  # how `encode` computes (see Backbone); an attribute of the loaded model, not of its folder

    @property
    def backbone(self) -> Backbone:
        """This model as skn sees every backbone."""
        return Backbone(self, self.headless, self.bf16x3)

    def served_states(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, token_type_ids: Tensor | None, asked: dict
    ) -> Tensor | None:
        """The last hidden states [B, S, H] where ``encode`` has all that this call asks for."""
        config, backbone = self.config, self.backbone
        plain = input_ids is not None and (attention_mask is None or attention_mask.dim() == 2) and not asked
        if not plain or config.output_hidden_states or config.output_attentions or not serves(backbone):
            return None
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return all_hidden(backbone, self.base_model.embeddings(input_ids, token_type_ids), mask)

    def served_readout(self, inputs: EncoderInputs) -> Tensor | None:
        """The last hidden state [B, H] at the mask where ``encode`` serves this call."""
        backbone = self.backbone
        return scored_hidden(backbone, inputs) if serves(backbone, inputs.inputs_embeds) else None

    def assemble(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> PromptedBatch:
        """Texts, as ids [B, T] or embeddings [B, T, H], with the prompt in place: a classifier as skn sees prompted models."""
        start = self.config.position_start
        return self.backbone.assemble(self.prompt_rows(), input_ids, attention_mask, token_type_ids, start)

    def save_pretrained(self, save_directory: str | Path, *arguments: Any, **named: Any) -> Any:
        """As transformers'; the folder of a portable model holds its code too."""
        if getattr(self.config, "auto_map", None):
            make_portable(self)  # a folder of a hub's names its code there
            for name in CODE:
                source = files("skn.model.portable").joinpath(name).read_text(encoding="utf-8")
                Path(save_directory).mkdir(parents=True, exist_ok=True)
                atomic.write_text(Path(save_directory) / name, source)
        return super().save_pretrained(save_directory, *arguments, **named)


class PrunedRobertaForMaskedLM(_Served, portable.PrunedRobertaForMaskedLM):
    """RoBERTa (or XLM-RoBERTa) with its own FFN width in each layer."""


class PrunedBertForMaskedLM(_Served, portable.PrunedBertForMaskedLM):
    """BERT, with or without an LM head, with its own FFN width in each layer."""


class PrunedRobertaForPromptClassification(PrunedRobertaForMaskedLM, portable.PrunedRobertaForPromptClassification):
    """A pruned RoBERTa with prompt and label words inside; works in ``pipeline("text-classification")``."""


class PrunedBertForPromptClassification(PrunedBertForMaskedLM, portable.PrunedBertForPromptClassification):
    """A pruned BERT with prompt and label words inside; works in ``pipeline("text-classification")``."""


# Family's LM attribute (Family.base) → the classes of its pruned models.
PRUNED_CLASSES = {
    "roberta": (PrunedRobertaConfig, PrunedRobertaForPromptClassification),
    "bert": (PrunedBertConfig, PrunedBertForPromptClassification),
}

# Configuration → what each Auto class loads with it.
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


def make_portable(model: Any) -> None:
    """From now on ``save_pretrained`` of a pruned model writes its code beside its weights, for readers without skn."""
    config = type(model.config)
    classes = {AutoConfig: config, **_LOADED[config]}
    model.config.auto_map = {auto.__name__: f"{MODELING}.{kind.__name__}" for auto, kind in classes.items()}


def _of_older_folders(config: type, model_type: str) -> type:
    """What the Auto classes find under a model type of format 1: it reads the configuration as today's ``config``."""

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


register()
