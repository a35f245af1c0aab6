"""Embeddings, FFN sites and word scores of a Hugging Face model of any family.

One row of :data:`skn.model.families.FAMILIES` holds everything that differs between families; the rest of skn never
asks for the family. A :class:`Backbone` is a view on a frozen model in eval mode. It owns no parameters, so a tuned
module around it registers, trains and saves only the tuned parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from skn.errors import InputError
from skn.model import placement, weights
from skn.model.families import BEHIND_PADDING, family_of
from skn.model.loading import load_frozen, weights_in_use
from skn.model.placement import DeviceMap, device_of, main_device
from skn.model.portable.layers_skn import (
    EMBEDDING_SCORE_SCALE,
    Int8Linear,
    behind_prompt,
    decoder_scores,
    embedding_scores,
)
from skn.model.prompted import PromptedBatch
from skn.names import one_of

# --dtype -> the dtype in which weights and hidden states are stored.
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "bf16x3": torch.float32,
    "int8": torch.float32,  # around the products of bytes, into which skn.int8 converts after loading
}


@dataclass(frozen=True)
class FfnSite:
    """One feed-forward sublayer.

    ``activation`` is the module of the activation function. ``gate`` is the projection that it reads in a gated
    sublayer; None otherwise. If ``gate`` and ``up`` are the same module, it computes both, the gate first. ``down``
    reads the activations of the neurons. ``neurons`` [width] int64 are the original indices of its units; in an
    unpruned layer they are 0 … F−1.
    """

    layer: int
    block: nn.Module
    activation: nn.Module
    gate: nn.Module | None
    up: nn.Module
    down: nn.Module
    neurons: Tensor

    @property
    def width(self) -> int:
        return self.neurons.numel()

    @property
    def device(self) -> torch.device:
        """The device on which this sublayer computes."""
        return device_of(self.up)


class Backbone:
    """A frozen pretrained model, seen through its family.

    :param model: a Hugging Face model of a type in :data:`FAMILIES`, with or without an LM head.
    :param headless: score words by embedding instead of the LM head (see :meth:`word_scores`).
    :param bf16x3: the fast engine computes each product of a float32 model's encoder from three bfloat16 products.
    """

    def __init__(self, model: nn.Module, headless: bool = False, bf16x3: bool = False):
        self.model = model
        self.bf16x3 = bf16x3
        self.config = model.config
        self.family = family_of(self.config)
        self.headless = headless
        self.base = getattr(model, self.family.base, model)
        self.loaded_digest: str | None = None

    @classmethod
    def load(
        cls, name: str, device: str | None = "cpu", dtype: str = "float32", device_map: DeviceMap | None = None
    ) -> Backbone:
        """Load a local folder or a hub id, frozen and in eval mode. ``dtype`` is a key of :data:`DTYPES`.

        ``device_map`` spreads the model over several devices (:mod:`skn.model.placement`).

        Raises :class:`InputError` for a folder without a model, an unsupported family, a model that does not fit its
        family (:mod:`skn.model.fit`), or a missing device.
        """
        one_of(dtype, list(DTYPES), "--dtype")
        device = main_device(device, device_map)
        if device_map is not None and dtype in ("int8", "bf16x3"):
            raise InputError(f"--dtype {dtype}: needs the whole model on one device; leave --device-map out")
        model, headless, digest = load_frozen(name, device, DTYPES[dtype], device_map)
        backbone = cls(model, headless, bf16x3=dtype == "bf16x3")
        backbone.loaded_digest = digest
        return backbone

    # ---- sizes -----------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device of the word embeddings: inputs go there, and class scores come back there."""
        return device_of(self.embedding)

    @property
    def spread(self) -> bool:
        """Whether a device map put parts of the model on several devices, or offloaded a part."""
        return placement.is_spread(self.model)

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    @property
    def int8(self) -> bool:
        """Whether the encoder has products of bytes."""
        return any(isinstance(module, Int8Linear) for module in self.base.modules())

    @property
    def hidden_size(self) -> int:
        return self.config.hidden_size

    @property
    def embedding_size(self) -> int:
        """The width of word embeddings and prompts. ELECTRA and some OPT models project it to the hidden size."""
        return self.embedding.embedding_dim

    @property
    def gated(self) -> bool:
        """Whether a neuron is act(gate)·up."""
        return self.family.gate is not None

    @property
    def causal(self) -> bool:
        return self.family.causal

    @property
    def position_start(self) -> int:
        """The position id of the first token: RoBERTa counts from padding_idx + 1, the others from 0."""
        return self.config.pad_token_id + 1 if self.family.positions == BEHIND_PADDING else 0

    @property
    def max_positions(self) -> int:
        """The most tokens that fit, prompt included."""
        return self.config.max_position_embeddings - self.position_start

    @property
    def ffn_width(self) -> int:
        """F, the FFN width of the unpruned model."""
        return getattr(self.config, self.family.width, None) or 4 * self.hidden_size

    @property
    def adapter_bottleneck(self) -> int | None:
        """The width of the adapters behind the FFNs; None without adapters."""
        return getattr(self.config, "adapter_bottleneck", None)

    # ---- parts -----------------------------------------------------------------------------------------------

    @property
    def embedding(self) -> nn.Embedding:
        """The word embeddings, without positions and token types."""
        return self.base.get_input_embeddings()

    @property
    def ffn_sites(self) -> list[FfnSite]:
        """The feed-forward sublayers in order."""
        sites = []
        for index, layer in enumerate(attrgetter(self.family.layers)(self.base)):
            activation = attrgetter(self.family.activation)(layer)
            neurons = getattr(activation, "kept_neurons", None)
            sites.append(
                FfnSite(
                    layer=index,
                    block=layer,
                    activation=activation,
                    gate=attrgetter(self.family.gate)(layer) if self.gated else None,
                    up=attrgetter(self.family.up)(layer),
                    down=attrgetter(self.family.down)(layer),
                    neurons=torch.arange(self.ffn_width) if neurons is None else neurons,
                )
            )
        return sites

    @property
    def present(self) -> Tensor:
        """[L, F] bool: which neurons of the unpruned model this model has."""
        sites = self.ffn_sites
        present = torch.zeros(len(sites), self.ffn_width, dtype=torch.bool)
        for site in sites:
            present[site.layer, site.neurons.cpu()] = True
        return present

    # ---- forward ---------------------------------------------------------------------------------------------

    def assemble(
        self,
        prompt: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        position_start: int | None = None,
    ) -> PromptedBatch:
        """Put the prompt [P, H] before the text, or after the text for a causal backbone.

        ``input_ids`` and ``attention_mask`` [B, T] are padded on the right. A causal batch is moved to the right, so
        every prompt follows its own text and is in the last P columns. Its position ids skip the padding, so an
        example's scores do not depend on the other examples of the batch.
        """
        start = self.position_start if position_start is None else position_start
        batch, text_columns = input_ids.shape[:2]
        length = attention_mask.sum(dim=1)
        if self.causal:
            prompt_rows = prompt.to(self.dtype).expand(batch, -1, -1)
            ones = attention_mask.new_ones(batch, prompt.shape[0])
            column = torch.arange(text_columns, device=input_ids.device)
            shift = (text_columns - length)[:, None]
            text = self.embedding(input_ids.gather(1, (column - shift).clamp(min=0)))
            mask = torch.cat([(column >= shift).to(attention_mask.dtype), ones], dim=1)
            return PromptedBatch(
                inputs_embeds=torch.cat([text, prompt_rows], dim=1),
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0) + start,
                token_type_ids=None,
                prompt=slice(text_columns, text_columns + prompt.shape[0]),
                scored=text_columns + prompt.shape[0] - 1,
                text_start=None,
            )
        text = input_ids if input_ids.is_floating_point() else self.embedding(input_ids)
        if getattr(self.config, "type_vocab_size", 0) < 2:
            token_type_ids = None  # a tokenizer of another family may give a second type
        return PromptedBatch(
            **vars(behind_prompt(prompt, text, attention_mask, token_type_ids, start)),
            prompt=slice(0, prompt.shape[0]),
            scored=0,
            text_start=prompt.shape[0],
        )

    def embed(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, scored: Tensor
    ) -> PromptedBatch:
        """Return texts inside a template [B, T], padded on the right, as a batch. ``scored`` [B] is on the CPU."""
        if self.causal or getattr(self.config, "type_vocab_size", 0) < 2:
            token_type_ids = None
        text = self.embedding(input_ids)
        nothing = text.new_zeros(0, self.embedding_size)  # of the text, because offloaded weights are nowhere
        inputs = behind_prompt(nothing, text, attention_mask, token_type_ids, self.position_start)
        return PromptedBatch(**vars(inputs), prompt=None, scored=scored, text_start=0)

    def last_hidden(self, batch: PromptedBatch) -> Tensor:
        """The last hidden state [B, S, H]."""
        return self.outputs(batch).last_hidden_state

    def outputs(self, batch: PromptedBatch, **asked: bool) -> Any:
        """Return the encoder's outputs; ``output_hidden_states`` or ``output_attentions`` ask for more than the last
        state.
        """
        extra = {} if batch.token_type_ids is None else {"token_type_ids": batch.token_type_ids}
        if self.causal:
            extra["use_cache"] = False
        return self.base(
            inputs_embeds=batch.inputs_embeds,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            **extra,
            **asked,
        )

    def word_scores(self, hidden: Tensor, token_ids: Tensor) -> Tensor:
        """Return the LM scores [B, C] of a few words for hidden states [B, H], without scores of the whole vocabulary.

        A backbone without an LM head scores a word by the dot product with the word's input embedding, scaled to length
        1, times 4.
        """
        if self.headless:
            return embedding_scores(hidden.to(self.device), self.embedding(token_ids))
        decoder = self.model.get_output_embeddings()
        scores = decoder_scores(decoder, self._transformed(hidden), token_ids.to(device_of(decoder))).to(self.device)
        cap = getattr(self.config, "final_logit_softcapping", None)  # of Gemma
        return scores if cap is None else torch.tanh(scores / cap) * cap

    def every_word(self, hidden: Tensor) -> Tensor:
        """Return the scores [B, S, V] of all words for an encoder's hidden states [B, S, H]."""
        if self.headless:
            return embedding_scores(hidden, self.embedding.weight)
        return self.model.get_output_embeddings()(self._transformed(hidden))

    def _transformed(self, hidden: Tensor) -> Tensor:
        """What the LM head's decoder reads."""
        head = attrgetter(self.family.head)(self.model) if self.family.head else self.model
        return self.family.transform(head, hidden)

    def scores(self, batch: PromptedBatch, token_ids: Tensor) -> Tensor:
        """Return the class scores [B, C] of a prompted batch: the words' scores at the scored position."""
        return self.word_scores(batch.at_scored(self.last_hidden(batch)), token_ids)

    # ---- identity --------------------------------------------------------------------------------------------

    @property
    def word_scores_by(self) -> str:
        """The way to score words, for artifacts and logs."""
        by_embedding = f"dot product with the length-normalised input embedding, times {EMBEDDING_SCORE_SCALE:g}"
        return by_embedding if self.headless else "LM head"

    def digest(self) -> str:
        """Return the digest of the weights in use, as they are now (:func:`skn.model.weights.digest`)."""
        return weights.digest(weights_in_use(self.model, self.family, self.headless))
