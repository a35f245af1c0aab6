"""Neuron set → intervention on the chosen neurons' activations, at every position, at inference.

Every kind is one formula, act ∘ scale + shift + noise (DESIGN's ``ffn_masked``): zero has scale 0; mean has scale 0
and shift μ; scale has any factor; gaussian adds α·ε with one keyed ε per example and neuron.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from skn.backbone import Backbone, FfnSite
from skn.batches import Batch
from skn.errors import InputError
from skn.noise import keyed_normal

KINDS = ("zero", "mean", "gaussian", "scale")


@dataclass(frozen=True)
class Mask:
    """What is done to which neurons.

    ``chosen`` [L, F] bool; ``mean`` [L, F] float64 for kind "mean"; ``alpha`` the noise's standard deviation for
    "gaussian" and the factor for "scale"; ``seed`` keys the noise.
    """

    kind: str
    chosen: Tensor
    mean: Tensor | None = None
    alpha: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind == "mean" and torch.isnan(self.mean[self.chosen]).any():
            layer, neuron = (torch.isnan(self.mean) & self.chosen).nonzero()[0].tolist()
            raise InputError(f"the mean of neuron {layer},{neuron} is NaN; choose other neurons or other --thresholds")


class Masker:
    """Applies a mask to a backbone's FFN sites; tell it each batch before its forward (:meth:`prepare`)."""

    def __init__(self, backbone: Backbone, mask: Mask):
        self.mask = mask
        self.rows: Tensor | None = None
        self.sites = [(site, *self._factors(site)) for site in backbone.ffn_sites if mask.chosen[site.layer].any()]

    def prepare(self, batch: Batch, _prompted: object) -> None:
        """Remember which examples come next: gaussian noise is keyed by them."""
        self.rows = batch.rows

    @contextmanager
    def applied(self) -> Iterator[None]:
        handles = [
            site.activation.register_forward_hook(
                lambda _m, _i, output, site=site, scale=scale, shift=shift: self._apply(site, scale, shift, output)
            )
            for site, scale, shift in self.sites
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _factors(self, site: FfnSite) -> tuple[Tensor, Tensor]:
        """scale and shift [width] of one layer."""
        mask, kind = self.mask, self.mask.kind
        weight = site.down.weight
        neurons = site.neurons.cpu()
        chosen = mask.chosen[site.layer, neurons]
        scale = torch.ones(site.width, dtype=torch.float64)
        shift = torch.zeros(site.width, dtype=torch.float64)
        if kind != "gaussian":
            scale[chosen] = mask.alpha if kind == "scale" else 0.0
        if kind == "mean":
            shift[chosen] = mask.mean[site.layer, neurons][chosen]
        return scale.to(weight), shift.to(weight)

    def _apply(self, site: FfnSite, scale: Tensor, shift: Tensor, activation: Tensor) -> Tensor:
        result = activation * scale + shift
        if self.mask.kind == "gaussian":
            neurons = site.neurons.to(activation.device)
            chosen = self.mask.chosen[site.layer].to(activation.device)[neurons]
            noise = keyed_normal(self.mask.seed, self.rows, site.layer, neurons) * (self.mask.alpha * chosen)
            result = result + noise[:, None].to(activation.dtype)
        return result
