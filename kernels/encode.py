"""``encode`` on CUDA: torch's products and attention on packed rows, combined with skn's own feed-forward operators and
its residual with LayerNorm.

The file has no kernel of its own and needs no device, so the tests run the same functions on a CPU. Once the functions
know the bounds, they never wait for the device, and compute shapes from shapes alone. So a CUDA graph can capture them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from skn.ops import reference

from .optional import triton_here

# Up to so many neurons, a feed-forward sublayer is a call of ffn_pruned: the most that its kernel takes.
FEW_NEURONS = 512
PER_LAYER = 2 * len(reference.LAYER_PARTS)
_UP_BIAS = 2 * reference.LAYER_PARTS.index("up") + 1


@dataclass(frozen=True)
class Sequences:
    """The places of the sequences in packed rows.

    ``bounds`` int32 [B + 1] are on the device of the rows, in the type that torch's attention reads; the host knows the
    length of the longest sequence. Rows after the last bound belong to no sequence, and their results have no meaning.
    """

    bounds: Tensor
    longest: int

    @staticmethod
    def checked(bounds: Tensor, hidden: Tensor, needed: int) -> Sequences:
        """From bounds int64 [B + 1] on the CPU or on the device of the rows ``hidden`` [T, H].

        Raises:
            RuntimeError: the bounds do not cover the rows, or a sequence has fewer than ``needed`` rows.
        """
        known = bounds.cpu()
        lengths = known.diff().tolist()
        reference.check_bounds(known, lengths, hidden.shape[0], needed)
        return Sequences(bounds.int().to(hidden.device, non_blocking=True), max(lengths, default=0))

    @property
    def count(self) -> int:
        return self.bounds.shape[0] - 1

    def first(self, rows: int, of: int) -> Tensor:
        """Return the indices [B · rows] of the first ``rows`` rows of each sequence, among ``of`` rows."""
        index = self.bounds[:-1, None] + torch.arange(rows, device=self.bounds.device)
        return index.flatten().clamp(max=of - 1)

    def owner(self, rows: int) -> Tensor:
        """Return the sequence [rows] to which each row belongs."""
        row = torch.arange(rows, dtype=torch.int32, device=self.bounds.device)
        return torch.searchsorted(self.bounds[1:], row, right=True).clamp(max=self.count - 1)


def pack(weight: Tensor, form: str) -> Tensor:
    """The operator ``pack``: a copy. Raises ``RuntimeError`` for bf16x3 and int8, which have no kernel on CUDA.

    A down-projection with few neurons is stored column by column, because the kernel of ffn_pruned then reads whole
    lines.
    """
    torch._check(form not in ("bf16x3", "int8"), lambda: f"pack: {form} has no kernel on CUDA; use float32")
    rows, columns = weight.shape
    if columns < rows <= 1024:
        return weight.detach().t().clone(memory_format=torch.contiguous_format).t()
    return weight.detach().clone(memory_format=torch.contiguous_format)


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
    """The operator ``encode``. Arguments as in :func:`skn.ops.encoder.encode`, weights as :func:`pack` returns them.

    It waits for the device if ``bounds``, ``neurons`` or ``source`` are on the device, and never waits if they are on the
    CPU. If the weights of q, k and v are parts of one tensor, in this order, they are used as that tensor.

    Raises:
        RuntimeError: the bounds or a shape do not fit.
    """
    sequences = Sequences.checked(bounds, hidden, max(read, tap))
    neurons, source = _chosen(hidden, weights, neurons, values, source)
    return encode_sequences(hidden, sequences, weights, masks, heads, eps, read, tap, neurons, values, source)


def encode_layers(
    hidden: Tensor,
    bounds: Tensor | Sequences,
    weights: list[Tensor],
    masks: list[Tensor],
    heads: int,
    eps: float,
    read: int,
    tap: int,
    neurons: list[Tensor] | None = None,
    values: list[Tensor] | None = None,
    source: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """:func:`encode` layer by layer: yields the hidden states behind each layer, and its tapped activations.

    So a caller can free the activations of a layer before the next layer is computed. The last layer gives the first
    ``read`` rows. The bounds and the chosen neurons, which take ``values``, are checked and copied to the device once.
    Instead of bounds, known sequences may be given, without chosen neurons: then nothing is checked or copied.

    Raises:
        RuntimeError: the bounds or a shape do not fit.
    """
    sequences = bounds if isinstance(bounds, Sequences) else Sequences.checked(bounds, hidden, max(read, tap))
    neurons, source = _chosen(hidden, weights, neurons, values, source)
    layers = len(weights) // PER_LAYER
    for index in range(layers):
        own, mask = weights[PER_LAYER * index :][:PER_LAYER], masks[2 * index : 2 * index + 2]
        given = () if values is None else (neurons[index : index + 1], values[index : index + 1], source)
        own_read = read if index == layers - 1 else 0
        with torch.no_grad():  # as a decorator, it would keep what the generator yielded last
            hidden, *acts = encode_sequences(hidden, sequences, own, mask, heads, eps, own_read, tap, *given)
        yield hidden, acts.pop()  # no name here keeps the activations


def _chosen(
    hidden: Tensor,
    weights: list[Tensor],
    neurons: list[Tensor] | None,
    values: list[Tensor] | None,
    source: Tensor | None,
) -> tuple[list[Tensor] | None, Tensor | None]:
    """Check the chosen neurons of all layers and their source, and return both on the device of ``hidden``."""
    if neurons is None:
        return None, None
    on_host = None if source is None else source.cpu()
    for layer, own in enumerate(neurons):
        width = len(weights[PER_LAYER * layer + _UP_BIAS])
        reference.check_chosen("encode", own.cpu(), width, values and values[layer], on_host)
    source = None if source is None else source.to(hidden.device, non_blocking=True)
    return [own.to(hidden.device, non_blocking=True) for own in neurons], source


def encode_sequences(
    hidden: Tensor,
    sequences: Sequences,
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
    """:func:`encode` for known sequences, and for chosen neurons that are on the device of ``hidden``."""
    layers, taps, recorded = _layers(weights), [], []
    recording = neurons is not None and values is None
    if sequences.count == 0:
        taps = [hidden.new_empty(0, tap, len(part["up"][1])) for part in layers if tap]
        return [hidden.clone(), *taps, *(hidden.new_empty(0, len(own)) for own in neurons or [] if recording)]
    for index, part in enumerate(layers):
        # The last layer computes only the rows that are read or tapped.
        kept = max(read, tap) if index == len(layers) - 1 and read else 0
        given = None
        if values is not None:
            given = neurons[index], values[index], source[sequences.first(kept, of=len(source))] if kept else source
        hidden = _attention_sublayer(hidden, sequences, part, heads, eps, kept)
        mask = tuple(masks[2 * index : 2 * index + 2]) if masks and masks[2 * index].numel() else None
        if mask is not None and mask[1].shape[0] != 1:
            mask = mask[0], _shift_of_rows(mask[1], sequences, hidden.shape[0], kept)
        hidden, act = _feed_forward(hidden, part, mask, given, eps, tap > 0 or recording)
        if recording:
            recorded.append(act[:, neurons[index]])
        if tap:
            taken = act.unflatten(0, (-1, kept))[:, :tap] if kept else act[sequences.first(tap, of=len(act))]
            taps.append(taken.reshape(sequences.count, tap, act.shape[1]))
    if read:
        hidden = hidden.unflatten(0, (sequences.count, -1))[:, :read].flatten(0, 1)
    return [hidden, *taps, *recorded]


def _layers(weights: list[Tensor]) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """Return weight and bias of each part, for every layer."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    names = reference.LAYER_PARTS
    return [dict(zip(names, pairs[i : i + len(names)], strict=True)) for i in range(0, len(pairs), len(names))]


