"""RoBERTa and BERT with a prompt and label words inside and its own FFN width in each layer, as Hugging Face classes.

This file was written by skn, which finds skill neurons in Transformers. It imports torch, transformers and the file
beside it, and nothing of skn. A portable folder holds copies of both files; ``from_pretrained(folder,
trust_remote_code=True)`` loads the model from them where skn is not installed. Where skn is installed, its classes are
subclasses of these and add a faster forward.

The configuration holds the widths. A buffer beside each layer holds the original index of every kept neuron. One folder
serves three classes: ``…ForPromptClassification`` holds prompt and label words and returns class logits,
``…ForMaskedLM`` leaves them out, ``…Model`` is the encoder alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertModel, RobertaConfig, RobertaForMaskedLM, RobertaModel
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput

from .layers_skn import (
    Adapter,
    EncoderInputs,
    FrozenInt8,
    WholeWeights,
    behind_prompt,
    decoder_scores,
    embedding_scores,
    hold_bytes,
    narrow,
    roberta_transform,
    tidied,
)

PROMPT_TENSORS = ("prompt", "mask_embedding", "label_ids")
DOWN = "output.dense"  # of a layer
BYTES = r"\.int8_(weight|bias)$"  # of a folder that holds both, when the plain model is loaded


class _PrunedFields:
    """The fields of a pruned model's configuration beyond its family's fields.

    ``ffn_widths`` [L]: neurons kept in each layer; ``intermediate_size`` stays that of the unpruned model.
    ``word_scores``: "lm_head" or "embedding" (an encoder without an LM head, see :func:`embedding_scores`).
    ``prompt_length``: P, the mask position included. ``position_start``: position id of the first token.
    ``adapter_bottleneck``: width of the adapters behind the FFNs, if the run tuned adapters.
    ``int8``: names of the encoder's linear layers whose products are products of bytes (:class:`Int8Linear`); None for a
    plain model, also from a folder that holds both. ``int8_keeps_plain``: whether these layers keep their plain weights.
    """


@strict
class PrunedRobertaConfig(RobertaConfig, _PrunedFields):
    model_type = "skn_pruned_roberta"  # without skn, transformers' error names this type
    ffn_widths: list[int] | None = None
    word_scores: str = "lm_head"
    prompt_length: int = 1
    position_start: int | None = None
    adapter_bottleneck: int | None = None
    int8: list[str] | None = None
    int8_keeps_plain: bool = False


@strict
class PrunedBertConfig(BertConfig, _PrunedFields):
    model_type = "skn_pruned_bert"
    ffn_widths: list[int] | None = None
    word_scores: str = "lm_head"
    prompt_length: int = 1
    position_start: int | None = None
    adapter_bottleneck: int | None = None
    int8: list[str] | None = None
    int8_keeps_plain: bool = False


class _PrunedEncoder(FrozenInt8):
    """The pruned encoder without head, prompt and pooler. The classes below mix it in before the family's own class."""

    _keys_to_ignore_on_load_unexpected = [*(rf"^{name}$" for name in PROMPT_TENSORS), r"^lm_head\.", r"^cls\.", BYTES]

    def __init__(self, config):
        if config.adapter_bottleneck:
            raise ValueError(
                "adapters stand behind its FFNs; load it with AutoModelForMaskedLM, whose encoder has them"
            )
        super().__init__(config, add_pooling_layer=False)
        narrow(self, config, None)
        hold_bytes(self, config, DOWN)
        self.post_init()


class _PrunedMaskedLM(WholeWeights, FrozenInt8):
    """The pruned part of a masked LM. The classes below mix it in before the family's own class."""

    _keys_to_ignore_on_load_unexpected = [*(rf"^{name}$" for name in PROMPT_TENSORS), BYTES]

    def __init__(self, config):
        super().__init__(config)
        if config.word_scores == "embedding":
            self._drop_lm_head()
        bottleneck = config.adapter_bottleneck
        if bottleneck:
            self.adapters = nn.ModuleList(
                Adapter(config.hidden_size, bottleneck) for _ in range(config.num_hidden_layers)
            )
        narrow(self.base_model, config, self.adapters if bottleneck else None)
        hold_bytes(self.base_model, config, DOWN)
        self.post_init()

    @property
    def headless(self) -> bool:
        return self.config.word_scores == "embedding"

    def _drop_lm_head(self) -> None:
        delattr(self, self.lm_head_name)
        self._tied_weights_keys = {}  # the names are those of the head's weights

    def get_output_embeddings(self):
        return None if self.headless else super().get_output_embeddings()

    def served_states(self, input_ids, attention_mask, token_type_ids, asked: dict[str, Any]) -> Tensor | None:
        """The last hidden states [B, S, H] from something faster than the modules; None here, where nothing is faster."""
        return None

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, **kwargs):
        """As the family's masked LM. Without an LM head, the logits are the embedding scores of every word."""
        hidden, more = self.served_states(input_ids, attention_mask, token_type_ids, kwargs), {}
        if hidden is None and not self.headless:
            return super().forward(input_ids, attention_mask, token_type_ids, labels=labels, **kwargs)
        if hidden is None:
            outputs = self.base_model(input_ids, attention_mask, token_type_ids, **kwargs)
            hidden = outputs.last_hidden_state
            more = {"hidden_states": outputs.hidden_states, "attentions": outputs.attentions}
        logits = self._every_word(hidden)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits, **more)

    def _every_word(self, hidden: Tensor) -> Tensor:
        """Logits [B, S, V] of hidden states [B, S, H]."""
        if not self.headless:
            return getattr(self, self.lm_head_name)(hidden)
        return embedding_scores(
            hidden, self.get_input_embeddings()(torch.arange(self.config.vocab_size, device=hidden.device))
        )


