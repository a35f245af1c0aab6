"""A prompt and label words in front of a narrow language model, or behind the text of a decoder: class logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from skn.model.portable.layers_skn import tidied
from skn.model.portable.modeling_skn import BYTES
from skn.model.prompted import PromptedBatch
from skn.pruned.served import ServedPrompt


class NarrowPrompt(ServedPrompt):
    """The prompt of ``…ForPromptClassification``. The made classes mix it in before a narrow language model."""

    _keys_to_ignore_on_load_unexpected = [BYTES]

    def __init__(self, config: Any):
        super().__init__(config)
        backbone = self.backbone
        rows = config.prompt_length - (0 if backbone.causal else 1)
        self.prompt = nn.Parameter(torch.zeros(rows, backbone.embedding_size))
        if not backbone.causal:
            self.register_buffer("mask_embedding", torch.zeros(backbone.embedding_size))
        self.register_buffer("label_ids", torch.zeros(config.num_labels, dtype=torch.int64))
        self.post_init()

    @property
    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt_rows(self) -> Tensor:
        """The embeddings [P, E] at the prompt positions."""
        return self.prompt if self.backbone.causal else torch.cat([self.mask_embedding[None], self.prompt])

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Return ``logits`` [B, C] of texts. A text that is too long keeps its first tokens, and an encoder's last token.

        Args:
            input_ids: [B, T] as the tokenizer gives them, padded on either side.
            attention_mask, token_type_ids: [B, T].
            labels: [B] int64, for the loss.
        """
        hidden = self.served_readout(input_ids, attention_mask, token_type_ids)
        if hidden is None:
            batch = self._inputs(input_ids, attention_mask, token_type_ids)
            hidden = batch.at_scored(self.backbone.last_hidden(batch))
        logits = self.backbone.word_scores(hidden, self.label_ids)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _inputs(self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None) -> PromptedBatch:
        """Texts [B, T] with the prompt in place."""
        backbone = self.backbone
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        room = backbone.max_positions - self.prompt_length
        columns = input_ids.shape[1] if backbone.causal else room  # the last token of a decoder's text ends no sentence
        texts = tidied(input_ids, attention_mask, token_type_ids, columns)
        return self.assemble(*(None if part is None else part[:, :room] for part in texts))
