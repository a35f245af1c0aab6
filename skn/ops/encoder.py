"""The operators of the fast encoder: ``pack`` and ``encode``. The blocks have the order of :mod:`skn.ops`.

The operators are for inference only: ``encode`` refuses a call that would need a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skn.ops import native, reference
from skn.ops.checks import behind_memory, define, describe, library
from skn.ops.chosen import check_layers

_FLOATING = (torch.float32, torch.bfloat16)
PER_LAYER = 2 * len(reference.LAYER_PARTS)
_UP_BIAS = 2 * reference.LAYER_PARTS.index("up") + 1
_PANEL = 32  # output columns: kPanel of csrc/cpu/linear.h

# pack -----------------------------------------------------------------------------------------------------


# Form of a packed weight, from which products are computed -> the dtypes that the plain weight may have.
FORMS = {
    "float32": (torch.float32,),
    "bfloat16": (torch.bfloat16,),
    "bf16x3": (torch.float32,),
    "int8": (torch.float32, torch.bfloat16),
}


@behind_memory("pack")
def _check_pack(weight: Tensor, form: str) -> None:
    torch._check(
        weight.dtype in _FLOATING and weight.dim() == 2,
        lambda: f"pack: weight must be float32 or bfloat16 [N, K], got {describe(weight)}",
    )
    fitting = [f"'{name}'" for name, dtypes in FORMS.items() if weight.dtype in dtypes]
    torch._check(
        f"'{form}'" in fitting,
        lambda: (
            f"pack: form must be {' or '.join([', '.join(fitting[:-1]), fitting[-1]])} for a weight of {_dtype_name(weight)}, got '{form}'"
        ),
    )


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


define("pack(Tensor weight, str form) -> Tensor")


@torch.library.register_fake("skn::pack", lib=library)
def _(weight, form):
    _check_pack(weight, form)
    if weight.is_cpu and native.loaded():
        return weight.new_empty(_panels(*weight.shape, form), dtype=_PACKED[form])
    if weight.is_cuda and native.registered("pack", "cuda"):
        # the function uses only torch and reads only shapes, so a fake tensor passes through it
        from skn.kernels import encode

        return encode.pack(weight, form)
    if form == "int8":
        return _plain_int8(weight)
    return weight.new_empty(2, *weight.shape, dtype=torch.bfloat16) if form == "bf16x3" else torch.empty_like(weight)


def _plain_int8(weight: Tensor) -> Tensor:
    return weight.new_empty(weight.shape[0] + 8, weight.shape[1] + 4, dtype=torch.int8)


# The dtype of a packed weight.
_PACKED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "bf16x3": torch.bfloat16, "int8": torch.int8}


def _panels(n: int, k: int, form: str) -> tuple[int, ...]:
    """Return the shape of a packed weight [n, k] in csrc/cpu: packed_sizes of weights.h."""
    panels, pairs, fours = (n + _PANEL - 1) // _PANEL, (k + 1) // 2, (k + 3) // 4
    slices = (k + reference.SLICE - 1) // reference.SLICE
    return {
        "float32": (panels, k, _PANEL),
        "bfloat16": (panels, pairs, _PANEL, 2),
        "bf16x3": (panels, pairs, 2, _PANEL, 2),
        "int8": (4 * _PANEL * (panels * (fours + 1 + slices) + 2 * ((k + _PANEL - 1) // _PANEL) + 1),),
    }[form]


@torch.library.impl(library, "pack", "CompositeExplicitAutograd")
def _default_pack(weight, form):
    _check_pack(weight, form)
    if form == "int8":
        return reference.pack_int8(*reference.rounded_weight(weight.detach()), reference.read_as_it_is(weight.shape[1]))
    return reference.split(weight.detach()) if form == "bf16x3" else weight.detach().clone()


def pack(weight: Tensor, form: str | None = None) -> Tensor:
    """Return a linear layer's weight in the layout that ``encode`` needs on the weight's device.

    On a CPU with native kernels, the layout is panels of 32 output columns, ``[N / 32, K, 32]`` in float32, ``[N / 32,
    K / 2, 32, 2]`` in bfloat16 and ``[N / 32, K / 2, 2, 32, 2]`` in bf16x3, with the high parts before the low parts,
    padded with zeros (quotients rounded up). In int8, the layout is one row of bytes: panels ``[N / 32, K / 4, 32, 4]``,
    and then float32 numbers: the scale of each column, the sums of its bytes over slices of 512, and how the weight reads
    a row (:func:`pack_int8`). Elsewhere the layout is a plain copy ``[N, K]``; on CUDA column by column if the kernel of
    ``ffn_pruned`` needs it. In bf16x3, it is the two parts ``[2, N, K]``, in int8 one tensor of bytes ``[N + 8, K + 4]``.

    Args:
        weight: float32 or bfloat16 ``[N, K]``, any strides.
        form: the numbers from which products are computed. "float32" or "bfloat16" is the weight's own dtype and the
            default. "bf16x3" of a float32 weight means three products of bfloat16 parts, "int8" products of bytes
            (:func:`skn.ops.reference.linear`).

    Raises:
        RuntimeError: another dtype or rank, or a form that the weight does not have.
    """
    return torch.ops.skn.pack(weight, form or _dtype_name(weight))


# pack_int8 ------------------------------------------------------------------------------------------------


@behind_memory("pack_int8")
def _check_pack_int8(number: Tensor, scale: Tensor, columns: Tensor) -> None:
    right = (
        number.dtype == torch.int8
        and number.dim() == 2
        and scale.dtype == columns.dtype == torch.float32
        and scale.shape == number.shape[:1]
        and columns.shape == (2, number.shape[1])
    )
    torch._check(
        right,
        lambda: (
            "pack_int8: expected int8 [N, K], a scale float32 [N] and columns float32 [2, K], got "
            f"{describe(number)}, {describe(scale)} and {describe(columns)}"
        ),
    )
    torch._check(
        not (number.is_cuda and native.registered("pack", "cuda")),
        lambda: "pack_int8: int8 has no kernel on CUDA; use float32",
    )


define("pack_int8(Tensor number, Tensor scale, Tensor columns, bool rotated=False) -> Tensor")


@torch.library.register_fake("skn::pack_int8", lib=library)
def _(number, scale, columns, rotated=False):
    _check_pack_int8(number, scale, columns)
    if number.is_cpu and native.loaded():
        return number.new_empty(_panels(*number.shape, "int8"))
    return _plain_int8(number)


@torch.library.impl(library, "pack_int8", "CompositeExplicitAutograd")
def _default_pack_int8(number, scale, columns, rotated=False):
    _check_pack_int8(number, scale, columns)
    return reference.pack_int8(number, scale, columns, rotated)


def pack_int8(number: Tensor, scale: Tensor, columns: Tensor, rotated: bool = False) -> Tensor:
    """Return a weight of bytes in the layout of :func:`pack`'s form int8.

    The weight reads a number x of column k of a row as ``(x - columns[0, k]) * columns[1, k]``, and is
    ``number * scale[:, None]`` for what it reads. So a model can even out the columns of its activations before they
    are rounded to bytes. The share of ``columns[0]`` belongs into the bias. A rotated weight also mixes the columns that it
    reads (:func:`skn.ops.reference.mixed`), and holds its own columns in the same mixture.

    Args:
        number: int8 ``[N, K]``, -127 to 127, any strides.
        scale: float32 ``[N]``, a factor of each output column.
        columns: float32 ``[2, K]``, a shift and a factor of each input column.
        rotated: whether the columns are mixed.

    Raises:
        RuntimeError: another shape or dtype, or tensors on CUDA, where int8 has no kernel.
    """
    return torch.ops.skn.pack_int8(number, scale, columns, rotated)


# encode ---------------------------------------------------------------------------------------------------


@behind_memory("encode")
def _check_encode(
    hidden: Tensor,
    bounds: Tensor,
    weights: list[Tensor],
    masks: list[Tensor],
    heads: int,
    _eps: float = 0.0,
    read: int = 0,
    _tap: int = 0,
    neurons: list[Tensor] | None = None,
    values: list[Tensor] | None = None,
    source: Tensor | None = None,
) -> None:
    op = "encode"
    torch._check(
        hidden.dtype in _FLOATING and hidden.dim() == 2,
        lambda: f"{op}: hidden must be float32 or bfloat16 [T, H], got {describe(hidden)}",
    )
    torch._check(
        bounds.dtype == torch.int64 and bounds.dim() == 1 and bounds.shape[0] >= 1,
        lambda: f"{op}: bounds must be int64 [B + 1], got {describe(bounds)}",
    )
    torch._check(
        bounds.device in (hidden.device, torch.device("cpu")),
        lambda: f"{op}: bounds must be on the CPU or on the device of hidden",
    )
    torch._check(
        heads > 0 and hidden.shape[1] % heads == 0, lambda: f"{op}: {heads} heads do not divide {hidden.shape[1]}"
    )
    torch._check(
        len(weights) > 0 and len(weights) % PER_LAYER == 0,
        lambda: f"{op}: weights must hold {PER_LAYER} tensors a layer, got {len(weights)}",
    )
    layers = len(weights) // PER_LAYER
    torch._check(
        len(masks) in (0, 2 * layers),
        lambda: f"{op}: masks must be empty or hold scale and shift of {layers} layers, got {len(masks)} tensors",
    )
    check_layers(op, hidden, layers, read, neurons, values, source)


define(
    "encode(Tensor hidden, Tensor bounds, Tensor[] weights, Tensor[] masks, int heads, float eps, int read, int tap, "
    "Tensor[]? neurons=None, Tensor[]? values=None, Tensor? source=None) -> Tensor[]"
)


@torch.library.register_fake("skn::encode", lib=library)
def _(hidden, bounds, weights, masks, heads, eps, read, tap, neurons=None, values=None, source=None):
    _check_encode(hidden, bounds, weights, masks, heads, eps, read, tap, neurons, values, source)
    sequences = bounds.shape[0] - 1
    rows = sequences * read if read else hidden.shape[0]
    widths = [weights[i].shape[0] for i in range(_UP_BIAS, len(weights), PER_LAYER)] if tap else []
    taps = [hidden.new_empty(sequences, tap, width) for width in widths]
    recorded = neurons if neurons is not None and values is None else []
    return [hidden.new_empty(rows, hidden.shape[1]), *taps, *(hidden.new_empty(rows, len(own)) for own in recorded)]


@torch.library.impl(library, "encode", "CompositeExplicitAutograd")
def _default_encode(hidden, bounds, weights, masks, heads, eps, read, tap, neurons=None, values=None, source=None):
    _check_encode(hidden, bounds, weights, masks, heads, eps, read, tap, neurons, values, source)
    return reference.encode(hidden, bounds, weights, masks, heads, eps, read, tap, neurons, values, source)


def encode(
    hidden: Tensor,
    bounds: Tensor,
    weights: list[Tensor],
    heads: int,
    eps: float,
    masks: list[Tensor] | None = None,
    read: int = 0,
    tap: int = 0,
    neurons: list[Tensor] | None = None,
    values: list[Tensor] | None = None,
    source: Tensor | None = None,
) -> list[Tensor]:
    """Run encoder layers (attention, GELU FFN, a LayerNorm after each) on sequences packed one after the other.

    Args:
        hidden: float32 or bfloat16 ``[T, H]``: the rows of all sequences, without padding.
        bounds: int64 ``[B + 1]``, the beginning of each sequence and the end of the last sequence. ``bounds`` is on the
            CPU, where reading it waits for no device, or on the device of ``hidden``.
        weights: for every layer, a weight and a bias of each of q, k, v, out, attention_norm, up, down and output_norm.
            The weights of linear layers are as :func:`pack` returns them, each in int8, the others all in one form. A
            weight may also be plain: ``[N, K]``, contiguous, in the dtype of ``hidden``. With few rows this is as fast
            on a CPU, and nothing has to be packed. Each layer has its own FFN width. If q, k and v lie in one tensor, one after the other, CUDA computes one product
            for them and makes no copy.
        heads: attention heads; they divide H.
        eps: the epsilon of the LayerNorms.
        masks: for every layer ``scale`` ``[F]`` and ``shift`` ``[1, F]`` or ``[B, F]``, float32. The activation becomes
            ``act · scale + shift``. An empty ``scale`` leaves a layer as it is.
        read: how many first rows of each sequence to return; the last layer computes no other rows. 0 means all rows.
        tap: how many first rows of each sequence have their activations returned.
        neurons: for every layer its chosen neurons, int64 ``[K]``, rising, on the CPU or the device of ``hidden``; K may
            be 0. Without ``values``, their activations in every row are recorded, which needs ``read`` 0.
        values: for every layer ``[V, K]``, in the dtype of ``hidden``: activations that its chosen neurons take.
        source: int64 ``[T]``, on the CPU or the device of ``hidden``: the row of ``values`` that each row takes in every
            layer, or −1 where the row keeps its own activations. ``masks`` do not change what a row takes.

    Returns:
        The hidden states ``[B · read, H]`` or ``[T, H]``; with ``tap``, the activations ``[B, tap, F]`` of each layer as
        its down-projection reads them; and what is recorded, ``[T, K]`` of each layer, of the same activations.

    Raises:
        RuntimeError: a shape, dtype or count does not fit, a sequence is shorter than ``read`` or ``tap``, or a
            gradient is needed.
    """
    tensors = (hidden, *weights)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise RuntimeError("encode: for inference only; call it under torch.no_grad() or torch.inference_mode()")
    given = hidden, bounds, list(weights), list(masks or []), heads, eps, read, tap
    return torch.ops.skn.encode(*given, neurons, values, source)


# A device's kernels first run these checks.
CHECKS = {"pack": _check_pack, "pack_int8": _check_pack_int8, "encode": _check_encode}
