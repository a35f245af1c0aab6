"""Every operator of skn, in ``torch.library`` namespace ``skn``.

One block per operator, always in this order: checks, schema, fake, default kernel, public function. The
default kernel is the eager definition of ``skn.reference`` and serves every device; device kernels only
register over it, so a machine with no compiler and no GPU still runs everything. ``skn.backends`` says which
one serves.

The checks of shapes, dtypes and devices are the same functions for the fake and for the default kernel; the
native kernels repeat them in the same words. All failures are ``RuntimeError`` and leave the state as it was.

The statistics carry no gradient, whatever is passed in: autograd falls through to the kernels, and the eager
definitions record nothing.

Source of the statistics: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language
Models", EMNLP 2022, section 3.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skn import native, reference

_FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
library = torch.library.Library("skn", "DEF")
native.load()


def describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _check_floating(op: str, name: str, tensor: Tensor, axes: str, rank: int) -> None:
    native.tell(tensor)
    torch._check(
        tensor.dtype in _FLOATING and tensor.dim() == rank,
        lambda: f"{op}: {name} must be float32, bfloat16, float16 or float64 {axes}, got {describe(tensor)}",
    )


def _check_activations(op: str, act: Tensor, axes: str) -> None:
    _check_floating(op, "act", act, axes, 3)


def _check_tensor(
    op: str, name: str, tensor: Tensor, act: Tensor, dtype: torch.dtype, axes: str, sizes: Sequence[int]
) -> None:
    torch._check(
        tensor.dtype == dtype
        and tensor.dim() == len(sizes)
        and all(a == b for a, b in zip(tensor.shape, sizes, strict=False)),
        lambda: (
            f"{op}: {name} must be {str(dtype).removeprefix('torch.')} {axes} = {list(sizes)}, got {describe(tensor)}"
        ),
    )
    torch._check(tensor.device == act.device, lambda: f"{op}: {name} must be on the device of act")


def _check_labels(op: str, labels: Tensor, act: Tensor) -> None:
    """Labels may stay on the CPU."""
    _check_tensor(op, "labels", labels, labels if labels.is_cpu else act, torch.int64, "[B]", act.shape[:1])


def _check_state(op: str, name: str, state: Tensor) -> None:
    torch._check(
        all(size < 2 or stride != 0 for size, stride in zip(state.shape, state.stride(), strict=False)),
        lambda: f"{op}: {name} must not be expanded, because it is updated in place",
    )


def define(schema: str, gradient: bool = False) -> None:
    """Define an operator; without ``gradient`` the kernel runs as it is and its result requires none."""
    op = schema.partition("(")[0]
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    if not gradient:
        library.impl(op, torch.library.fallthrough_kernel, "Autograd")
    if native.failure("cpu"):
        library.impl(op, native.refuse, "CPU")


# accumulate_moments ---------------------------------------------------------------------------------------


def _check_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    op = "accumulate_moments"
    _check_activations(op, act, "[B, P, F]")
    torch._check(count.dim() == 1, lambda: f"{op}: count must be int64 [C], got {describe(count)}")
    classes, (_, positions, neurons) = count.shape[0], act.shape
    shape = (classes, positions, neurons)
    _check_tensor(op, "count", count, act, torch.int64, "[C]", (classes,))
    _check_tensor(op, "total", total, act, torch.float64, "[C, P, F]", shape)
    _check_tensor(op, "total_sq", total_sq, act, torch.float64, "[C, P, F]", shape)
    _check_labels(op, labels, act)
    _check_state(op, "count", count)
    _check_state(op, "total", total)
    _check_state(op, "total_sq", total_sq)


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
            waiting for a device.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, or a label is out of range. No state changes.
    """
    torch.ops.skn.accumulate_moments(count, total, total_sq, act, labels)


# accumulate_hits ------------------------------------------------------------------------------------------