class _PromptClassification:
    """Prompt and label words in front of a pruned masked LM: class logits [B, C]."""

    _keys_to_ignore_on_load_unexpected = [BYTES]

    def __init__(self, config):
        super().__init__(config)
        self.prompt = nn.Parameter(torch.zeros(config.prompt_length - 1, config.hidden_size))
        self.register_buffer("mask_embedding", torch.zeros(config.hidden_size))
        self.register_buffer("label_ids", torch.zeros(config.num_labels, dtype=torch.int64))
        self.post_init()

    @property
    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt_rows(self) -> Tensor:
        """The embeddings [P, H] at the prompt positions."""
        return torch.cat([self.mask_embedding[None], self.prompt])

    def served_readout(
        self, text: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> Tensor | None:
        """The last hidden state [B, H] at the mask from something faster than the modules; None here.

        ``text`` is ids [B, T] or embeddings [B, T, H].
        """
        return None

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
        """Return ``logits`` [B, C] of texts. A text that is too long keeps its first tokens and its last token.

        Args:
            input_ids: [B, T] as the tokenizer gives them, padded on either side; or
            inputs_embeds: [B, T, H].
            attention_mask, token_type_ids: [B, T].
            labels: [B] int64, for the loss.
            output_hidden_states, output_attentions: also return these, over prompt and text [B, P + T, H]. Attentions
                need a model that was loaded with ``attn_implementation="eager"``.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        given = input_ids if inputs_embeds is None else inputs_embeds, attention_mask, token_type_ids
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        asked = {name: getattr(self.config, name) if said is None else said for name, said in asked.items()}
        hidden, outputs = None if any(asked.values()) else self.served_readout(*given), None
        if hidden is None:
            outputs = self.base_model(**vars(self._inputs(*given)), **asked)
            hidden = outputs.last_hidden_state[:, 0]
            if asked["output_attentions"] and not outputs.attentions:
                raise ValueError("output_attentions: load the model with attn_implementation='eager'")
        logits = self._label_scores(hidden)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs and outputs.hidden_states,
            attentions=outputs and outputs.attentions,
        )  # fmt: skip
        return answer.to_tuple() if return_dict is False else answer

    def _inputs(self, text: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None) -> EncoderInputs:
        """Texts, as ids [B, T] or embeddings [B, T, H], with the prompt in place."""
        config = self.config
        if attention_mask is None:
            attention_mask = torch.ones(text.shape[:2], dtype=torch.int64, device=text.device)
        if config.type_vocab_size < 2:
            token_type_ids = None  # a tokenizer of another family may give a second type
        room = config.max_position_embeddings - self.first_position - self.prompt_length
        text, attention_mask, token_type_ids = tidied(text, attention_mask, token_type_ids, room)
        text = text if text.is_floating_point() else self.get_input_embeddings()(text)
        start = self.first_position if config.position_start is None else config.position_start
        return behind_prompt(self.prompt_rows(), text, attention_mask, token_type_ids, start)

    def _label_scores(self, hidden: Tensor) -> Tensor:
        """Scores [B, C] of the label words for hidden states [B, H]."""
        if self.headless:
            return embedding_scores(hidden, self.get_input_embeddings()(self.label_ids))
        return decoder_scores(self.get_output_embeddings(), self._transformed(hidden), self.label_ids)


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

    @property
    def first_position(self) -> int:
        return self.config.pad_token_id + 1

    def _transformed(self, hidden: Tensor) -> Tensor:
        return roberta_transform(self.lm_head, hidden)


class PrunedBertForMaskedLM(_PrunedMaskedLM, BertForMaskedLM):
    """BERT, with or without an LM head, with its own FFN width in each layer."""

    config_class = PrunedBertConfig
    lm_head_name = "cls"
    first_position = 0

    def _transformed(self, hidden: Tensor) -> Tensor:
        return self.cls.predictions.transform(hidden)


class PrunedRobertaForPromptClassification(_PromptClassification, PrunedRobertaForMaskedLM):
    """A pruned RoBERTa with prompt and label words inside; works in ``pipeline("text-classification")``."""


class PrunedBertForPromptClassification(_PromptClassification, PrunedBertForMaskedLM):
    """A pruned BERT with prompt and label words inside; works in ``pipeline("text-classification")``."""
