"""The parameters that a method tunes inside the encoder, beside the prompt: none, the biases, or adapters.

An extra holds its own parameters, and puts them into modules that only its own model uses. So no other model computes
with these parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Size, Tensor, nn

from skn.errors import InputError
from skn.model.adapter import TunedAdapter, bottleneck_of
from skn.model.backbone import Backbone


class Extra(nn.Module):
    """The extra of the method "prompt", which has no parameters, and the base class of the other extras."""

    bottleneck: int | None = None  # the width of the adapters, if the extra has adapters

    @classmethod
    def fresh(cls, _backbone: Backbone, _generator: torch.Generator) -> Extra:
        """Return the extra at the start of a training."""
        return cls()

    @classmethod
    def from_tensors(cls, _backbone: Backbone, _tensors: Mapping[str, Tensor]) -> Extra:
        """Make an extra from tensors with the names and shapes of :meth:`shapes`. Other tensors are ignored."""
        return cls()

    @classmethod
    def shapes(cls, _backbone: Backbone) -> dict[str, Size]:
        """Return the shape of every stored tensor by name.

        Raises :class:`InputError` for a backbone that cannot have this extra.
        """
        return {}

    def tensors(self) -> dict[str, nn.Parameter]:
        """Return the parameters by the names under which they are stored."""
        return {}

    def enter(self, _backbone: Backbone) -> None:
        """Put this extra into the modules of the backbone, so that they compute with it."""


class Biases(Extra):
    """BitFit (Ben Zaken et al., ACL 2022): the extra has a tuned copy of every bias of the encoder.

    :param biases: each bias by its name in the encoder.
    """

    def __init__(self, biases: Mapping[str, Tensor]):
        super().__init__()
        self.names = list(biases)
        self.biases = nn.ParameterList(nn.Parameter(bias.detach().clone()) for bias in biases.values())

    @classmethod
    def fresh(cls, backbone: Backbone, _generator: torch.Generator) -> Biases:
        return cls(_biases_of(backbone))

    @classmethod
    def from_tensors(cls, backbone: Backbone, tensors: Mapping[str, Tensor]) -> Biases:
        return cls({name: tensors[f"bias.{name}"].to(own) for name, own in _biases_of(backbone).items()})

    @classmethod
    def shapes(cls, backbone: Backbone) -> dict[str, Size]:
        return {f"bias.{name}": bias.shape for name, bias in _biases_of(backbone).items()}

    def tensors(self) -> dict[str, nn.Parameter]:
        return {f"bias.{name}": bias for name, bias in zip(self.names, self.biases, strict=True)}

    def enter(self, backbone: Backbone) -> None:
        for name, bias in zip(self.names, self.biases, strict=True):
            path, _, leaf = name.rpartition(".")
            setattr(backbone.base.get_submodule(path), leaf, bias)


class Adapters(Extra):
    """One adapter behind each FFN, in the order of the layers."""

    def __init__(self, adapters: list[TunedAdapter]):
        super().__init__()
        self.layers = nn.ModuleList(adapters)

    @property
    def bottleneck(self) -> int:
        return self.layers[0].down.out_features

    @classmethod
    def fresh(cls, backbone: Backbone, generator: torch.Generator) -> Adapters:
        hidden, bottleneck = _adapter_size(backbone)
        adapters = [TunedAdapter.fresh(hidden, bottleneck, generator) for _ in backbone.ffn_sites]
        return cls(adapters).to(device=backbone.device, dtype=backbone.dtype)

    @classmethod
    def from_tensors(cls, backbone: Backbone, tensors: Mapping[str, Tensor]) -> Adapters:
        adapters = [TunedAdapter(*_adapter_size(backbone)) for _ in backbone.ffn_sites]
        for layer, adapter in enumerate(adapters):
            names = dict(adapter.named_parameters())
            adapter.load_state_dict({name: tensors[f"adapter.{layer}.{name}"] for name in names})
        return cls(adapters).to(device=backbone.device, dtype=backbone.dtype)

    @classmethod
    def shapes(cls, backbone: Backbone) -> dict[str, Size]:
        with torch.device("meta"):
            parameters = dict(TunedAdapter(*_adapter_size(backbone)).named_parameters())
        layers = range(len(backbone.ffn_sites))
        return {f"adapter.{layer}.{name}": tensor.shape for layer in layers for name, tensor in parameters.items()}

    def tensors(self) -> dict[str, nn.Parameter]:
        return {f"adapter.{name}": parameter for name, parameter in self.layers.named_parameters()}

    def enter(self, backbone: Backbone) -> None:
        for site, adapter in zip(backbone.ffn_sites, self.layers, strict=True):
            site.down.register_forward_hook(adapter.behind)


def _biases_of(backbone: Backbone) -> dict[str, Tensor]:
    """Return the encoder's biases by name."""
    if backbone.dtype != torch.float32:
        raise InputError("--method bitfit trains the backbone's own biases and needs --dtype float32")
    return {name: bias for name, bias in backbone.base.named_parameters() if name.endswith("bias")}


def _adapter_size(backbone: Backbone) -> tuple[int, int]:
    """Return the hidden size and the bottleneck of this backbone's adapters."""
    if backbone.adapter_bottleneck:
        raise InputError("this pruned backbone has adapters already; tune a prompt or the biases over it")
    return backbone.hidden_size, bottleneck_of(backbone.hidden_size)


# Method → the extra that the method tunes inside the encoder.
EXTRAS: dict[str, type[Extra]] = {"prompt": Extra, "bitfit": Biases, "adapter": Adapters}
