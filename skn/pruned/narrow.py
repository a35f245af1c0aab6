"""Pruned classes of every family: each layer has its own FFN width and a bias in its down-projection.

RoBERTa and BERT have classes of their own (:mod:`skn.pruned.modeling`). The classes of another family are made from transformers' classes when a name of this module or a folder of the family asks for them,
so nothing imports a family that nobody uses. ``PrunedLlamaForCausalLM`` is transformers' ``LlamaForCausalLM`` with
narrow layers, ``PrunedLlamaForPromptClassification`` has a prompt and label words inside, too, ``PrunedLlamaModel`` is
the decoder alone, and ``PrunedLlamaConfig`` the configuration of them all.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)
from transformers.modeling_outputs import MaskedLMOutput
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)
from transformers.pytorch_utils import Conv1D

from skn.errors import InputError
from skn.model.families import FAMILIES, PRUNED, Family
from skn.model.portable.layers_skn import FrozenInt8, WholeWeights, hold_bytes
from skn.model.portable.modeling_skn import BYTES, PROMPT_TENSORS
from skn.pruned.narrow_prompt import NarrowPrompt
from skn.pruned.served import Served

# Families whose pruned models have classes of their own.
_BY_HAND = ("roberta", "bert")
KINDS = [kind for kind, family in FAMILIES.items() if family.base not in _BY_HAND and not kind.startswith(PRUNED)]


_PROMPTED = "ForPromptClassification"
# The fields of a pruned configuration beyond its family's: type and default.
_FIELDS = {
    "ffn_widths": (list[int] | None, None),
    "word_scores": (str, "lm_head"),
    "prompt_length": (int, 1),
    "position_start": (int | None, None),
}
_INT8_FIELDS = {"int8": (list[str] | None, None), "int8_keeps_plain": (bool, False)}  # of a family on `encode`
_ABSENT = {"adapter_bottleneck": None, "int8": None}  # what only other families have
# The first parameters of every encoder's forward.
_FIRST = ("input_ids", "attention_mask")


class _Narrow(FrozenInt8):
    """The narrow layers. The made classes mix it in before the family's own class."""

    refusal = InputError
    _keys_to_ignore_on_load_unexpected = [*(rf"^{name}$" for name in PROMPT_TENSORS), BYTES]

    def __init__(self, config: Any, **named: Any):
        super().__init__(config, **named)
        self._narrow()
        hold_bytes(getattr(self, self._family.base, self), config, self._family.down)
        self.post_init()

    @property
    def _family(self) -> Family:
        return FAMILIES[self.config.model_type]

    def _narrow(self) -> None:
        """Give each layer the width of the configuration, a bias in its down-projection, and room for neuron numbers."""
        config, family = self.config, self._family
        layers = attrgetter(family.layers)(getattr(self, family.base, self))
        for layer, width in zip(layers, config.ffn_widths or [self.whole_width] * len(layers), strict=True):
            up, down = attrgetter(family.up)(layer), attrgetter(family.down)(layer)
            columns = 2 * width if family.gate == family.up else width
            for place in dict.fromkeys(filter(None, (family.gate, family.up))):
                layer.set_submodule(place, _linear(type(up), config.hidden_size, columns, up.bias is not None))
            layer.set_submodule(family.down, _linear(type(down), width, config.hidden_size, bias=True))
            attrgetter(family.activation)(layer).register_buffer("kept_neurons", torch.arange(width))

    @property
    def whole_width(self) -> int:
        """F, the FFN width of the unpruned model."""
        width = getattr(self.config, self._family.width, None)
        return width or 4 * self.config.hidden_size


def _linear(kind: type[nn.Module], inputs: int, outputs: int, bias: bool) -> nn.Module:
    return Conv1D(outputs, inputs) if issubclass(kind, Conv1D) else nn.Linear(inputs, outputs, bias)


class _NarrowLM(Served, _Narrow, WholeWeights):
    """A narrow language model. An encoder without a head stays one; its logits are the embedding scores of every word."""

    def _narrow(self) -> None:
        super()._narrow()
        if self.headless:
            for name in [name for name, _ in self.named_children() if name != self._family.base]:
                delattr(self, name)
            self._tied_weights_keys = {}  # the names are those of the head's weights

    @property
    def headless(self) -> bool:
        return self.config.word_scores == "embedding"

    def get_output_embeddings(self) -> nn.Module | None:
        return None if self.headless else super().get_output_embeddings()

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """As the family's language model."""
        if self._family.encoder is not None and len(arguments) <= len(_FIRST):
            found = self._served_words(**dict(zip(_FIRST, arguments, strict=False)), **named)
            if found is not None:
                return found
        if not self.headless:
            return super().forward(*arguments, **named)
        hidden: Tensor = getattr(self, self._family.base)(*arguments, **named).last_hidden_state
        return MaskedLMOutput(logits=self.backbone.every_word(hidden))

    def _served_words(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **asked: Any,
    ) -> MaskedLMOutput | None:
        hidden = self.served_states(input_ids, attention_mask, token_type_ids, asked)
        if hidden is None:
            return None
        logits = self.backbone.every_word(hidden)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits)


