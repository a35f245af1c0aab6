"""The table of backbone families: where each architecture has the parts that skn needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from skn.errors import InputError
from skn.model.portable.layers_skn import roberta_transform
from skn.names import nearest

# How a family knows a token's place: from a table of positions that starts at 0, from a table whose first entries belong
# to the padding (RoBERTa starts at padding_idx + 1), or without a table (rotary or relative positions).
TABLE, BEHIND_PADDING, NO_TABLE = "table", "table behind padding", "no table"


@dataclass(frozen=True)
class EncoderParts:
    """Where an encoder that the operator ``encode`` computes has its parts.

    ``modules`` is transformers' package, a point, and the beginning of its classes' names. ``parts`` are paths inside a
    layer, in the order of skn.ops.reference.LAYER_PARTS. ``attention`` is the path of the module that knows its heads,
    in the attribute ``heads``. ``eps`` is that of every LayerNorm; None for the configuration's. ``around`` are the parts
    of the model around the layers. ``typed`` says whether the embeddings read token types.
    """

    modules: str
    parts: tuple[str, ...]
    attention: str = "attention.self"
    heads: str = "num_attention_heads"
    eps: float | None = None
    around: tuple[str, ...] = ("embeddings", "encoder")
    typed: bool = True


@dataclass(frozen=True)
class Family:
    """The places of the parts that skn needs in one architecture, as attribute paths.

    A gated FFN computes act(gate)·up. If ``gate`` and ``up`` are the same module, it computes both, the gate first.
    """

    base: str  # the encoder or decoder inside the LM model
    layers: str  # list of layers inside it
    activation: str  # inside a layer: the module whose output is act(up), or act(gate) in a gated FFN
    up: str  # inside a layer: the up-projection
    down: str  # inside a layer: the down-projection, whose input is the activation
    head: str | None = (
        None  # the part of the LM model's head before the linear layer over the vocabulary; None: the model
    )
    transform: Callable[[nn.Module, Tensor], Tensor] = lambda _, hidden: hidden  # what the head does before that layer
    gate: str | None = None  # inside a layer: the projection that act reads in a gated FFN
    width: str = "intermediate_size"  # the FFN width in the configuration; absent or None: 4 × hidden size
    encoder: EncoderParts | None = None  # None if `encode` does not compute such layers
    # the field of the configuration that gives the FFN its biases; None if there is no such field
    biases: str | None = None
    causal: bool = False
    positions: str = TABLE
    flat_rows: bool = False  # the FFN reads [B·S, H] instead of [B, S, H]


def _call(head: nn.Module, hidden: Tensor) -> Tensor:
    return head(hidden)


def _distilbert_transform(model: nn.Module, hidden: Tensor) -> Tensor:
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


_BERT_LAYER = {
    "layers": "encoder.layer",
    "activation": "intermediate",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_BERT_PARTS = (
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_ROBERTA = Family(
    base="roberta",
    **_BERT_LAYER,
    encoder=EncoderParts("roberta.Roberta", _BERT_PARTS),
    head="lm_head",
    transform=roberta_transform,
    positions=BEHIND_PADDING,
)
_BERT = Family(
    base="bert",
    **_BERT_LAYER,
    encoder=EncoderParts("bert.Bert", _BERT_PARTS),
    head="cls.predictions.transform",
    transform=_call,
)
_DISTILBERT = Family(
    base="distilbert",
    layers="transformer.layer",
    activation="ffn.activation",
    up="ffn.lin1",
    down="ffn.lin2",
    width="hidden_dim",
    encoder=EncoderParts(
        "distilbert.DistilBert",
        (
            *(f"attention.{name}_lin" for name in ("q", "k", "v", "out")),
            "sa_layer_norm",
            "ffn.lin1",
            "ffn.lin2",
            "output_layer_norm",
        ),
        attention="attention",
        heads="n_heads",
        eps=1e-12,
        around=("embeddings", "transformer"),
        typed=False,
    ),
    transform=_distilbert_transform,
)
_MODERNBERT = Family(
    base="model",
    layers="layers",
    activation="mlp.act",
    gate="mlp.Wi",
    up="mlp.Wi",
    down="mlp.Wo",
    biases="mlp_bias",
    head="head",
    transform=_call,
    positions=NO_TABLE,
)
_GPT2 = Family(
    base="transformer",
    layers="h",
    activation="mlp.act",
    up="mlp.c_fc",
    down="mlp.c_proj",
    width="n_inner",
    causal=True,
)
_GPT_NEOX = Family(
    base="gpt_neox",
    layers="layers",
    activation="mlp.act",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    causal=True,
    positions=NO_TABLE,
)
_OPT = Family(
    base="model",
    layers="decoder.layers",
    activation="activation_fn",
    up="fc1",
    down="fc2",
    width="ffn_dim",
    biases="enable_bias",
    causal=True,
    flat_rows=True,
)
_LLAMA = Family(
    base="model",
    layers="layers",
    activation="mlp.act_fn",
    gate="mlp.gate_proj",
    up="mlp.up_proj",
    down="mlp.down_proj",
    causal=True,
    positions=NO_TABLE,
)

PRUNED = "skn_pruned_"  # the beginning of a pruned model's model_type; its unpruned model's model_type follows

# Hugging Face model_type → family. The pruned types are registered by skn.pruned.modeling.
FAMILIES: dict[str, Family] = {
    "roberta": _ROBERTA,
    "xlm-roberta": replace(_ROBERTA, encoder=EncoderParts("xlm_roberta.XLMRoberta", _BERT_PARTS)),
    "camembert": replace(_ROBERTA, encoder=EncoderParts("camembert.Camembert", _BERT_PARTS)),
    "bert": _BERT,
    "electra": replace(
        _BERT,
        base="electra",
        encoder=EncoderParts("electra.Electra", _BERT_PARTS, around=("embeddings", "embeddings_project", "encoder")),
        head="generator_predictions",
    ),
    "distilbert": _DISTILBERT,
    "mpnet": replace(_ROBERTA, base="mpnet", encoder=None),
    "deberta-v2": replace(_BERT, base="deberta", encoder=None),
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": replace(_LLAMA, biases="mlp_bias"),
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "phi3": replace(_LLAMA, activation="mlp.activation_fn", gate="mlp.gate_up_proj", up="mlp.gate_up_proj"),
    "olmo2": _LLAMA,
}
FAMILIES |= {PRUNED + name: family for name, family in FAMILIES.items()}

# Fields in which a configuration counts the experts of its layers.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def family_of(config: Any, where: str = "model") -> Family:
    """Return the family of a model's configuration. Raises :class:`InputError` for a model that skn does not read."""
    kind = config.model_type
    if any(getattr(config, field, None) for field in _EXPERTS):
        raise InputError(
            f"{where}: a mixture of experts ('{kind}'): each token runs through other neurons, so skn, which compares the "
            "same neurons over all texts, does not read it; give a model with dense feed-forward layers"
        )
    if kind == "albert":
        raise InputError(
            f"{where}: ALBERT runs one layer's weights several times, so no neuron belongs to one layer, to be masked or "
            "pruned there; give a model whose layers have weights of their own, such as bert-base-uncased"
        )
    if kind not in FAMILIES:
        known = [name for name in FAMILIES if not name.startswith(PRUNED)]
        near = nearest(kind, known)
        raise InputError(
            f"{where}: model family '{kind}' is not supported"
            + (f" (the nearest: {near})" if near else "")
            + f"; skn reads {', '.join(known)}"
        )
    return FAMILIES[kind]
