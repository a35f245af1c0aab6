"""Check that the modules which ``encode`` replaces compute what ``encode`` computes.

``encode`` reads weights and calls none of these modules. So each module must be exactly the class that transformers
puts there, must run its own class's ``forward`` without hooks, and its weights must be plain dense parameters. A
wrapper (LoRA), a quantized layer, a parametrization, an offloaded weight or a subclass computes something else.
"""

from __future__ import annotations

import importlib
from functools import cache
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all
from transformers import PreTrainedModel

from skn.model.backbone import Backbone
from skn.model.families import EncoderParts
from skn.model.plain import is_hooked, is_plain
from skn.model.portable.layers_skn import Int8Linear
from skn.ops.checks import is_freed
from skn.ops.reference import LAYER_PARTS

# A module's place in the tree: (the number of its parent module, its name there, its class).
Place = tuple[int, str, type]

# The attention functions of transformers that compute the same as `encode`. A user may register others.
ATTENTIONS = ("eager", "sdpa")
_NORMS = [LAYER_PARTS.index(name) for name in ("attention_norm", "output_norm")]


def stranger(backbone: Backbone) -> str | None:
    """Describe the first part of the encoder that ``encode`` does not know; None if it knows every part.

    Every call of a pruned model runs this check. Nothing reports that a module or a hook was changed, so skn looks at
    all of them each time. It goes by place and does not use ``modules()``, whose names and generators would take most
    of the time.
    """
    if hooks_of_all._global_forward_hooks or hooks_of_all._global_forward_pre_hooks:
        return "hooks hang on every module"
    if backbone.config._attn_implementation not in ATTENTIONS:
        return f"its attention is '{backbone.config._attn_implementation}'"
    encoder = backbone.family.encoder
    base, whole = backbone.base, _whole(encoder, hasattr(backbone.base, "embeddings_project"))
    if not is_plain(base, whole.kind):
        return _described(backbone.family.base, base, whole.kind)
    around = _strange_below(base, whole.around)
    if around:
        return around
    dtype, device, sizes = backbone.dtype, backbone.device, _Sizes.of(backbone)
    routes = _routes(encoder.parts)
    for index, layer in enumerate(attrgetter(backbone.family.layers)(base)._modules.values()):
        if not is_plain(layer, whole.layer):
            return _described(f"layer {index}", layer, whole.layer)
        found = _strange_below(layer, whole.below) or sizes.odd(layer, encoder)
        if found:
            return f"layer {index}, {found}"
        for route in routes:
            odd = _odd_weights(_part(layer, route), dtype, device)
            if odd:
                return f"layer {index}, {'.'.join(route)}: {odd}"
    return None


def encoder_weights(backbone: Backbone) -> list[Tensor]:
    """Return the weight and the bias of each part of each layer, in the order of ``encode``."""
    layers, routes = attrgetter(backbone.family.layers)(backbone.base), _routes(backbone.family.encoder.parts)
    return [
        weight
        for layer in layers._modules.values()
        for route in routes
        for weight in _weight_and_bias(_part(layer, route))
    ]


def eps_of(backbone: Backbone) -> float:
    """Return the eps of every LayerNorm in the encoder's layers."""
    own = backbone.family.encoder.eps
    return backbone.config.layer_norm_eps if own is None else own


def _weight_and_bias(module: nn.Module) -> tuple[Tensor, Tensor]:
    if type(module) is Int8Linear:
        return module._buffers["int8_weight"], module._buffers["int8_bias"]
    return module._parameters["weight"], module._parameters["bias"]


