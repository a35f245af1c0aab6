"""The operators of one feed-forward sublayer: ``ffn_masked`` and ``ffn_pruned``. The blocks have the order of
:mod:`skn.ops`.

Weights may be plain ``[N, K]`` or packed by :func:`skn.ops.encoder.pack`, both in one form. Every call packs plain
weights again. Gradients need plain weights; packed weights are faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skn.ops import reference
from skn.ops.checks import behind_memory, define, describe, library
from skn.ops.chosen import check_taken

_FLOATING = (torch.float32, torch.bfloat16)


def _check(op: str, x: Tensor, b_in: Tensor) -> None:
    torch._check(
        x.dtype in _FLOATING and x.dim() >= 1,
        lambda: f"{op}: x must be float32 or bfloat16 [..., H], got {describe(x)}",
    )
    torch._check(b_in.dim() == 1, lambda: f"{op}: b_in must be [F], got {describe(b_in)}")


# ffn_masked -----------------------------------------------------------------------------------------------


@behind_memory("ffn_masked")
def _check_masked(x, _w_in, b_in, _w_out, _b_out, _scale, _shift, neurons=None, values=None, source=None) -> None:
    op = "ffn_masked"
    _check(op, x, b_in)
    check_taken(op, x, neurons, values, source)


define(
    "ffn_masked(Tensor x, Tensor w_in, Tensor b_in, Tensor w_out, Tensor b_out, Tensor scale, Tensor shift, "
    "Tensor? neurons=None, Tensor? values=None, Tensor? source=None) -> Tensor"
)


@torch.library.register_fake("skn::ffn_masked", lib=library)
def _(x, w_in, b_in, w_out, b_out, scale, shift, neurons=None, values=None, source=None):
    _check_masked(x, w_in, b_in, w_out, b_out, scale, shift, neurons, values, source)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.impl(library, "ffn_masked", "CompositeExplicitAutograd")
def _default_ffn_masked(x, w_in, b_in, w_out, b_out, scale, shift, neurons=None, values=None, source=None):
    _check_masked(x, w_in, b_in, w_out, b_out, scale, shift, neurons, values, source)
    return reference.ffn_masked(x, w_in, b_in, w_out, b_out, scale, shift, neurons, values, source)


def ffn_masked(
    x: Tensor,
    w_in: Tensor,
    b_in: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    scale: Tensor,
    shift: Tensor,
    neurons: Tensor | None = None,
    values: Tensor | None = None,
    source: Tensor | None = None,
) -> Tensor:
    """Compute a feed-forward sublayer under a mask: ``(gelu(x·w_inᵀ + b_in) ∘ scale + shift)·w_outᵀ + b_out``.

    One operator serves every mask that changes all tokens alike. "zero" has scale 0. "mean" has scale 0 and shift μ.
    "scale" has any factor. "gaussian" has a shift α·ε for each example (:func:`skn.ops.noise.keyed_normal`). For "resample",
    chosen neurons take given activations, another one at each token.

    Args:
        x: float32 or bfloat16 ``[..., H]``, any strides.
        w_in: ``[F, H]``, b_in: ``[F]``, w_out: ``[H, F]``, b_out: ``[H]``, in the dtype of x.
        scale: float32 ``[F]``.
        shift: float32 ``[1, F]``, or ``[B, F]`` if x is ``[B, ..., H]``.
        neurons: int64 ``[K]``, rising, on the CPU or the device of x: the chosen neurons, by default none.
        values: ``[V, K]``, in the dtype of x: activations that the chosen neurons take in place of their own.
        source: int64 ``[T]``, on the CPU or the device of x, for the T tokens of x: the row of ``values`` that the token
            takes, or −1 where the token keeps its own activations under ``scale`` and ``shift``.

    Returns:
        ``[..., H]``, in the dtype of x.

    Raises:
        RuntimeError: a shape or dtype does not fit, or a gradient is needed.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, w_in, b_in, w_out, b_out)):
        raise RuntimeError("ffn_masked: for inference only; call it under torch.no_grad() or torch.inference_mode()")
    return torch.ops.skn.ffn_masked(x, w_in, b_in, w_out, b_out, scale, shift, neurons, values, source)


# ffn_pruned -----------------------------------------------------------------------------------------------


@behind_memory("ffn_pruned")
def _check_pruned(x, _w_in, b_in, *_) -> None:
    _check("ffn_pruned", x, b_in)


define(
    "ffn_pruned(Tensor x, Tensor w_in, Tensor b_in, Tensor w_out, Tensor b_out, Tensor ln_weight, Tensor ln_bias, "
    "float eps) -> Tensor",
    gradient=True,
)


@torch.library.register_fake("skn::ffn_pruned", lib=library)
def _(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps):
    _check_pruned(x, w_in, b_in)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.impl(library, "ffn_pruned", "CompositeExplicitAutograd")
def _default_ffn_pruned(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps):
    _check_pruned(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias)
    with torch.no_grad():
        return reference.ffn_pruned(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps)


def _remember(ctx, inputs, output):
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, gradient):
    """Compute the sublayer again in plain PyTorch. With few neurons, this costs less than storing its activations."""
    with torch.enable_grad():
        inputs = [
            t.detach().requires_grad_(need) for t, need in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)
        ]
        output = reference.ffn_pruned(*inputs, ctx.eps)
    wanted = [t for t in inputs if t.requires_grad]
    gradients = iter(torch.autograd.grad(output, wanted, gradient))
    return *(next(gradients) if t.requires_grad else None for t in inputs), None


torch.library.register_autograd("skn::ffn_pruned", _backward, setup_context=_remember, lib=library)


def ffn_pruned(
    x: Tensor,
    w_in: Tensor,
    b_in: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    ln_weight: Tensor,
    ln_bias: Tensor,
    eps: float,
) -> Tensor:
    """Compute a whole feed-forward sublayer in one pass over x: ``LayerNorm(x + gelu(x·w_inᵀ + b_in)·w_outᵀ + b_out)``.

    The operator is made for few neurons, but any number of neurons gives a right result.

    Args:
        x: float32 or bfloat16 ``[..., H]``, any strides.
        w_in: ``[F, H]``, b_in: ``[F]``, w_out: ``[H, F]``, b_out, ln_weight and ln_bias: ``[H]``, in the dtype of x.
        eps: the epsilon of the LayerNorm.

    Returns:
        ``[..., H]``, in the dtype of x; gradients flow to every tensor if the weights are plain.

    Raises:
        RuntimeError: a shape or dtype does not fit.
    """
    return torch.ops.skn.ffn_pruned(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps)


# A device's kernels first run these checks.
CHECKS = {"ffn_masked": _check_masked, "ffn_pruned": _check_pruned}
