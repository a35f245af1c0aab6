"""Change the activations of chosen neurons, at every position, at inference.

Every kind of mask but "resample" (:mod:`skn.neurons.resampling`) is one formula, act ∘ scale + shift + noise, which the
operator ``ffn_masked`` computes. "zero" has scale 0. "mean" has scale 0 and shift μ. "scale" has any factor, one for all
neurons or one for each neuron. "gaussian" adds α·ε, with one keyed ε for each example and neuron.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skn.errors import InputError
from skn.model.backbone import FfnSite
from skn.ops.noise import keyed_normal

MASK_KINDS = ("zero", "mean", "gaussian", "scale")


@dataclass(frozen=True)
class Mask:
    """A mask: which neurons it changes, and how.

    ``chosen`` [L, F] bool says which neurons. ``mean`` [L, F] float64 is for kind "mean". ``alpha`` is the standard
    deviation of the noise for "gaussian", and the factor for "scale". If ``factor`` [L, F] float32 is given, "scale"
    takes each neuron's own factor from it. ``seed`` keys the noise.
    """

    kind: str
    chosen: Tensor
    mean: Tensor | None = None
    alpha: float = 1.0
    seed: int = 0
    factor: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind == "mean" and torch.isnan(self.mean[self.chosen]).any():
            layer, neuron = (torch.isnan(self.mean) & self.chosen).nonzero()[0].tolist()
            raise InputError(f"the mean of neuron {layer},{neuron} is NaN; choose other neurons or other --thresholds")

    def factors(self, site: FfnSite, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return ``scale`` [width] and ``shift`` [1, width] of a layer; None if the mask leaves the layer as it is.

        For noise, ``shift`` is [B, width]. Both tensors are on the layer's device.

        :param rows: [B] int64, the row numbers of the examples in the split. They key the noise.
        """
        neurons = site.neurons.cpu()
        chosen = self.chosen[site.layer, neurons]
        if not chosen.any():
            return None
        scale, shift = torch.ones(site.width), torch.zeros(1, site.width)
        device = site.device
        if self.kind == "gaussian":
            noise = keyed_normal(self.seed, rows.to(device), site.layer, neurons.to(device))
            shift = noise * (self.alpha * chosen).to(device)
        elif self.kind == "scale" and self.factor is not None:
            scale[chosen] = self.factor[site.layer, neurons][chosen]
        else:
            scale[chosen] = self.alpha if self.kind == "scale" else 0.0
        if self.kind == "mean":
            shift[0, chosen] = self.mean[site.layer, neurons][chosen].float()
        return scale.to(device, non_blocking=True), shift.to(device, non_blocking=True)
