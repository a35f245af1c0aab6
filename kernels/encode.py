"""``encode`` on CUDA: torch's products and attention on packed rows, around skn's own feed-forward operators.

No kernel of its own, and nothing that asks for a device: the tests run the same functions on a CPU. Once it knows the
bounds, it never waits for the device and computes shapes from shapes alone, so that a CUDA graph can hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from skn.ops import reference


@dataclass(frozen=True)
class Sequences:
    """Where the sequences of packed rows lie: ``bounds`` int64 [B + 1] on the device of the rows, of which the host knows
    the length of the longest sequence. Rows from the last bound on belong to none; what they become means nothing.
    """

    bounds: Tensor
    longest: int

    @property
    def count(self) -> int:
        return self.bounds.shape[0] - 1

    def first(self, rows: int, of: int) -> Tensor:
        """Indices [B · rows] of the first ``rows`` rows of each sequence among ``of`` rows."""
        index = self.bounds[:-1, None] + torch.arange(rows, device=self.bounds.device)
        return index.flatten().clamp(max=of - 1)

    def owner(self, rows: int) -> Tensor:
        """The sequence [rows] of each row."""
        row = torch.arange(rows, device=self.bounds.device)
        return torch.searchsorted(self.bounds[1:], row, right=True).clamp(max=self.count - 1)


def pack(weight: Tensor, form: str) -> Tensor:
    """The operator of that name: a copy. Raises ``RuntimeError`` for bf16x3, which has no kernel on CUDA.

    A down-projection with few neurons lies column by column, as the kernel of ffn_pruned reads it in whole lines.
    """
    torch._check(form != "bf16x3", lambda: "pack: bf16x3 has no kernel on CUDA; use float32")
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
) -> list[Tensor]:
    """The operator of that name; arguments as in :func:`skn.ops.encoder.encode`, weights as :func:`pack` gives them.

    It waits for the device if ``bounds`` are there, and for nothing if they are on the CPU. Weights of q, k and v that
    are parts of one tensor, in this order, are taken as that tensor.

    Raises:
        RuntimeError: the bounds or a shape do not fit.
    """
    known = bounds.cpu()
    lengths = known.diff().tolist()
    reference.check_bounds(known, lengths, hidden.shape[0], max(read, tap))
    sequences = Sequences(bounds.to(hidden.device, non_blocking=True), max(lengths, default=0))
    return encode_sequences(hidden, sequences, weights, masks, heads, eps, read, tap)


def encode_sequences(
    hidden: Tensor,
    sequences: Sequences,
    weights: list[Tensor],
    masks: list[Tensor],
    heads: int,
    eps: float,
    read: int,
    tap: int,
) -> list[Tensor]:
    """:func:`encode` where the sequences are known."""
    layers, taps = _layers(weights), []
    if sequences.count == 0:
        return [hidden.clone(), *(hidden.new_empty(0, tap, len(part["up"][1])) for part in layers if tap)]
    for index, part in enumerate(layers):
        # The last layer has the rows that are read or tapped and no others.
        kept = max(read, tap) if index == len(layers) - 1 and read else 0
        hidden = _attention_sublayer(hidden, sequences, part, heads, eps, kept)
        mask = tuple(masks[2 * index : 2 * index + 2]) if masks and masks[2 * index].numel() else None
        if mask is not None and mask[1].shape[0] != 1:
            mask = mask[0], _shift_of_rows(mask[1], sequences, hidden.shape[0], kept)
        hidden, act = _feed_forward(hidden, part, mask, eps, tap > 0)
        if tap:
            taken = act.unflatten(0, (-1, kept))[:, :tap] if kept else act[sequences.first(tap, of=len(act))]
            taps.append(taken.reshape(sequences.count, tap, act.shape[1]))
    if read:
        hidden = hidden.unflatten(0, (sequences.count, -1))[:, :read].flatten(0, 1)
    return [hidden, *taps]


def _layers(weights: list[Tensor]) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """For every layer, weight and bias of each part."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    names = reference.LAYER_PARTS
    return [dict(zip(names, pairs[i : i + len(names)], strict=True)) for i in range(0, len(pairs), len(names))]