def _check_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    op = "accumulate_hits"
    _check_activations(op, act, "[B, P, F]")
    torch._check(hits.dim() == 3, lambda: f"{op}: hits must be int64 [C, P, F], got {describe(hits)}")
    _, positions, neurons = act.shape
    _check_tensor(op, "hits", hits, act, torch.int64, "[C, P, F]", (hits.shape[0], positions, neurons))
    _check_tensor(op, "threshold", threshold, act, torch.float64, "[P, F]", (positions, neurons))
    _check_labels(op, labels, act)
    _check_state(op, "hits", hits)


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
            waiting for a device.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, or a label is out of range. No state changes.
    """
    torch.ops.skn.accumulate_hits(hits, act, threshold, labels)


# pool_tokens ----------------------------------------------------------------------------------------------


def _check_pool(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> None:
    op = "pool_tokens"
    _check_activations(op, act, "[B, S, F]")
    batch = act.shape[0]
    _check_tensor(op, "lengths", lengths, act, torch.int64, "[B]", (batch,))
    _check_tensor(op, "offset", offset, act, torch.int64, "[B]", (batch,))
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
        offset: int64 ``[B]``, the first token of each example.
        reduce: ``"mean"`` or ``"max"``.

    Returns:
        ``[B, F]``, float64 for float64 activations and float32 otherwise.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, ``reduce`` is neither of the two, or a span
            leaves the sequence.
    """
    return torch.ops.skn.pool_tokens(act, lengths, offset, reduce)


# kendall_tau ----------------------------------------------------------------------------------------------

_MOST_ROWS = 2**20  # so that the tie sums of a constant column, about 2 n³, fit int64


def _check_kendall(x: Tensor, y: Tensor) -> None:
    op = "kendall_tau"
    for name, tensor, axes in (("x", x, "[n, p]"), ("y", y, "[n, q]")):
        _check_floating(op, name, tensor, axes, 2)
    n = x.shape[0]
    torch._check(y.shape[0] == n, lambda: f"{op}: y must have the rows of x, {n}, got {describe(y)}")
    torch._check(y.device == x.device, lambda: f"{op}: y must be on the device of x")
    torch._check(n >= 2 and n <= _MOST_ROWS, lambda: f"{op}: n must lie in [2, {_MOST_ROWS}], got {n}")


define("kendall_tau(Tensor x, Tensor y) -> (Tensor tau, Tensor concordance, Tensor ties_x, Tensor ties_y)")


@torch.library.register_fake("skn::kendall_tau", lib=library)
def _(x, y):
    _check_kendall(x, y)
    p, q = x.shape[1], y.shape[1]
    tau = x.new_empty((p, q), dtype=torch.float64)
    return tau, *(x.new_empty(shape, dtype=torch.int64) for shape in ((p, q), (p, 3), (q, 3)))


@torch.library.impl(library, "kendall_tau", "CompositeExplicitAutograd")
def _default_kendall_tau(x, y):
    _check_kendall(x, y)
    return reference.kendall_tau(x, y)


def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kendall's tau-b of every column of ``x`` with every column of ``y``, ties exact.

    Of the ``n (n - 1) / 2`` pairs of rows, with concordance S = concordant - discordant pairs and n1, n2 the pairs
    tied in the one and the other column (Kendall, "The treatment of ties in ranking problems", Biometrika 1945)::

        tau = S / sqrt(n (n - 1) / 2 - n1) / sqrt(n (n - 1) / 2 - n2), clipped to [-1, 1]

    in this order of operations, which is that of ``scipy.stats.kendalltau``. -0 equals 0 and infinities are
    ordinary values. Tau is NaN where a column is constant or holds a NaN; a column with a NaN counts as having
    neither concordance nor ties.

    Args:
        x: float32, bfloat16, float16 or float64 ``[n, p]``, any strides, expanded included; 2 ≤ n ≤ 1,048,576.
        y: likewise ``[n, q]``, not necessarily of the same dtype.

    Returns:
        tau, float64 ``[p, q]``; concordance S, int64 ``[p, q]``; and for the columns of x and of y, int64 ``[p, 3]``
        and ``[q, 3]``, the sums over groups of t equal values of t(t-1)/2, t(t-1)(t-2) and t(t-1)(2t+5), from which
        the variance of S follows.

    Raises:
        RuntimeError: a shape, dtype or device does not fit.
    """
    return torch.ops.skn.kendall_tau(x, y)


# Device kernels ---------------------------------------------------------------------------------------------


def register_cuda(checks: dict[str, Callable]) -> None:
    """The kernels of skn.kernels for these operators, after the native ones; ``checks`` are what they begin with."""
    if torch.cuda.is_available():
        from skn.kernels import register

        register.register(library, checks)


register_cuda(
    {
        "accumulate_moments": _check_moments,
        "accumulate_hits": _check_hits,
        "pool_tokens": _check_pool,
        "kendall_tau": _check_kendall,
    }
)
