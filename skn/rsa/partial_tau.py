"""Partial Kendall's tau: a neuron's tau with an attribute while the other attributes are held constant.

Kendall, "Partial rank correlation", Biometrika 1942, has one control. The inverse of the matrix of taus gives any
number of controls, as in Kim, "ppcor: an R package for a fast calculation to semi-partial correlation coefficients",
2015. Tau-b is the cosine of two vectors of signs, one entry for each pair of rows, so the matrix has no negative
eigenvalue.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from skn import ops
from skn.errors import InputError

_SINGULAR = 1e-9  # an eigenvalue below this is rounding, in a matrix with ones on the diagonal


class Partial:
    """The attributes as controls of each other. An object is a function from taus to partial taus."""

    def __init__(self, attributes: Tensor, names: list[str]):
        """``attributes`` float [pairs, A], A ≥ 2.

        Raises :class:`InputError` for attributes that determine each other.
        """
        self.pairs, self.controls = attributes.shape[0], attributes.shape[1] - 1
        if self.controls < 1:
            raise InputError("--partial holds the other attributes constant; give two attributes or more")
        if self.pairs - self.controls < 2:
            raise InputError(
                f"--partial: {self.pairs} pairs of conditions are too few for {self.controls} controls; "
                "give fewer attributes or more conditions"
            )
        matrix = ops.kendall_tau(attributes, attributes)[0]
        constant = torch.isnan(matrix.diagonal())
        if constant.any():
            name = names[int(constant.nonzero()[0])]
            raise InputError(f"--partial: attribute '{name}' is the same for all pairs; leave it out")
        values, vectors = torch.linalg.eigh(matrix)
        if values[0] < _SINGULAR:
            one, other = vectors[:, 0].abs().topk(2).indices.sort().values.tolist()
            raise InputError(
                f"--partial: attributes '{names[one]}' and '{names[other]}' determine each other; leave one out"
            )
        inverse = (vectors / values) @ vectors.T
        self.inverse = (inverse + inverse.T) / 2

    def __call__(self, tau: Tensor) -> Tensor:
        """Partial taus from taus with all attributes, both float64 [..., A]; NaN where a tau is NaN.

        With the taus t and the attributes' matrix M, u = M⁻¹ t and s = 1 − tᵀ u (the Schur complement of M), the
        inverse of the matrix of neuron and attributes gives partial_j = u_j / √(s (M⁻¹)_jj + u_j²).
        """
        u = tau @ self.inverse
        rest = (1 - (tau * u).sum(dim=-1, keepdim=True)).clamp_(min=0)
        scale = rest * self.inverse.diagonal() + u.square()
        return (u / scale.sqrt_()).clamp_(-1, 1)

    def parametric_p(self, partial: np.ndarray) -> np.ndarray:
        """One-sided p ("greater"), float64 of the same shape: the normal approximation of ppcor (Kim 2015)."""
        n = self.pairs - self.controls
        return ndtr(-partial / np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
