"""Checks of the operator ``encode``, plain and under masks, tapped and not, and of its residual with LayerNorm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from close import linear, no_worse_than_plain, norm
from reached import launched, served, way_of_pruned
from torch.nn import functional as F

if TYPE_CHECKING:
    from check import Given

# Hidden size, heads, FFN widths, lengths, read and tap.
CASES = [
    (84, 7, [33, 70], [5, 9, 2], 2, 1),  # heads of 12, which torch's packed attention does not support
    (84, 7, [33, 70], [5, 9, 2], 2, 0),
    (768, 12, [3072, 61, 61], [56, 40, 17, 56], 1, 0),
    (768, 12, [61, 307], [56, 3, 512], 0, 0),
    (128, 2, [61, 512, 7], [20, 16, 33], 1, 16),
]
MOST_NEURONS = 512  # the most neurons for the one kernel
NORMS = [(1792, 768), (3, 1), (5, 70), (2, 1030), (1, 4096)]  # rows and columns


def encode(given: Given) -> str:
    from skn.ops import backends

    serves = served("encode", given.device, backends.TORCH)
    for case in CASES[:2] if given.few else CASES:
        compare(given.device, *case)
    return f"served by {serves}"


def layers(hidden: int, widths: list[int]) -> list[torch.Tensor]:
    """Return the sixteen tensors of each layer, in float32 on the CPU."""
    weights = []
    for width in widths:
        parts = [linear(hidden, hidden) for _ in range(4)]
        parts += [norm(hidden), linear(width, hidden), linear(hidden, width), norm(hidden)]
        weights += [t for part in parts for t in part]
    return weights


def compare(device: str, hidden: int, heads: int, widths: list[int], lengths: list[int], read: int, tap: int) -> None:
    from skn import ops
    from skn.ops import reference

    weights = layers(hidden, widths)
    rows, bounds = torch.randn(sum(lengths), hidden), F.pad(torch.tensor(lengths).cumsum(0), (1, 0))
    masks = [t for width in widths for t in (torch.rand(width), torch.randn(len(lengths), width))]
    for dtype in (torch.float32, torch.bfloat16):
        there, x = [t.to(device, dtype) for t in weights], rows.to(device, dtype)
        packed = [ops.pack(t) if t.dim() == 2 else t for t in there]
        wide = [t.double() for t in there]
        for own, where in (([], "cpu"), (masks, device)):
            own = [t.to(device) for t in own]
            # With a tap, no kernel that hides the activations runs. Under a mask, another kernel runs.
            pruned = (
                [] if tap or own else [way_of_pruned(device, dtype, hidden, w) for w in widths if w <= MOST_NEURONS]
            )
            masked = len(widths) if own and not tap else 0
            norms = 2 * len(widths) - len(pruned)  # behind every attention, and where ffn_pruned does not have its own
            packed_attention = dtype == torch.bfloat16 and hidden // heads % 8 == 0
            with (
                launched(device, "residual_norm", "residual_norm_kernel", norms),
                launched(device, "encode", "flash_attention", packed_attention * len(widths)),
                launched(device, "ffn_pruned", "one_kernel", pruned.count("ffn_pruned")),
                launched(device, "ffn_resident", "one_kernel", pruned.count("ffn_resident")),
                launched(device, "ffn_masked", "up_masked_kernel", masked),
            ):
                found = ops.encode(x, bounds.to(where), packed, heads, 1e-5, own, read, tap)
            plain = reference.encode(x, bounds, there, own, heads, 1e-5, read, tap)
            exact = reference.encode(x.double(), bounds, wide, own, heads, 1e-5, read, tap)
            for a, b, c in zip(found, plain, exact, strict=True):
                no_worse_than_plain(a, b, c, (hidden, widths, read, tap, dtype, bool(own)))


def residual_norm(given: Given) -> str | None:
    """Compare with the eager pair, whose sum is rounded, too: equal but for the order of additions."""
    if given.device == "cpu":
        return "has no definition on a CPU"
    from skn.kernels import residual_norm as kernel

    for rows, hidden in NORMS[1:] if given.few else NORMS:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            x, y = (torch.randn(rows, 2 * hidden).to(given.device, dtype)[:, ::2] + 3 for _ in range(2))
            weight, bias = (t.to(given.device, dtype) for t in norm(hidden))
            with launched(given.device, "residual_norm", "residual_norm_kernel", 1):
                found = kernel.residual_norm(x, y, weight, bias, 1e-5)
            plain = F.layer_norm(x + y, (hidden,), weight, bias, 1e-5)
            step = torch.finfo(dtype).eps
            torch.testing.assert_close(found, plain, rtol=2 * step, atol=1e-4 + step)
            exact = F.layer_norm((x + y).double(), (hidden,), weight.double(), bias.double(), 1e-5)
            no_worse_than_plain(found, plain, exact, ("norm", dtype, rows, hidden))
    return None
