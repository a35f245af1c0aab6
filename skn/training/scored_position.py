"""The last hidden state of the scored position, with gradients: the last layer computes this position alone.

Class scores need the keys and values of all positions of the last layer, and everything else at the scored position.
The layer's own linear layers, norms and adapters are called, so whatever is tuned in them gets its gradient.
"""

from __future__ import annotations

import copy
import importlib

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from skn.inference.known import ATTENTIONS
from skn.model.backbone import Backbone
from skn.model.plain import is_plain
from skn.model.portable.layers_skn import Adapter
from skn.model.prompted import PromptedBatch

# Packages whose modules compute each position by itself, if they stand in a layer outside its attention.
_KNOWN_PACKAGES = {"torch", "transformers", "skn"}


def differentiable_hidden(backbone: Backbone, batch: PromptedBatch) -> Tensor:
    """Return the last hidden state [B, H] of the scored position.

    Where a part of the backbone is unknown, all positions are computed.
    """
    if not _is_known(backbone):
        return batch.at_scored(backbone.last_hidden(batch))
    last = _last_layer(backbone)
    short = copy.copy(backbone)
    short.base = _replaced(backbone.base, last, _FirstPosition(backbone.base.get_submodule(last)))
    return short.last_hidden(batch)[:, 0]


class _FirstPosition(nn.Module):
    """A layer that returns only the first position [B, 1, H], which is the scored position of every encoder."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, *_args, **_kwargs) -> Tensor:
        layer, attention, first = self.layer, self.layer.attention.self, hidden[:, :1]

        def by_head(rows: Tensor) -> Tensor:
            return rows.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

        context = F.scaled_dot_product_attention(
            by_head(attention.query(first)),
            by_head(attention.key(hidden)),
            by_head(attention.value(hidden)),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            scale=attention.scaling,
        )
        return layer.feed_forward_chunk(layer.attention.output(context.transpose(1, 2).flatten(2), first))


def _replaced(module: nn.Module, path: str, part: nn.Module) -> nn.Module:
    """Return the module with another part at ``path``.

    Only the modules on the path are copied, over the same parts: other models, also in other threads, run the given
    module as it is.
    """
    name, _, rest = path.partition(".")
    own = copy.copy(module)
    own._modules = {**module._modules, name: _replaced(module._modules[name], rest, part) if rest else part}
    return own


def _last_layer(backbone: Backbone) -> str:
    layers = backbone.family.layers
    return f"{layers}.{len(backbone.base.get_submodule(layers)) - 1}"


def _is_known(backbone: Backbone) -> bool:
    """Whether the modules that are not called, or not for all positions, compute what :class:`_FirstPosition` does."""
    encoder = backbone.family.encoder
    if (
        encoder is None
        or encoder.attention != "attention.self"
        or backbone.config._attn_implementation not in ATTENTIONS
    ):
        return False
    if hooks_of_all._global_forward_hooks or hooks_of_all._global_forward_pre_hooks:
        return False
    package, _, prefix = encoder.modules.rpartition(".")
    classes = importlib.import_module(f"transformers.models.{package}.modeling_{package}")
    last = _last_layer(backbone)
    kinds = {
        "": "Model",
        "encoder": "Encoder",
        last: "Layer",
        f"{last}.attention": "Attention",
        f"{last}.attention.self": "SelfAttention",
    }
    base = backbone.base
    if not all(is_plain(base.get_submodule(path), getattr(classes, prefix + kind)) for path, kind in kinds.items()):
        return False
    layer = base.get_submodule(last)
    return not layer.attention.self.is_causal and all(_is_position_wise(part) for part in layer.modules())


def _is_position_wise(part: nn.Module) -> bool:
    hooks = part._forward_hooks.values()
    if hooks and all(isinstance(getattr(hook, "__self__", None), Adapter) for hook in hooks):
        return not part._forward_pre_hooks
    return is_plain(part, type(part)) and type(part).__module__.split(".")[0] in _KNOWN_PACKAGES
