"""The meaning of every operator in plain PyTorch: the reference of the tests and the baseline of the benchmarks.

This file imports nothing of skn, so that it cannot depend on the code that it judges. ``skn.ops`` checks shapes and
dtypes. The functions below check values before they change any state. Statistics carry no gradient: without
``no_grad``, activations that require a gradient would make the state part of a graph.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def check_labels(op: str, labels: Tensor, classes: int) -> None:
    """Refuse a label outside of [0, classes); waits for the device of ``labels``."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(wrong.nonzero()[0])
        raise RuntimeError(f"{op}: labels must lie in [0, {classes}), got {int(labels[example])} at example {example}")


def check_spans(lengths: Tensor, offset: Tensor, tokens: int) -> None:
    """Refuse a span that leaves [0, tokens); waits for the device of ``lengths``."""
    # `lengths > tokens - offset`, because `offset + lengths` could overflow.
    wrong = (offset < 0) | (offset > tokens) | (lengths < 0) | (lengths > tokens - offset)
    if wrong.any():
        b = int(wrong.nonzero()[0])
        raise RuntimeError(
            f"pool_tokens: example {b} covers {int(lengths[b])} tokens from {int(offset[b])} on, outside of {tokens}"
        )


def check_bounds(bounds: Tensor, lengths: list[int], rows: int, needed: int) -> None:
    """Refuse bounds of ``encode`` that do not cover all rows, or a sequence shorter than 1, ``read`` or ``tap`` rows."""
    if bounds[0] != 0 or bounds[-1] != rows:
        raise RuntimeError(f"encode: bounds must go from 0 to {rows}")
    for i, length in enumerate(lengths):
        if length < max(1, needed):
            raise RuntimeError(f"encode: sequence {i} has {length} rows, fewer than 1, read or tap")


def check_chosen(op: str, neurons: Tensor, width: int, values: Tensor | None, source: Tensor | None) -> None:
    """Refuse neurons that do not rise within [0, width), and rows that ``values`` lacks; waits for the indices' device."""
    outside = (neurons < 0) | (neurons >= width)
    if outside.any() or (neurons.diff() <= 0).any():
        raise RuntimeError(f"{op}: neurons must rise and lie in [0, {width})")
    if source is None or not len(neurons):
        return
    wrong = (source < -1) | (source >= len(values))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise RuntimeError(f"{op}: source must lie in [-1, {len(values)}), got {int(source[row])} at row {row}")


@torch.no_grad()
def accumulate_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    """Per class: the number of examples, the sum of their activations and the sum of the squares, in float64."""
    check_labels("accumulate_moments", labels, count.shape[0])
    labels = labels.to(act.device, non_blocking=True)
    value = act.to(torch.float64)
    count.index_add_(0, labels, torch.ones_like(labels))
    total.index_add_(0, labels, value)
    total_sq.index_add_(0, labels, value * value)


@torch.no_grad()
def accumulate_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    """Per class: how many examples have an activation above the threshold, compared in float64."""
    check_labels("accumulate_hits", labels, hits.shape[0])
    labels = labels.to(act.device, non_blocking=True)
    exceeds = act.to(torch.float64) > threshold
    hits.index_add_(0, labels, exceeds.to(torch.int64))


