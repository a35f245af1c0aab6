"""Pruned RoBERTa and BERT as Hugging Face models, registered with the Auto classes when this module is imported.

A pruned model is its family's model with narrower FFNs, each layer its own width. The widths are in the
configuration, the original index of every kept neuron in a buffer beside the layer. One folder serves both classes:
``…ForPromptClassification`` holds prompt and label words and answers with class logits, ``…ForMaskedLM`` leaves
those out. Without gradients, where ``encode`` has a kernel, both answer through that operator; in training, under autocast,
``torch.compile`` and ``torch.export`` they are the ordinary modules.
"""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput

from skn.errors import InputError
from skn.inference.fast import all_hidden, scored_hidden, serves
from skn.model.adapter import AdaptedLinear, Adapter
from skn.model.backbone import EMBEDDING_SCORE_SCALE, Backbone, PromptedBatch
from skn.model.fit import some_of
from skn.pruned.inputs import tidied

PROMPT_TENSORS = ("prompt", "mask_embedding", "label_ids")


class _PrunedFields:
    """What a pruned model's configuration says beyond its family's.

    ``ffn_widths`` [L]: neurons kept in each layer; ``intermediate_size`` stays that of the unpruned model.
    ``word_scores``: "lm_head" or "embedding" (an encoder without an LM head, see :meth:`Backbone.word_scores`).
    ``prompt_length``: P, the mask position included. ``position_start``: position id of the first token.
    ``adapter_bottleneck``: width of the adapters behind the FFNs, if the run tuned adapters.
    """


@strict
class PrunedRobertaConfig(RobertaConfig, _PrunedFields):
    model_type = "skn_pruned_roberta"  # without skn, the error of transformers names it
    ffn_widths: list[int] | None = None
    word_scores: str = "lm_head"
    prompt_length: int = 1
    position_start: int | None = None
    adapter_bottleneck: int | None = None


@strict
class PrunedBertConfig(BertConfig, _PrunedFields):
    model_type = "skn_pruned_bert"
    ffn_widths: list[int] | None = None
    word_scores: str = "lm_head"
    prompt_length: int = 1
    position_start: int | None = None
    adapter_bottleneck: int | None = None


def _of_older_folders(config: type, model_type: str) -> type:
    """What the Auto classes find under a model type of format 1: it reads the configuration as today's ``config``."""

    def from_dict(_, values: dict[str, Any], **more: Any) -> Any:
        return config.from_dict({**values, "model_type": config.model_type}, **more)

    return type(f"Older{config.__name__}", (config,), {"model_type": model_type, "from_dict": classmethod(from_dict)})


def _narrow(encoder: nn.Module, config: Any, adapters: nn.ModuleList | None) -> None:
    """Give each layer of a family's encoder its own FFN width, and the adapters behind it."""
    hidden = config.hidden_size
    widths = config.ffn_widths or [config.intermediate_size] * config.num_hidden_layers
    for index, (layer, width) in enumerate(zip(encoder.encoder.layer, widths, strict=True)):
        layer.intermediate.dense = nn.Linear(hidden, width)
        layer.intermediate.register_buffer("kept_neurons", torch.arange(width))
        plain = adapters is None
        layer.output.dense = nn.Linear(width, hidden) if plain else AdaptedLinear(width, hidden, adapters[index])


class _PrunedEncoder:
    """The pruned encoder alone, without head, prompt and pooler, mixed in before the family's own class."""

    _keys_to_ignore_on_load_unexpected = [*(rf"^{name}$" for name in PROMPT_TENSORS), r"^lm_head\.", r"^cls\."]

    def __init__(self, config):
        if config.adapter_bottleneck:
            raise ValueError(
                "adapters stand behind its FFNs; load it with AutoModelForMaskedLM, whose encoder has them"
            )
        super().__init__(config, add_pooling_layer=False)
        _narrow(self, config, None)
        self.post_init()