@cache
def _route(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


@cache
def _routes(paths: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(_route, paths))


def _part(layer: nn.Module, route: tuple[str, ...]) -> nn.Module:
    """Return a module below a layer. An attribute of a module takes several times as long as its dictionary."""
    for name in route:
        layer = layer._modules[name]
    return layer


def _strange_below(module: nn.Module, places: tuple[Place, ...]) -> str | None:
    found = [module]
    for above, name, kind in places:
        part = found[above]._modules.get(name)
        if type(part) is Int8Linear and kind is nn.Linear:
            kind = Int8Linear
        if not is_plain(part, kind):
            return _described(name, part, kind)
        found.append(part)
    return None


def _described(name: str, module: nn.Module | None, kind: type) -> str:
    if type(module) is not kind:
        return f"{name}: a {type(module).__module__}.{type(module).__qualname__} instead of a {kind.__name__}"
    if "forward" in module.__dict__:
        return f"{name}: its forward was replaced"
    if is_hooked(module._forward_hooks) or module._forward_pre_hooks:
        return f"{name}: hooks hang on it"
    return f"{name}: its dropout is awake"


class _Sizes(NamedTuple):
    """Numbers that ``encode`` takes from the configuration. Layers have them, too."""

    heads: int
    scaling: float
    eps: float

    @classmethod
    def of(cls, backbone: Backbone) -> _Sizes:
        config = backbone.config
        heads = config.num_attention_heads
        return cls(heads, (config.hidden_size // heads) ** -0.5, eps_of(backbone))

    def odd(self, layer: nn.Module, encoder: EncoderParts) -> str | None:
        """Describe the first number of a layer that differs."""
        attention = _part(layer, _route(encoder.attention))
        if (getattr(attention, encoder.heads), attention.is_causal) != (self.heads, False):
            return f"attention: not {self.heads} heads that see every token"
        if attention.scaling != self.scaling:
            return "attention: another scale of its scores"
        norms = [_part(layer, _route(encoder.parts[number])) for number in _NORMS]
        if not norms[0].eps == norms[1].eps == self.eps:
            return "LayerNorm: another eps than the configuration's"
        return None


def _odd_weights(module: nn.Module, dtype: torch.dtype, device: torch.device) -> str | None:
    if type(module) is Int8Linear:
        return _odd_bytes(module, dtype, device)
    own = module._parameters
    for name in ("weight", "bias"):
        tensor = own.get(name)
        if type(tensor) is not nn.Parameter:
            return f"{name}: {'absent' if tensor is None else f'a {type(tensor).__name__}, no plain parameter'}"
        if tensor.layout is not torch.strided:
            return f"{name}: {tensor.layout}, not dense"
        if tensor.dtype is not dtype or tensor.device != device:
            return f"{name}: {tensor.dtype} on {tensor.device}, the embeddings are {dtype} on {device}"
        if is_freed(tensor):
            return f"{name}: its memory was freed"
    return None


def _odd_bytes(module: Int8Linear, dtype: torch.dtype, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"{device.type} has no kernel for products of bytes"
    for name, expected in (("int8_weight", torch.int8), ("int8_bias", dtype)):
        tensor = module._buffers.get(name)
        if type(tensor) is not Tensor or tensor.layout is not torch.strided or is_freed(tensor):
            return f"{name}: no dense tensor"
        if tensor.dtype is not expected or tensor.device != device:
            return f"{name}: {tensor.dtype} on {tensor.device}, expected {expected} on {device}"
    return None


class _Whole:
    """The classes of an encoder: the encoder, the modules around the layers, a layer, and the modules inside a layer."""

    def __init__(self, base: PreTrainedModel, around: tuple[str, ...]):
        self.kind = type(base)
        stack = f"{around[-1]}.layer"
        layers = base.get_submodule(stack)
        kinds = {name: type(part) for name, part in base.named_modules() if name.split(".")[0] in around}
        self.around = _places({name: kind for name, kind in kinds.items() if not name.startswith(stack + ".")})
        self.layer = type(layers[0])
        self.below = _places({name: type(part) for name, part in layers[0].named_modules() if name})


def _places(kinds: dict[str, type]) -> tuple[Place, ...]:
    """Turn paths into places. A module comes before its children, as in ``named_modules``."""
    number = {"": 0} | {name: index + 1 for index, name in enumerate(kinds)}
    return tuple((number[name.rpartition(".")[0]], name.rpartition(".")[2], kind) for name, kind in kinds.items())


@cache
def _whole(encoder: EncoderParts, projects: bool) -> _Whole:
    """Read the classes from the smallest encoder that transformers builds.

    :param projects: the encoder projects its embeddings to the hidden size.
    """
    where, _, prefix = encoder.modules.rpartition(".")
    configs = importlib.import_module(f"transformers.models.{where}.configuration_{where}")
    models = importlib.import_module(f"transformers.models.{where}.modeling_{where}")
    sizes = {"hidden_size": 2, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 1}
    config = getattr(configs, f"{prefix}Config")(**sizes, embedding_size=1 if projects else 2)
    with torch.device("meta"):
        return _Whole(getattr(models, f"{prefix}Model")(config), encoder.around)
