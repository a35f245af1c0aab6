"""A smaller model of a plain Hugging Face class, with one feed-forward width in every layer.

Such a model needs no code of skn: transformers, and whatever reads its architectures, load the folder.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.pruned.cutting import check_plain, cut, filled, frozen_at, view, widths_of


def stock_model(
    model: PreTrainedModel | Backbone, keep: Tensor, mean: Tensor | None = None, *, freeze: str = "mean"
) -> PreTrainedModel:
    """Remove neurons from a model of any family, and return a model of the same class that is smaller.

    The removed neurons are frozen at their mean or at zero. The result computes what the whole model computes under a
    mask of that kind over the removed neurons.

    Args:
        model: a language model, or an encoder or decoder alone, of transformers' own classes. It stays as it is. A model without a head
            gives a model without a head, which ``AutoModel`` loads.
        keep: [L, F] bool, the neurons that stay, the same number in each layer.
        mean: [L, F], the mean activations, for example ``statistics.compute().mean[class]`` of ``skn.NeuronStatistics``.
        freeze: "mean" puts the mean effect of the removed neurons into the bias of the layer's down-projection. Where the architecture has
            no such bias, only "zero" is possible. Llama and ModernBERT get one (``mlp_bias=True``, the other new biases are zero).

    Returns:
        The smaller model, in eval mode on the CPU. Save it with ``save_pretrained``, and save the tokenizer beside it.

    Raises:
        InputError: the layers would have different widths; the architecture has no bias for the means; the model is in int8, or has
            adapters or other layers that are not plain; a mean is NaN.

    Example::

        >>> keep = ranking.count(12, range(3))  # [L, F] bool: the 12 best neurons of each of the layers 0 to 2
        >>> stock = skn.stock_model(run.model.backbone, keep, freeze="zero")
        >>> type(stock).__name__, stock.config.intermediate_size
        ('RobertaForMaskedLM', 12)
    """
    backbone = view(model)
    check_plain(backbone)
    widths = widths_of(backbone, keep)
    _check_one_width(widths)
    frozen = frozen_at(freeze, mean, keep)
    whole = backbone.base if backbone.headless else backbone.model
    stock = _stock_class(whole)
    config = copy.deepcopy(whole.config)
    setattr(config, backbone.family.width, widths[0])
    if freeze == "mean" and backbone.ffn_sites[0].down.bias is None:
        if backbone.family.biases is None:
            raise InputError(
                f"a {stock.__name__} has no bias in its down-projection, so it cannot hold the means of the removed "
                "neurons; give --freeze zero"
            )
        setattr(config, backbone.family.biases, True)
    small = stock(config, **_without_pooler(whole))
    state = {name: tensor.detach().cpu().clone() for name, tensor in whole.state_dict().items()}
    cut(state, "" if whole is backbone.base else f"{backbone.family.base}.", backbone, keep, frozen)
    return filled(small, _fitted(state, small), whole)


def _check_one_width(widths: list[int]) -> None:
    if len(set(widths)) == 1:
        return
    layers = {width: [str(i) for i, other in enumerate(widths) if other == width] for width in sorted(set(widths))}
    found = "; ".join(
        f"layer{'s' * (len(numbers) > 1)} {', '.join(numbers)}: {width}" for width, numbers in layers.items()
    )
    raise InputError(
        f"the stock architecture has one feed-forward width for all layers, but the layers would keep different numbers "
        f"of neurons ({found}); keep the same number in every layer"
    )


def _stock_class(model: nn.Module) -> type[PreTrainedModel]:
    kind = type(model)
    if not kind.__module__.startswith("transformers.models."):
        raise InputError(f"a {kind.__name__} is no class of transformers' own; give the model it was made from")
    return kind


def _without_pooler(model: nn.Module) -> dict[str, Any]:
    """The argument that makes an encoder without a pooler, where this one has none."""
    return {"add_pooling_layer": False} if getattr(model, "pooler", model) is None else {}


def _fitted(state: dict[str, Tensor], small: nn.Module) -> dict[str, Tensor]:
    """The tensors that the small model has. Biases that the whole model lacks are zero."""
    wanted = small.state_dict()
    odd = [name for name in wanted.keys() - state.keys() if not name.endswith(".bias")]
    odd += [name for name in state.keys() - wanted.keys() if not name.endswith(".kept_neurons") and state[name].any()]
    if odd:
        raise AssertionError(f"the weights do not fit the smaller model: {odd}")
    dtype = next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
    return {
        name: state[name] if name in state else torch.zeros_like(tensor, dtype=dtype) for name, tensor in wanted.items()
    }