def _attention_sublayer(hidden: Tensor, sequences: Sequences, part: dict, heads: int, eps: float, kept: int) -> Tensor:
    """Attention, residual and LayerNorm of all rows or, with ``kept``, of the first ``kept`` rows of each sequence."""
    q, k, v = part["q"], part["k"], part["v"]
    if kept:
        k, v = _project(hidden, (k, v), heads)
        hidden = hidden[sequences.first(kept, of=hidden.shape[0])]
        (q,) = _project(hidden, (q,), heads)
    else:
        q, k, v = _project(hidden, (q, k, v), heads)
    attention = varlen if _varlen_fits(q) else padded
    context = attention(q, k, v, sequences, kept).flatten(1)
    return _add_and_norm(hidden, F.linear(context, *part["out"]), part["attention_norm"], eps)


def _project(hidden: Tensor, linear: tuple[tuple[Tensor, Tensor], ...], heads: int) -> tuple[Tensor, ...]:
    """Return [rows, heads, d] of each linear layer, computed as one product."""
    weight, bias = (joined(tensors) for tensors in zip(*linear, strict=True))
    return F.linear(hidden, weight, bias).unflatten(1, (len(linear), heads, -1)).unbind(1)


def joined(tensors: tuple[Tensor, ...]) -> Tensor:
    """Join tensors along the first axis, without a copy if they already follow each other in one storage."""
    first, end = tensors[0], tensors[0].storage_offset()
    if len(tensors) == 1:
        return first
    for tensor in tensors:
        here = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (here and tensor.is_contiguous() and tensor.storage_offset() == end):
            return torch.cat(tensors)
        end += tensor.numel()
    size = (sum(len(tensor) for tensor in tensors), *first.shape[1:])
    return first.as_strided(size, first.stride(), first.storage_offset())