class _PrunedMaskedLM:
    """The pruned part of a masked LM, mixed in before the family's own class."""

    _keys_to_ignore_on_load_unexpected = [rf"^{name}$" for name in PROMPT_TENSORS]
    bf16x3 = False  # how `encode` computes (see Backbone); an attribute of the loaded model, not of its folder

    def __init__(self, config):
        super().__init__(config)
        if config.word_scores == "embedding":
            self._drop_lm_head()
        bottleneck = config.adapter_bottleneck
        if bottleneck:
            self.adapters = nn.ModuleList(
                Adapter(config.hidden_size, bottleneck) for _ in range(config.num_hidden_layers)
            )
        _narrow(attrgetter(self.base_model_prefix)(self), config, self.adapters if bottleneck else None)
        self.post_init()

    @classmethod
    def from_pretrained(cls, place: str | Path | None, *arguments: Any, **named: Any) -> Any:
        """As transformers', but a weight that the files lack is not drawn at random, and one too many is not passed over.

        Raises :class:`InputError` that names such weights.
        """
        report_too = named.pop("output_loading_info", False)
        model, report = super().from_pretrained(place, *arguments, output_loading_info=True, **named)
        for kind, keys in (("missing", report["missing_keys"]), ("unexpected", report["unexpected_keys"])):
            if keys:
                raise InputError(
                    f"{place}: no whole pruned model, {kind} weights: {some_of(sorted(keys))}; prune it again"
                )
        _check_numbers(place, model)
        return (model, report) if report_too else model

    @property
    def headless(self) -> bool:
        return self.config.word_scores == "embedding"

    @property
    def backbone(self) -> Backbone:
        """This model as skn sees every backbone."""
        return Backbone(self, self.headless, self.bf16x3)

    def _drop_lm_head(self) -> None:
        delattr(self, self.lm_head_name)
        self._tied_weights_keys = {}  # they name the head's weights

    def get_output_embeddings(self):
        return None if self.headless else super().get_output_embeddings()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, **kwargs):
        """As the family's masked LM; without an LM head the logits are the embedding scores of every word."""
        fast = self._serves(input_ids, attention_mask, kwargs)
        if not (fast or self.headless):
            return super().forward(input_ids, attention_mask, token_type_ids, labels=labels, **kwargs)
        encoder, more = attrgetter(self.base_model_prefix)(self), {}
        if fast:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            hidden = all_hidden(self.backbone, encoder.embeddings(input_ids, token_type_ids), mask)
        else:
            outputs = encoder(input_ids, attention_mask, token_type_ids, **kwargs)
            hidden = outputs.last_hidden_state
            more = {"hidden_states": outputs.hidden_states, "attentions": outputs.attentions}
        logits = self._every_word(hidden)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits, **more)

    def _serves(self, input_ids: Tensor | None, attention_mask: Tensor | None, asked_more: dict) -> bool:
        """Whether ``encode`` has all that this call asks for."""
        config = self.config
        plain = input_ids is not None and (attention_mask is None or attention_mask.dim() == 2) and not asked_more
        return plain and not (config.output_hidden_states or config.output_attentions) and serves(self.backbone)

    def _every_word(self, hidden: Tensor) -> Tensor:
        """Logits [B, S, V] of hidden states [B, S, H]."""
        if not self.headless:
            return getattr(self, self.lm_head_name)(hidden)
        words = F.normalize(
            self.get_input_embeddings()(torch.arange(self.config.vocab_size, device=hidden.device)), dim=-1
        )
        return F.linear(hidden, words) * EMBEDDING_SCORE_SCALE


def _check_numbers(place: str | Path | None, model: nn.Module) -> None:
    """Stored numbers of neurons and words are those of the unpruned model; raises :class:`InputError`."""
    config = model.config
    counts = {"kept_neurons": config.intermediate_size, "label_ids": config.vocab_size}
    for name, numbers in model.named_buffers():
        count = counts.get(name.rpartition(".")[2])
        if count is not None and not ((numbers >= 0) & (numbers < count)).all():
            raise InputError(f"{place}: {name} holds numbers outside of 0 to {count - 1}; prune it again")


