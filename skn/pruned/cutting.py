"""The weights of a model whose feed-forward sublayers have fewer neurons.

A removed neuron is frozen at a value μ. Together the removed neurons contribute one constant, W_down[:, removed] ·
μ[removed], which goes into the bias of the down-projection: inside that projection, before any norm behind it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from skn.errors import InputError
from skn.model.backbone import Backbone, FfnSite
from skn.model.families import family_of
from skn.names import one_of

FREEZES = ("mean", "zero")  # where a removed neuron is frozen


def view(model: PreTrainedModel | Backbone) -> Backbone:
    """A model as a backbone of skn; an encoder alone is one without a head."""
    if isinstance(model, Backbone):
        return model
    alone = getattr(model, family_of(model.config).base, None) is None
    return Backbone(model, headless=alone or getattr(model.config, "word_scores", None) == "embedding")


def frozen_at(freeze: str, mean: Tensor | None, keep: Tensor) -> Tensor:
    """The values [L, F] float64 of the removed neurons. Raises :class:`InputError` for means that are missing or unfit."""
    one_of(freeze, list(FREEZES), "--freeze")
    if freeze == "zero":
        return torch.zeros(keep.shape, dtype=torch.float64)
    if mean is None:
        raise InputError("mean: --freeze mean needs the neurons' means [L, F]; give them, or --freeze zero")
    if mean.shape != keep.shape:
        raise InputError(f"mean: expected a mean for each neuron {list(keep.shape)}, not {list(mean.shape)}")
    return mean.double()


def widths_of(backbone: Backbone, keep: Tensor) -> list[int]:
    """How many of its neurons each layer keeps. Raises :class:`InputError` for a layer without a neuron."""
    whole = (len(backbone.ffn_sites), backbone.ffn_width)
    if keep.dtype != torch.bool or keep.shape != whole:
        raise InputError(f"keep: expected {list(whole)} bool, not {list(keep.shape)} {keep.dtype}")
    widths = [int(keep[site.layer, site.neurons.cpu()].sum()) for site in backbone.ffn_sites]
    if 0 in widths:
        raise InputError(f"layer {widths.index(0)} would keep no neuron; keep at least one")
    return widths


def check_plain(backbone: Backbone) -> None:
    """Raises :class:`InputError` for projections that are not plain, whose weights alone do not say what they compute."""
    if backbone.int8:
        raise InputError("int8: the model has no plain weights; load the plain model")
    for site in backbone.ffn_sites:
        for part in (site.gate, site.up, site.down):
            if part is None or type(part) in (nn.Linear, Conv1D):
                continue
            kind = "an adapter behind it" if hasattr(part, "adapters_behind") else f"a {type(part).__name__}"
            raise InputError(
                f"layer {site.layer}: its feed-forward sublayer has {kind}, which no narrow linear layer computes; "
                "give the model with plain linear layers"
            )


def cut(state: dict[str, Tensor], prefix: str, backbone: Backbone, keep: Tensor, frozen: Tensor) -> None:
    """Cut the FFNs in a state dict to the neurons that stay, in place.

    Afterwards every down-projection has a bias, and ``kept_neurons`` beside every activation holds the original
    indices. The tensors of other layers stay as they are.

    :param prefix: what stands before the names of the backbone's encoder or decoder in ``state``.
    :param keep: [L, F] bool.
    :param frozen: [L, F] float64, the value at which a removed neuron is frozen.

    Raises :class:`InputError` for a removed neuron whose value is NaN.
    """
    names = {id(child): prefix + name for name, child in backbone.base.named_modules()}
    for site in backbone.ffn_sites:
        neurons = site.neurons.cpu()
        kept = keep[site.layer, neurons]
        removed_at = frozen[site.layer, neurons][~kept]
        if torch.isnan(removed_at).any():
            raise InputError(f"layer {site.layer}: a removed neuron's mean is NaN; prune with other --thresholds")
        down = names[id(site.down)]
        weight = state[f"{down}.weight"]
        columns = weight.T if isinstance(site.down, Conv1D) else weight
        constant = columns[:, ~kept].double() @ removed_at
        bias = state.get(f"{down}.bias", columns.new_zeros(len(columns)))
        state[f"{down}.bias"] = (bias.double() + constant).to(bias.dtype)
        state[f"{down}.weight"] = _part(weight, kept, 0 if isinstance(site.down, Conv1D) else 1)
        for projection, rows in _projections(site, kept):
            name = names[id(projection)]
            dimension = 1 if isinstance(projection, Conv1D) else 0
            state[f"{name}.weight"] = _part(state[f"{name}.weight"], rows, dimension)
            if projection.bias is not None:
                state[f"{name}.bias"] = state[f"{name}.bias"][rows]
        state[f"{names[id(site.activation)]}.kept_neurons"] = neurons[kept]


def _projections(site: FfnSite, kept: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """The projections before the activations of a layer, and which of their rows stay."""
    if site.gate is None:
        return [(site.up, kept)]
    if site.gate is site.up:
        return [(site.up, torch.cat([kept, kept]))]
    return [(site.gate, kept), (site.up, kept)]


def _part(weight: Tensor, kept: Tensor, dimension: int) -> Tensor:
    return weight.index_select(dimension, kept.nonzero()[:, 0]).contiguous()


def filled(small: PreTrainedModel, state: dict[str, Tensor], whole: nn.Module) -> PreTrainedModel:
    """Put the tensors of a state dict, in their dtypes, into a model, with what transformers keeps beside the weights."""
    small.load_state_dict(state, assign=True)
    small.tie_weights()
    if getattr(whole, "generation_config", None) is not None and small.can_generate():
        small.generation_config = copy.deepcopy(whole.generation_config)
    return small.eval()
