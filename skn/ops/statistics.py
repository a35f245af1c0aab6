"""The streaming statistics: ``accumulate_moments``, ``accumulate_hits`` and ``pool_tokens``, in the blocks of
:mod:`skn.ops`.

They carry no gradient, whatever the input: autograd falls through to the kernels, and the eager definitions record
nothing.

Source: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language Models", EMNLP 2022, section 3.
"""

import torch
from torch import Tensor

from skn.ops import reference
from skn.ops.checks import (
    behind_memory,
    check_activations,
    check_labels,
    check_state,
    check_tensor,
    define,
    describe,
    library,
)

# accumulate_moments ---------------------------------------------------------------------------------------


@behind_memory("accumulate_moments")
def _check_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    op = "accumulate_moments"
    check_activations(op, act, "[B, P, F]")
    torch._check(count.dim() == 1, lambda: f"{op}: count must be int64 [C], got {describe(count)}")
    classes, (_, positions, neurons) = count.shape[0], act.shape
    shape = (classes, positions, neurons)
    check_tensor(op, "count", count, act, torch.int64, "[C]", (classes,))
    check_tensor(op, "total", total, act, torch.float64, "[C, P, F]", shape)
    check_tensor(op, "total_sq", total_sq, act, torch.float64, "[C, P, F]", shape)
    check_labels(op, labels, act)
    check_state(op, "count", count)
    check_state(op, "total", total)
    check_state(op, "total_sq", total_sq)


define("accumulate_moments(Tensor(a!) count, Tensor(b!) total, Tensor(c!) total_sq, Tensor act, Tensor labels) -> ()")


@torch.library.register_fake("skn::accumulate_moments", lib=library)
def _(count, total, total_sq, act, labels):
    _check_moments(count, total, total_sq, act, labels)


@torch.library.impl(library, "accumulate_moments", "CompositeExplicitAutograd")
def _default_accumulate_moments(count, total, total_sq, act, labels):
    _check_moments(count, total, total_sq, act, labels)
    reference.accumulate_moments(count, total, total_sq, act, labels)


def accumulate_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    """Add a batch to the class-conditional moments of the activations, in place.

    For every class ``c``, position ``p`` and neuron ``f``::

        count[c]          += #(label = c)
        total[c, p, f]    += sum of act[b, p, f] over examples b with label c
        total_sq[c, p, f] += sum of act[b, p, f]² over the same examples

    Sums are taken in float64 and in the order of the batch, so neither the number of threads nor the backend
    on the CPU changes a bit of them. A neuron's threshold, its mean activation over the training split (Wang
    et al., section 3), is ``total.sum(0) / count.sum()``.

    Args:
        count: int64 ``[C]``.
        total: float64 ``[C, P, F]``, any strides but not expanded; contiguous is fastest.
        total_sq: float64 ``[C, P, F]``, likewise.
        act: float32, bfloat16, float16 or float64 ``[B, P, F]``, any strides, expanded included.
        labels: int64 ``[B]``, each in ``[0, C)``; on the device of act, or on the CPU, where they are checked without
            waiting for a device. While a CUDA graph is captured, labels on the device are not checked, and a label of C
            or more counts nowhere.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, or a label is out of range. No state changes.
    """
    torch.ops.skn.accumulate_moments(count, total, total_sq, act, labels)


# accumulate_hits ------------------------------------------------------------------------------------------


@behind_memory("accumulate_hits")
def _check_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    op = "accumulate_hits"
    check_activations(op, act, "[B, P, F]")
    torch._check(hits.dim() == 3, lambda: f"{op}: hits must be int64 [C, P, F], got {describe(hits)}")
    _, positions, neurons = act.shape
    check_tensor(op, "hits", hits, act, torch.int64, "[C, P, F]", (hits.shape[0], positions, neurons))
    check_tensor(op, "threshold", threshold, act, torch.float64, "[P, F]", (positions, neurons))
    check_labels(op, labels, act)
    check_state(op, "hits", hits)


define("accumulate_hits(Tensor(a!) hits, Tensor act, Tensor threshold, Tensor labels) -> ()")