class _PromptClassification:
    """Prompt and label words in front of a pruned masked LM: class logits [B, C]."""

    _keys_to_ignore_on_load_unexpected = None

    def __init__(self, config):
        super().__init__(config)
        self.prompt = nn.Parameter(torch.zeros(config.prompt_length - 1, config.hidden_size))
        self.register_buffer("mask_embedding", torch.zeros(config.hidden_size))
        self.register_buffer("label_ids", torch.zeros(config.num_labels, dtype=torch.int64))
        self.post_init()

    @property
    def prompt_length(self) -> int:
        return self.config.prompt_length

    def assemble(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> PromptedBatch:
        """Texts, as ids [B, T] or embeddings [B, T, H], with the prompt in place."""
        prompt = torch.cat([self.mask_embedding[None], self.prompt])
        return self.backbone.assemble(prompt, input_ids, attention_mask, token_type_ids, self.config.position_start)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ):
        """``logits`` [B, C] of texts; a text that is too long keeps its first tokens and its last one.

        Args:
            input_ids: [B, T] as the tokenizer gives them, padded on either side; or
            inputs_embeds: [B, T, H].
            attention_mask, token_type_ids: [B, T].
            labels: [B] int64, for the loss.
            output_hidden_states, output_attentions: also those, of prompt and text [B, P + T, H]; attentions need a model
                that was loaded with ``attn_implementation="eager"``.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        text, backbone = input_ids if inputs_embeds is None else inputs_embeds, self.backbone
        if attention_mask is None:
            attention_mask = torch.ones(text.shape[:2], dtype=torch.int64, device=text.device)
        room = backbone.max_positions - self.prompt_length
        batch = self.assemble(*tidied(text, attention_mask, token_type_ids, room))
        more = {
            name: getattr(self.config, name) if asked is None else asked
            for name, asked in {
                "output_hidden_states": output_hidden_states,
                "output_attentions": output_attentions,
            }.items()
        }
        if any(more.values()):
            outputs = backbone.outputs(batch, **more)
            logits = backbone.word_scores(outputs.last_hidden_state[:, batch.readout], self.label_ids)
            if more["output_attentions"] and not outputs.attentions:
                raise ValueError("output_attentions: load the model with attn_implementation='eager'")
        elif serves(backbone, batch.inputs_embeds):
            outputs, logits = None, backbone.word_scores(scored_hidden(backbone, batch), self.label_ids)
        else:
            outputs, logits = None, backbone.scores(batch, self.label_ids)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs and outputs.hidden_states,
            attentions=outputs and outputs.attentions,
        )  # fmt: skip
        return answer.to_tuple() if return_dict is False else answer


class PrunedRobertaModel(_PrunedEncoder, RobertaModel):
    """The encoder of a pruned RoBERTa: hidden states [B, S, H] of texts, without the prompt."""

    config_class = PrunedRobertaConfig


class PrunedBertModel(_PrunedEncoder, BertModel):
    """The encoder of a pruned BERT: hidden states [B, S, H] of texts, without the prompt."""

    config_class = PrunedBertConfig


class PrunedRobertaForMaskedLM(_PrunedMaskedLM, RobertaForMaskedLM):
    """RoBERTa (or XLM-RoBERTa) with its own FFN width in each layer."""

    config_class = PrunedRobertaConfig
    lm_head_name = "lm_head"


class PrunedBertForMaskedLM(_PrunedMaskedLM, BertForMaskedLM):
    """BERT, with or without an LM head, with its own FFN width in each layer."""

    config_class = PrunedBertConfig
    lm_head_name = "cls"


class PrunedRobertaForPromptClassification(_PromptClassification, PrunedRobertaForMaskedLM):
    """A pruned RoBERTa with prompt and label words inside; works in ``pipeline("text-classification")``."""


class PrunedBertForPromptClassification(_PromptClassification, PrunedBertForMaskedLM):
    """A pruned BERT with prompt and label words inside; works in ``pipeline("text-classification")``."""


# Family's LM attribute (Family.base) → the classes of its pruned models.
PRUNED_CLASSES = {
    "roberta": (PrunedRobertaConfig, PrunedRobertaForPromptClassification),
    "bert": (PrunedBertConfig, PrunedBertForPromptClassification),
}


def register() -> None:
    """Let the Auto classes load pruned folders."""
    for config, classifier, masked_lm, encoder in (
        (PrunedRobertaConfig, PrunedRobertaForPromptClassification, PrunedRobertaForMaskedLM, PrunedRobertaModel),
        (PrunedBertConfig, PrunedBertForPromptClassification, PrunedBertForMaskedLM, PrunedBertModel),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        older = config.model_type.removeprefix("skn_")
        AutoConfig.register(older, _of_older_folders(config, older), exist_ok=True)
        AutoModelForSequenceClassification.register(config, classifier, exist_ok=True)
        AutoModelForMaskedLM.register(config, masked_lm, exist_ok=True)
        AutoModel.register(config, encoder, exist_ok=True)


register()
