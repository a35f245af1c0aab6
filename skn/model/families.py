"""The table of backbone families: where each architecture has the parts that skn needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from skn.errors import InputError
from skn.model.portable.layers_skn import roberta_transform


@dataclass(frozen=True)
class Family:
    """The places of the parts that skn needs in one architecture, as attribute paths."""

    base: str  # the encoder inside the LM model
    layers: str  # list of layers inside the encoder
    activation: str  # inside a layer: the module whose output is the activation
    up: str  # inside a layer: the up-projection
    down: str  # inside a layer: the down-projection
    head: str | None  # the module before the decoder; None if the decoder reads hidden states directly
    transform: Callable[[nn.Module, Tensor], Tensor]  # the head without its decoder
    decoder: str  # linear layer over the vocabulary
    # Parts inside a layer, in the order of skn.ops.reference.LAYER_PARTS; None if `encode` does not support the
    # architecture.
    encoder: tuple[str, ...] | None = None
    modules: str | None = (
        None  # for such an encoder: transformers' package, a point, and the beginning of its classes' names
    )
    causal: bool = False
    padding_shifts_positions: bool = False  # position ids start at padding_idx + 1


def _bert_transform(head: nn.Module, hidden: Tensor) -> Tensor:
    return head(hidden)


def _no_transform(_: nn.Module, hidden: Tensor) -> Tensor:
    return hidden


_BERT_LAYER = {
    "layers": "encoder.layer",
    "activation": "intermediate",
    "up": "intermediate.dense",
    "down": "output.dense",
    "encoder": (
        *(f"attention.self.{name}" for name in ("query", "key", "value")),
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ),
}
_ROBERTA = Family(
    base="roberta",
    modules="roberta.Roberta",
    **_BERT_LAYER,
    head="lm_head",
    transform=roberta_transform,
    decoder="lm_head.decoder",
    padding_shifts_positions=True,
)
_XLM_ROBERTA = replace(_ROBERTA, modules="xlm_roberta.XLMRoberta")
_BERT = Family(
    base="bert",
    modules="bert.Bert",
    **_BERT_LAYER,
    head="cls.predictions.transform",
    transform=_bert_transform,
    decoder="cls.predictions.decoder",
)
_GPT2 = Family(
    base="transformer",
    layers="h",
    activation="mlp.act",
    up="mlp.c_fc",
    down="mlp.c_proj",
    head=None,
    transform=_no_transform,
    decoder="lm_head",
    causal=True,
)

# Hugging Face model_type → family. The pruned types are registered by skn.pruned.modeling.
FAMILIES: dict[str, Family] = {
    "roberta": _ROBERTA,
    "xlm-roberta": _XLM_ROBERTA,
    "bert": _BERT,
    "gpt2": _GPT2,
    "skn_pruned_roberta": _ROBERTA,
    "skn_pruned_bert": _BERT,
}


def family_of(model_type: str, where: str = "model") -> Family:
    """Return the family of a Hugging Face model type. Raises :class:`InputError` for an unknown type."""
    if model_type not in FAMILIES:
        known = ", ".join(name for name in FAMILIES if not name.startswith("skn_"))
        raise InputError(f"{where}: model family '{model_type}' is not supported; skn reads {known}")
    return FAMILIES[model_type]