@torch.library.register_fake("skn::accumulate_hits", lib=library)
def _(hits, act, threshold, labels):
    _check_hits(hits, act, threshold, labels)


@torch.library.impl(library, "accumulate_hits", "CompositeExplicitAutograd")
def _default_accumulate_hits(hits, act, threshold, labels):
    _check_hits(hits, act, threshold, labels)
    reference.accumulate_hits(hits, act, threshold, labels)


def accumulate_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    """Count, per class, the examples of a batch whose activation exceeds the threshold, in place.

    For every class ``c``, position ``p`` and neuron ``f``::

        hits[c, p, f] += #(label = c and act[b, p, f] > threshold[p, f])

    The comparison is that of the exact values: an activation equal to the threshold does not exceed it, a NaN
    on either side does not either, and a threshold that the type of the activations cannot represent is not
    rounded to it. Accuracy and predictivity of a neuron as a classifier (Wang et al., section 3) follow from
    these counts and the number of examples per class.

    Args:
        hits: int64 ``[C, P, F]``, any strides but not expanded; contiguous is fastest.
        act: float32, bfloat16, float16 or float64 ``[B, P, F]``, any strides, expanded included.
        threshold: float64 ``[P, F]``, any strides.
        labels: int64 ``[B]``, each in ``[0, C)``; on the device of act, or on the CPU, where they are checked without
            waiting for a device. While a CUDA graph is captured, labels on the device are not checked, and a label of C
            or more counts nowhere.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, or a label is out of range. No state changes.
    """
    torch.ops.skn.accumulate_hits(hits, act, threshold, labels)


# pool_tokens ----------------------------------------------------------------------------------------------


@behind_memory("pool_tokens")
def _check_pool(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> None:
    op = "pool_tokens"
    check_activations(op, act, "[B, S, F]")
    batch = act.shape[0]
    for name, span in (("lengths", lengths), ("offset", offset)):  # both may stay on the CPU
        check_tensor(op, name, span, span if lengths.is_cpu and offset.is_cpu else act, torch.int64, "[B]", (batch,))
    torch._check(reduce in ("mean", "max"), lambda: f"{op}: reduce must be 'mean' or 'max', got '{reduce}'")


define("pool_tokens(Tensor act, Tensor lengths, Tensor offset, str reduce) -> Tensor")


@torch.library.register_fake("skn::pool_tokens", lib=library)
def _(act, lengths, offset, reduce):
    _check_pool(act, lengths, offset, reduce)
    dtype = torch.float64 if act.dtype == torch.float64 else torch.float32
    return act.new_empty((act.shape[0], act.shape[2]), dtype=dtype)


@torch.library.impl(library, "pool_tokens", "CompositeExplicitAutograd")
def _default_pool_tokens(act, lengths, offset, reduce):
    _check_pool(act, lengths, offset, reduce)
    return reference.pool_tokens(act, lengths, offset, reduce)


def pool_tokens(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> Tensor:
    """Pool each example's activations over its own tokens, ``act[b, offset[b] : offset[b] + lengths[b]]``.

    The first token is given per example because causal models are padded on the left. The mean is taken in
    float64 and rounded once; the maximum of a span that holds a NaN is NaN; an example without tokens pools
    to 0.

    Args:
        act: float32, bfloat16, float16 or float64 ``[B, S, F]``, any strides, expanded included.
        lengths: int64 ``[B]``, the number of tokens of each example.
        offset: int64 ``[B]``, the first token of each example. If both are on the CPU, no check waits for the device of ``act``.
        reduce: ``"mean"`` or ``"max"``.

    Returns:
        ``[B, F]``, float64 for float64 activations and float32 otherwise.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, ``reduce`` is neither of the two, or a span
            leaves the sequence.
    """
    return torch.ops.skn.pool_tokens(act, lengths, offset, reduce)


# A device's kernels first run these checks.
CHECKS = {"accumulate_moments": _check_moments, "accumulate_hits": _check_hits, "pool_tokens": _check_pool}