@dataclass(frozen=True)
class PrunedClasses:
    """The classes of one family's pruned models."""

    config: type[PreTrainedConfig]
    prompted: type[transformers.PreTrainedModel]
    lm: type[transformers.PreTrainedModel]
    model: type[transformers.PreTrainedModel]


@cache
def classes_of(kind: str) -> PrunedClasses:
    """Make the pruned classes of a ``model_type`` in :data:`KINDS`, and let the Auto classes load them."""
    config, lm, model = (getattr(transformers, name) for name in _names(kind))
    fields = _FIELDS if FAMILIES[kind].encoder is None else _FIELDS | _INT8_FIELDS
    own = _made(
        config.__name__,
        (config,),
        f"A ``{config.__name__}`` of a pruned model; its own fields are as in :mod:`skn.model.portable.modeling_skn`.",
        __annotations__={name: annotation for name, (annotation, _) in fields.items()},
        model_type=PRUNED + kind,
        **(_ABSENT | {name: default for name, (_, default) in fields.items()}),
    )
    own = strict(own)
    lm_class = _made(
        lm.__name__, (_NarrowLM, lm), f"``{lm.__name__}`` with its own FFN width in each layer.", config_class=own
    )
    stem, about = model.__name__.removesuffix("Model"), "A pruned model with prompt and label words inside."
    prompted = _made(f"{stem}{_PROMPTED}", (NarrowPrompt, lm_class), about, config_class=own)
    about = f"``{model.__name__}`` with its own FFN width in each layer, without head."
    model_class = _made(model.__name__, (_Narrow, model), about, config_class=own, **_without_pooler(model))
    found = PrunedClasses(own, prompted, lm_class, model_class)
    auto = AutoModelForCausalLM if FAMILIES[kind].causal else AutoModelForMaskedLM
    AutoConfig.register(own.model_type, own, exist_ok=True)
    auto.register(own, lm_class, exist_ok=True)
    AutoModelForSequenceClassification.register(own, prompted, exist_ok=True)
    AutoModel.register(own, model_class, exist_ok=True)
    globals().update(
        {made.__name__: made for made in (own, prompted, lm_class, model_class)}
    )  # so that they can be pickled
    return found


def _made(name: str, parents: tuple[type, ...], about: str, **content: Any) -> type:
    return type(f"Pruned{name}", parents, {"__module__": __name__, "__doc__": about, **content})


def _without_pooler(model: type) -> dict[str, Any]:
    """An ``__init__`` that leaves out the pooler, which no language model has, where a model may have one."""
    if "add_pooling_layer" not in inspect.signature(model.__init__).parameters:
        return {}

    def __init__(self: Any, config: Any):
        _Narrow.__init__(self, config, add_pooling_layer=False)

    return {"__init__": __init__}


def _names(kind: str) -> tuple[str, str, str]:
    """The names of transformers' classes: configuration, language model, encoder or decoder."""
    lms = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if FAMILIES[kind].causal else MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return CONFIG_MAPPING_NAMES[kind], lms[kind], MODEL_MAPPING_NAMES[kind]


def __getattr__(name: str) -> Any:
    for kind in KINDS:
        names = _names(kind)
        if name.removeprefix("Pruned") in (*names, names[-1].removesuffix("Model") + _PROMPTED):
            classes_of(kind)
            return globals()[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def register() -> None:
    """Let ``AutoConfig`` read the folders of every family. The first folder of a family makes the family's classes."""
    for kind in KINDS:
        AutoConfig.register(PRUNED + kind, _waiting(kind), exist_ok=True)


def _waiting(kind: str) -> type:
    """Make the configuration class that stands for a family until a folder of the family is read."""

    def from_dict(_: type, values: dict[str, Any], **more: Any) -> Any:
        return classes_of(kind).config.from_dict(values, **more)

    content = {"__module__": __name__, "model_type": PRUNED + kind, "from_dict": classmethod(from_dict)}
    return type(f"Waiting_{kind}", (PreTrainedConfig,), content)