def _attention_sublayer(hidden: Tensor, sequences: Sequences, part: dict, heads: int, eps: float, kept: int) -> Tensor:
    """Attention, residual and LayerNorm of all rows, or with ``kept`` of the first so many of each sequence."""
    q, k, v = part["q"], part["k"], part["v"]
    if kept:
        k, v = _project(hidden, (k, v), heads)
        hidden = hidden[sequences.first(kept, of=hidden.shape[0])]
        (q,) = _project(hidden, (q,), heads)
    else:
        q, k, v = _project(hidden, (q, k, v), heads)
    attention = varlen if _varlen_fits(q) else padded
    context = attention(q, k, v, sequences, kept).flatten(1)
    return F.layer_norm(hidden + F.linear(context, *part["out"]), hidden.shape[1:], *part["attention_norm"], eps)


def _project(hidden: Tensor, linear: tuple[tuple[Tensor, Tensor], ...], heads: int) -> tuple[Tensor, ...]:
    """[rows, heads, d] of each linear layer, as one product."""
    weight, bias = (joined(tensors) for tensors in zip(*linear, strict=True))
    return F.linear(hidden, weight, bias).unflatten(1, (len(linear), heads, -1)).unbind(1)


def joined(tensors: tuple[Tensor, ...]) -> Tensor:
    """Tensors one below the other: without a copy where they lie so already, in one storage."""
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
    """Whether torch's packed attention takes these heads; it has kernels from sm_80 on."""
    return (
        q.is_cuda
        and q.dtype in (torch.bfloat16, torch.float16)
        and q.shape[2] % 8 == 0
        and q.shape[2] <= 256
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
    )


def varlen(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, kept: int) -> Tensor:
    """Softmax(q·kᵀ / √d)·v within each sequence, [rows of q, heads, d], on packed rows as they are."""
    bounds = sequences.bounds.int()
    bounds_q = bounds
    if kept:
        bounds_q = torch.arange(0, (sequences.count + 1) * kept, kept, dtype=torch.int32, device=q.device)
    return varlen_attn(q, k, v, bounds_q, bounds, kept or sequences.longest, sequences.longest)


def padded(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, kept: int) -> Tensor:
    """As :func:`varlen`, on rows that are padded for it: for dtypes and devices that the other does not have."""
    begin, lengths, longest = sequences.bounds[:-1, None], sequences.bounds.diff()[:, None], sequences.longest
    column = torch.arange(longest, device=q.device)
    # The padding repeats a sequence's own last row: a NaN of another would reach it even with weight zero.
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
    """The shift [rows, F] of each row from that of its sequence [B, F]."""
    torch._check(
        shift.shape[0] == sequences.count,
        lambda: f"encode: shift must be [1, F] or [{sequences.count}, F], got {list(shift.shape)}",
    )
    return shift.repeat_interleave(kept, 0) if kept else shift[sequences.owner(rows)]


def _feed_forward(
    rows: Tensor, part: dict, mask: tuple[Tensor, Tensor] | None, eps: float, tapped: bool
) -> tuple[Tensor, Tensor | None]:
    """The feed-forward sublayer [rows, H] and, if ``tapped``, the activation [rows, F] that its down-projection read."""
    if mask is None and not tapped:
        norm = part["output_norm"]
        return torch.ops.skn.ffn_pruned(rows, *part["up"], *part["down"], *norm, eps), None
    act = None
    if tapped:
        act = F.gelu(F.linear(rows, *part["up"]))
        if mask is not None:
            act = (act * mask[0] + mask[1]).to(rows.dtype)
        down = F.linear(act, *part["down"])
    else:
        down = torch.ops.skn.ffn_masked(rows, *part["up"], *part["down"], *mask)
    return F.layer_norm(rows + down, rows.shape[1:], *part["output_norm"], eps), act