@torch.no_grad()
def pool_tokens(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> Tensor:
    """Mean or maximum over ``act[b, offset[b] : offset[b] + lengths[b]]``; zero for an example without tokens."""
    tokens = act.shape[1]
    check_spans(lengths, offset, tokens)
    lengths, offset = (span.to(act.device, non_blocking=True) for span in (lengths, offset))
    position = torch.arange(tokens, device=act.device)
    own = (position >= offset[:, None]) & (position < (offset + lengths)[:, None])
    empty = (lengths == 0)[:, None]
    dtype = torch.float64 if act.dtype == torch.float64 else torch.float32
    # `where` instead of a product with the mask, because a NaN or an infinity outside of the span must not leak in.
    if tokens == 0:
        pooled = act.new_zeros((act.shape[0], act.shape[2]), dtype=dtype)
    elif reduce == "mean":
        total = torch.where(own[:, :, None], act.to(torch.float64), 0.0).sum(dim=1)
        pooled = total / lengths.clamp(min=1)[:, None]
    else:
        pooled = torch.where(own[:, :, None], act.to(dtype), -torch.inf).amax(dim=1)
    return pooled.masked_fill(empty, 0.0).to(dtype)


def split(x: Tensor) -> Tensor:
    """float32 [...] -> bfloat16 [2, ...]: the rounded number, and the rounded rest. The sum of both is x to 2⁻¹⁷."""
    high = x.to(torch.bfloat16)
    return torch.stack([high, (x - high).to(torch.bfloat16)])


def rounded_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of a weight [N, K] to whole multiples, -127 to 127, of the row's scale.

    Returns the multiples int8 [N, K] and the scales float32 [N]. A scale is the greatest magnitude of the row over 127.
    A number that is not finite makes the scale a NaN.
    """
    weight = weight.float()
    scale = (weight.abs().amax(dim=1) if weight.shape[1] else weight.new_zeros(len(weight))) / 127
    finite = weight.isfinite().all(dim=1)
    number = torch.where((finite & (scale > 0))[:, None], weight / scale[:, None], 0.0).round()
    return number.to(torch.int8), torch.where(finite, scale, torch.nan)


def read_as_it_is(k: int) -> Tensor:
    """Return the columns [2, K] of a weight that reads a row as it is: the shift 0 and the factor 1."""
    return torch.tensor([[0.0], [1.0]]).repeat(1, k)


def mixed(rows: Tensor) -> Tensor:
    """Return rows [..., K] times an orthogonal, symmetric matrix, which spreads a wide column over others.

    The matrix has blocks of 128 columns, as many as there are, and behind them at most one of 64, of 32 and of 16 columns.
    Up to 15 columns stay as they are. In a block of [groups, 4, 4] columns, Hadamard's matrix mixes the groups, and
    another one mixes each four.
    """
    k = rows.shape[-1]
    matrix = torch.eye(k, dtype=rows.dtype, device=rows.device)
    first = 0
    for groups in (8, 4, 2, 1):
        block = torch.kron(hadamard(groups), torch.kron(torch.eye(4), hadamard(4))).to(matrix)
        while first + len(block) <= k:
            matrix[first : first + len(block), first : first + len(block)] = block
            first += len(block)
    return rows @ matrix


def hadamard(n: int) -> Tensor:
    """Return Hadamard's orthogonal matrix [n, n] of a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < n:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix / n**0.5


# The form int8 of a weight [N, K] is one tensor int8 [N + 8, K + 4]. Beside row n of the bytes lie the four bytes of its
# scale, and below the bytes lie the eight bytes of each column's shift and factor. The first byte of the corner is 1 in a
# weight that mixes the columns that it reads.


def pack_int8(number: Tensor, scale: Tensor, columns: Tensor, rotated: bool = False) -> Tensor:
    """Return the form int8 of a weight: the bytes [N, K], their scales [N], shift and factor of the columns [2, K], and
    whether the weight mixes the columns.
    """
    rows = torch.cat([number, scale.clone()[:, None].view(torch.int8)], dim=1)
    below = columns.T.clone(memory_format=torch.contiguous_format).view(torch.int8).T
    packed = torch.cat([rows, F.pad(below, (0, 4))])
    packed[-8, -4] = rotated
    return packed


def unpack_int8(packed: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Take a weight of :func:`pack_int8` apart."""

    def floats(part: Tensor) -> Tensor:  # a clone, because float32 cannot be read at every place of memory
        return part.clone(memory_format=torch.contiguous_format).view(torch.float32)

    return packed[:-8, :-4], floats(packed[:-8, -4:])[:, 0], floats(packed[-8:, :-4].T).T, bool(packed[-8, -4])


def row_bytes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return bytes 0 to 255 [..., K], as floats, and a step and a low [..., 1] for each row: x ≈ ``step * byte + low``.

    ``low`` is the least number of a row, and ``low + 255 * step`` the greatest. A number that is not finite makes the
    step a NaN.
    """
    x = x.float()
    low, high = x.amin(dim=-1, keepdim=True), x.amax(dim=-1, keepdim=True)
    size = high - low
    inverse = torch.where(size > 0, 255 / size, 0.0)
    step = torch.where(x.isfinite().all(dim=-1, keepdim=True), size / 255, torch.nan)
    return ((x - low) * inverse).round(), step, low


def _int8_linear(x: Tensor, weight: Tensor, bias: Tensor | None, slices: int | None) -> Tensor:
    """Return :func:`linear` of a weight of :func:`pack_int8`. Each slice of a row of x has its own step and low."""
    number, scale, (shift, factor), rotated = unpack_int8(weight)
    number, read = number.double(), (x.float() - shift) * factor
    read = mixed(read) if rotated else read
    total = x.new_zeros((*x.shape[:-1], len(number)), dtype=torch.float64)
    width = slices or max(1, x.shape[-1])
    for part, own in zip(read.split(width, dim=-1), number.split(width, dim=1), strict=True):
        byte, step, low = row_bytes(part)
        total += step.double() * F.linear(byte.double(), own) + low.double() * own.sum(dim=1)
    return (total * scale + (0 if bias is None else bias)).to(x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor, slices: int | None = None) -> Tensor:
    """x·weightᵀ + bias, also for a weight in two parts [2, N, K] (:func:`split`) or of bytes (:func:`pack_int8`).

    With two parts, x is split, too. Of the four products of parts, which are exact in float32 and summed there, the
    product of the two low parts is left out. With bytes, the weight reads (x - shift) · factor, each column of x with its own
    shift and factor; a rotated weight also mixes them (:func:`mixed`). This is rounded to bytes (:func:`row_bytes`), each row
    by itself, or each slice of ``slices`` numbers of a row. The products of bytes are exact.
    """
    if weight.dtype == torch.int8:
        return _int8_linear(x, weight, bias, slices)
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    (x_high, x_low), (high, low) = split(x).to(x.dtype), weight.to(x.dtype)
    return F.linear(x_high, high, bias) + F.linear(x_low, high) + F.linear(x_high, low)


# Neurons whose activations are rounded to bytes together: kSlice of csrc/cpu/linear.h.
SLICE = 512


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
    """(gelu(x·w_inᵀ + b_in) ∘ scale + shift)·w_outᵀ + b_out; ``shift`` [1, F], or [B, F] for x [B, …, H].

    The activations of ``neurons`` are then :func:`taken` from ``values``.
    """
    act = F.gelu(linear(x, w_in, b_in))
    middle = [1] * (x.dim() - 2)
    act = (act * scale + shift.reshape(-1, *middle, shift.shape[1])).to(x.dtype)
    if neurons is not None:
        check_chosen("ffn_masked", neurons, b_in.shape[0], values, source)
        act = taken(act.reshape(-1, act.shape[-1]), neurons, values, source).view(act.shape)
    return linear(act, w_out, b_out, SLICE)


def taken(act: Tensor, neurons: Tensor, values: Tensor, source: Tensor) -> Tensor:
    """act [T, F], but the ``neurons`` [K] of row t have row ``source[t]`` of ``values`` [V, K], unless this is −1."""
    if not len(values):
        return act
    neurons, source = (index.to(act.device, non_blocking=True) for index in (neurons, source))
    found = torch.where((source >= 0)[:, None], values[source.clamp(min=0)], act[:, neurons])
    return act.index_copy(1, neurons, found)


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
    """LayerNorm(x + gelu(x·w_inᵀ + b_in)·w_outᵀ + b_out)."""
    y = x + linear(F.gelu(linear(x, w_in, b_in)), w_out, b_out, SLICE)
    return F.layer_norm(y, x.shape[-1:], ln_weight, ln_bias, eps)


# The parts of one layer in the list that `encode` takes, in order; each part has a weight and a bias.
LAYER_PARTS = ("q", "k", "v", "out", "attention_norm", "up", "down", "output_norm")


@torch.no_grad()
def encode(
    hidden: Tensor,
    bounds: Tensor,
    weights: list[Tensor],
    masks: list[Tensor],
    heads: int,
    eps: float,
    read: int,
    tap: int,
    neurons: list[Tensor] | None = None,
    values: list[Tensor] | None = None,
    source: Tensor | None = None,
) -> list[Tensor]:
    """A post-LayerNorm encoder on packed sequences, layer by layer. The weights are as in :func:`linear`.

    The activations of each layer's ``neurons`` are :func:`taken` from its ``values``, or recorded without ``values``.
    """
    lengths = bounds.diff().tolist()
    check_bounds(bounds, lengths, hidden.shape[0], max(read, tap))
    bounds = bounds.to(hidden.device)
    first = bounds[:-1]
    example = torch.repeat_interleave(torch.arange(len(lengths), device=hidden.device), bounds.diff())
    per_layer = 2 * len(LAYER_PARTS)
    taps, recorded = [], []
    for index in range(len(weights) // per_layer):
        tensors = weights[index * per_layer : (index + 1) * per_layer]
        part = {name: tensors[2 * i : 2 * i + 2] for i, name in enumerate(LAYER_PARTS)}
        q, k, v = (linear(hidden, *part[name]) for name in ("q", "k", "v"))
        spans = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
        context = torch.cat([_attention(*span, heads) for span in spans]) if lengths else q
        hidden = F.layer_norm(hidden + linear(context, *part["out"]), hidden.shape[1:], *part["attention_norm"], eps)
        act = F.gelu(linear(hidden, *part["up"]))
        if masks and masks[2 * index].numel():
            scale, shift = masks[2 * index : 2 * index + 2]
            act = (act * scale + shift.expand(len(lengths), -1)[example]).to(hidden.dtype)
        if neurons is not None:
            own, given = neurons[index], None if values is None else values[index]
            check_chosen("encode", own, act.shape[1], given, source)
            if values is None:
                recorded.append(act[:, own.to(act.device)])
            else:
                act = taken(act, own, given, source)
        if tap:
            taps.append(act[first[:, None] + torch.arange(tap, device=act.device)])
        hidden = F.layer_norm(hidden + linear(act, *part["down"], SLICE), hidden.shape[1:], *part["output_norm"], eps)
    if read:
        hidden = hidden[(first[:, None] + torch.arange(read, device=hidden.device)).flatten()]
    return [hidden, *taps, *recorded]


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax(q·kᵀ / √d)·v of every head of one sequence [S, H]."""
    q, k, v = (t.unflatten(1, (heads, -1)).transpose(0, 1)[None] for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)
