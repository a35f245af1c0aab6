"""What skn adds to its pruned classes: answers through the operator ``encode``, ``prepack()`` and ``to_int8()``.

Without gradients, a model in eval mode answers through ``encode`` if it has a kernel. In training, under autocast,
``torch.compile`` and ``torch.export``, the model is its ordinary modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference import calls, prepacked
from skn.inference.calls import all_hidden, scored_hidden, serves, unpadded_hidden
from skn.inference.packing import embedded_texts
from skn.inference.unpadded import embedded_unpadded
from skn.int8.convert import convert
from skn.model.backbone import Backbone
from skn.model.portable.layers_skn import EncoderInputs
from skn.model.prompted import PromptedBatch

_TOGETHER = 32  # texts of a batch of calibration


class Served:
    """A pruned model's faster forward, and its refusals in one line. A mixin before the model's own classes."""

    refusal = InputError
    # how `encode` computes (see Backbone); an attribute of the loaded model, which its folder does not store
    bf16x3 = False

    @property
    def backbone(self) -> Backbone:
        """This model as a backbone of skn."""
        return Backbone(self, self.headless, self.bf16x3)

    def served_states(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, token_type_ids: Tensor | None, asked: dict
    ) -> Tensor | None:
        """The last hidden states [B, S, H] from ``encode``; None if this call asks for more than ``encode`` returns."""
        config, backbone = self.config, self.backbone
        plain = input_ids is not None and (attention_mask is None or attention_mask.dim() == 2) and not asked
        if not plain or config.output_hidden_states or config.output_attentions or not serves(backbone):
            return None
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return all_hidden(backbone, embedded_texts(backbone, input_ids, token_type_ids), mask)

    def prepack(self) -> Any:
        """Pack the encoder's weights once for all calls to come, for a service that changes nothing behind torch's back.

        Otherwise every call looks at all modules, hooks and weights, so that it notices every edit. A call of a prepacked
        model does not notice a hook or a replaced module in the encoder or its embeddings, nor an edit of the encoder through
        ``.data``. It does notice edits that torch counts (an optimizer's step, ``load_state_dict``), and ``to`` and
        ``to_int8``, and packs the weights again. ``train()`` ends it. A call that the plain modules answer (with gradients, under autocast, with
        ``output_hidden_states``) reads the model as it is.

        A deep copy of the model and a loaded folder are not prepacked. The packed weights stand in memory beside the plain
        ones.

        Returns:
            The model itself.

        Raises:
            InputError: the model is in training mode, or ``encode`` cannot serve it; the line says why.
        """
        calls.prepack(self.backbone)
        return self

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module.train``. In training, a model is no longer prepacked."""
        model = super().train(mode)
        if mode:
            prepacked.release(self.base_model)
        return model

    def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
        """As ``nn.Module.load_state_dict``. A prepacked model packs the loaded weights."""
        try:
            return super().load_state_dict(*arguments, **named)
        finally:
            prepacked.changed(self.base_model)  # with assign=True, the loaded tensors have counts of their own

    def _apply(self, *arguments: Any, **named: Any) -> Any:
        """As ``nn.Module._apply``, which is behind ``to``, ``half``, ``cuda`` and their like."""
        try:
            return super()._apply(*arguments, **named)
        finally:
            prepacked.changed(self.base_model)


class ServedPrompt:
    """What skn adds to a served model with a prompt: its batches, its faster read-out, and its conversion."""

    def assemble(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        _scored: Tensor | None = None,
    ) -> PromptedBatch:
        """Put the prompt into texts, which are ids [B, T] or embeddings [B, T, H], as skn's prompted models do."""
        start = self.config.position_start
        return self.backbone.assemble(self.prompt_rows(), input_ids, attention_mask, token_type_ids, start)

    def served_readout(
        self, text: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> Tensor | None:
        """The last hidden state [B, H] at the mask from ``encode``; None if ``encode`` cannot serve this call."""
        backbone, start = self.backbone, self.config.position_start
        if not serves(backbone, text):
            return None
        start = backbone.position_start if start is None else start
        given = text, attention_mask, token_type_ids
        rows = embedded_unpadded(backbone, self.prompt_rows(), *given, position_start=start)
        if rows is None:
            return scored_hidden(backbone, self._inputs(*given))
        return unpadded_hidden(backbone, rows, len(text))

    def to_int8(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        keep_plain: bool = False,
    ) -> Any:
        """Convert the encoder's products to int8, in place, calibrated on texts as the tokenizer gives them.

        A few hundred texts like those that the model will see are enough. The converted model is faster on processors
        with AVX-512 VNNI or AVX-VNNI, fastest after ``.to(torch.bfloat16)``, and can no longer be trained.
        ``save_pretrained`` and ``from_pretrained`` keep it.

        Args:
            input_ids, attention_mask, token_type_ids: [B, T] int64.
            keep_plain: keep the plain weights beside the bytes. ``from_pretrained(folder, int8=None)`` then loads the
                plain model.

        Returns:
            The model itself, in eval mode.

        Raises:
            InputError: the model is not on the CPU, is in int8 already, or ``encode`` cannot serve it; the texts are not
                tensors. The model is then as it was.
        """
        tensors = (input_ids, attention_mask, token_type_ids)
        if any(t is not None and not (isinstance(t, Tensor) and t.dim() == 2) for t in tensors):
            raise InputError("int8: expected tensors [B, T]; give the tokenizer padding=True and return_tensors='pt'")
        self.eval()
        with torch.no_grad():
            inputs = [
                self._inputs(*(None if t is None else t[first : first + _TOGETHER] for t in tensors))
                for first in range(0, len(input_ids), _TOGETHER)
            ]
        return self.converted(inputs, keep_plain)

    def converted(self, inputs: Sequence[EncoderInputs], keep_plain: bool = False) -> Any:
        """:meth:`to_int8` for texts that stand behind the prompt already."""
        self.config.int8 = convert(self.backbone, inputs, keep_plain)
        self.config.int8_keeps_plain = keep_plain
        prepacked.changed(self.base_model)
        return self.requires_grad_(False).eval()