def _varlen_fits(q: Tensor) -> bool:
    """Whether torch's packed attention supports these heads. It has kernels from sm_80 on."""
    return (
        q.is_cuda
        and q.dtype in (torch.bfloat16, torch.float16)
        and q.shape[2] % 8 == 0
        and q.shape[2] <= 256
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
    )


# The operator behind torch.nn.attention.varlen.varlen_attn. That function also fills a state of random numbers, which
# would be one more launch in every layer.
flash_attention = torch.ops.aten._flash_attention_forward


def varlen(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, kept: int) -> Tensor:
    """Softmax(q·kᵀ / √d)·v within each sequence, [rows of q, heads, d], on packed rows as they are."""
    bounds, most = sequences.bounds, kept or sequences.longest
    bounds_q = bounds
    if kept:
        bounds_q = torch.arange(0, (sequences.count + 1) * kept, kept, dtype=torch.int32, device=q.device)
    options = 0.0, False, False  # no dropout, not causal, nothing for debugging
    return flash_attention(q, k, v, bounds_q, bounds, most, sequences.longest, *options)[0]


def padded(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, kept: int) -> Tensor:
    """Like :func:`varlen`, but on padded rows, for the dtypes and devices that :func:`varlen` does not support."""
    begin, lengths, longest = sequences.bounds[:-1, None], sequences.bounds.diff()[:, None], sequences.longest
    column = torch.arange(longest, device=q.device)
    # The padding repeats the sequence's own last row, because a NaN of another sequence would spread even with weight
    # zero.
    rows = (begin + torch.minimum(column, lengths - 1)).clamp(min=0)
    q_of = q.unflatten(0, (sequences.count, kept)) if kept else q[rows]
    q_of, k_of, v_of = (t.transpose(1, 2) for t in (q_of, k[rows], v[rows]))
    inside = (column < lengths)[:, None, None]
    context = F.scaled_dot_product_attention(q_of, k_of, v_of, attn_mask=inside).transpose(1, 2).flatten(0, 1)
    if kept:
        return context
    owner = sequences.owner(q.shape[0])
    place = owner * longest + torch.arange(q.shape[0], device=q.device) - sequences.bounds[owner]
    return context[place.clamp(max=context.shape[0] - 1)]


def _shift_of_rows(shift: Tensor, sequences: Sequences, rows: int, kept: int) -> Tensor:
    """Return the shift [rows, F] of each row from the shift of its sequence [B, F]."""
    torch._check(
        shift.shape[0] == sequences.count,
        lambda: f"encode: shift must be [1, F] or [{sequences.count}, F], got {list(shift.shape)}",
    )
    return shift.repeat_interleave(kept, 0) if kept else shift[sequences.owner(rows)]


def _feed_forward(
    rows: Tensor,
    part: dict,
    mask: tuple[Tensor, Tensor] | None,
    given: tuple[Tensor, Tensor, Tensor] | None,
    eps: float,
    read: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the feed-forward sublayer [rows, H] and, if it is ``read``, the activation [rows, F] before its
    down-projection.

    :param given: chosen neurons, what they take, and its source. It goes with torch's products, as ``read`` does, so that
        no operator checks the indices again on the device.
    """
    if mask is None and given is None and not read and len(part["up"][1]) <= FEW_NEURONS:
        norm = part["output_norm"]
        return torch.ops.skn.ffn_pruned(rows, *part["up"], *part["down"], *norm, eps), None
    act = None
    if mask is not None and given is None and not read:
        down = torch.ops.skn.ffn_masked(rows, *part["up"], *part["down"], *mask)
    else:
        act = torch.ops.aten.gelu_(F.linear(rows, *part["up"]))  # in place, because nothing else reads the product
        if mask is not None:
            act = (act * mask[0] + mask[1]).to(rows.dtype)
        if given is not None:
            act = reference.taken(act, *given)
        down = F.linear(act, *part["down"])
    return _add_and_norm(rows, down, part["output_norm"], eps), act if read else None


def _add_and_norm(rows: Tensor, projected: Tensor, norm: tuple[Tensor, Tensor], eps: float) -> Tensor:
    """LayerNorm(rows + projected), in one pass where there is a kernel for it."""
    if _one_pass_fits(rows):
        from .residual_norm import residual_norm

        return residual_norm(rows, projected, *norm, eps)
    return F.layer_norm(rows + projected, rows.shape[1:], *norm, eps)


def _one_pass_fits(rows: Tensor) -> bool:
    return rows.is_cuda and triton_here()
