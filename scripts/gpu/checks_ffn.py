"""Check that the feed-forward operators are no further from float64 than PyTorch in the same dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from close import linear, no_worse_than_plain, norm
from reached import launched, served, way_of_pruned

if TYPE_CHECKING:
    from check import Given

# Batch, tokens, hidden, neurons. The kernels of ffn_pruned take all cases except the last.
SIZES = [(2, 5, 70, 131), (3, 37, 768, 61), (1, 1, 1021, 1), (2, 33, 1024, 512), (4, 9, 1040, 600)]
REFUSED = 1
# Of the kernel that keeps the weights in shared memory: one row, tiles that are not full, more tiles than blocks.
RESIDENT = [(1, 1, 8, 1), (3, 37, 768, 61), (1, 17, 40, 33), (1, 33, 384, 16), (2, 5001, 768, 64), (5, 7, 1024, 48)]
FEW = 3


def ffn(given: Given) -> str:
    from skn.ops import backends

    served("ffn_masked", given.device, backends.TRITON)
    serves = served("ffn_pruned", given.device, backends.CUDA, backends.TRITON)
    sizes = SIZES[:1] if given.few else SIZES
    for dtype in (torch.float32, torch.bfloat16):
        for size in sizes:
            masked(given.device, dtype, size)
            in_kernel = size not in SIZES[-REFUSED:]
            with launched(given.device, way_of_pruned(given.device, dtype, *size[2:]), "one_kernel", int(in_kernel)):
                pruned(given.device, dtype, size)
    for size in sizes if given.few else (SIZES[1], SIZES[-1]):
        with launched(given.device, "ffn_pruned", "one_kernel", int(size not in SIZES[-REFUSED:])):
            gradients(given.device, size)
    return f"ffn_pruned served by {serves}"


def resident(given: Given) -> str | None:
    """Compare the kernel for few neurons with float64, and every second call with the first to the bit."""
    if given.device == "cpu":
        return "has no definition on a CPU"
    from skn.kernels import ffn_resident

    from skn import ops

    for batch, tokens, hidden, neurons in RESIDENT[:FEW] if given.few else RESIDENT:
        most = ffn_resident.most_neurons(hidden, torch.device(given.device, 0))
        assert most > 0, f"the kernel takes no H = {hidden}, or was not built"
        size = (batch, tokens, hidden, min(neurons, most))  # an A100 has less shared memory
        with launched(given.device, "ffn_resident", "one_kernel", 3):
            pruned(given.device, torch.bfloat16, size)
            there = layer(size, given.device, torch.bfloat16)
            there += [t.to(given.device, torch.bfloat16) for t in norm(hidden)]
            first, second = (ops.ffn_pruned(*there, 1e-5) for _ in range(2))
        assert torch.equal(first, second), f"{size}: two calls differ"
    return f"the most neurons: {ffn_resident.most_neurons(768, there[0].device)} at 768, {most} at {hidden}"


def layer(size: tuple[int, int, int, int], device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return x and the four tensors of an FFN."""
    batch, tokens, hidden, neurons = size
    x = torch.randn(batch, tokens, hidden) + 1
    return [t.to(device, dtype) for t in (x, *linear(neurons, hidden), *linear(hidden, neurons))]


def masked(device: str, dtype: torch.dtype, size: tuple[int, int, int, int]) -> None:
    from skn import ops
    from skn.ops import reference

    batch, _, _, neurons = size
    there = layer(size, device, dtype)
    wide = [t.double() for t in there]
    scale, shift = torch.rand(neurons, device=device), torch.randn(batch, neurons, device=device)
    for rows in (shift, shift[:1]):
        with launched(device, "ffn_masked", "up_masked_kernel", 1):
            found = ops.ffn_masked(*there, scale, rows)
        plain, exact = reference.ffn_masked(*there, scale, rows), reference.ffn_masked(*wide, scale, rows)
        no_worse_than_plain(found, plain, exact, ("masked", dtype, size))


def pruned(device: str, dtype: torch.dtype, size: tuple[int, int, int, int]) -> None:
    from skn import ops
    from skn.ops import reference

    there = [*layer(size, device, dtype), *(t.to(device, dtype) for t in norm(size[2]))]
    found, plain = (f(*there, 1e-5) for f in (ops.ffn_pruned, reference.ffn_pruned))
    exact = reference.ffn_pruned(*(t.double() for t in there), 1e-5)
    no_worse_than_plain(found, plain, exact, ("pruned", dtype, size))


def gradients(device: str, size: tuple[int, int, int, int]) -> None:
    """Compare gradients through the operator, whose backward is the eager definition's, with gradients of that
    definition.
    """
    from skn import ops
    from skn.ops import reference

    there = [*layer(size, device, torch.float32), *(t.to(device) for t in norm(size[2]))]
    tensors = [t.requires_grad_() for t in there]
    weight = torch.randn(tensors[0].shape, device=device)
    ways = [f(*tensors, 1e-5) for f in (ops.ffn_pruned, reference.ffn_pruned)]
    torch.testing.assert_close(*ways, rtol=1e-4, atol=1e-4)
    for a, b in zip(*(torch.autograd.grad((y * weight).sum(), tensors) for y in ways), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def fused(given: Given) -> str | None:
    """Compare the up-projection's own statistics with statistics of the activation that it writes."""
    if given.device == "cpu":
        return "has no definition on a CPU"
    from skn.kernels import ffn_statistics, groups

    from skn.ops import reference

    for dtype in (torch.float32, torch.bfloat16):
        x, w_in, b_in, *_ = layer((37, 3, 768, 131), given.device, dtype)
        labels, cells = torch.randint(5, (37,)), (5, 3, 131)
        by_class = groups.group_by_class("fused", labels, 5, x.device)
        total, squares = torch.zeros(2, *cells, dtype=torch.float64, device=x.device)
        hits = torch.zeros(cells, dtype=torch.int64, device=x.device)
        threshold = torch.zeros(cells[1:], dtype=torch.float64, device=x.device)
        act = ffn_statistics.up_projection_moments(x, w_in, b_in, by_class, total, squares, write=True)
        ffn_statistics.up_projection_hits(x, w_in, b_in, by_class, threshold, hits)
        exact = torch.nn.functional.gelu(x.double() @ w_in.double().T + b_in.double())
        plain = torch.nn.functional.gelu(torch.nn.functional.linear(x, w_in, b_in))
        no_worse_than_plain(act, plain, exact, ("fused", dtype))
        here = [torch.zeros(5).long(), *torch.zeros(2, *cells).double(), torch.zeros(cells).long()]
        reference.accumulate_moments(*here[:3], act.cpu(), labels)
        reference.accumulate_hits(here[3], act.cpu(), threshold.cpu(), labels)
        assert torch.equal(hits.cpu(), here[3]), dtype
        for a, b in ((total, here[1]), (squares, here[2])):
            torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-11)
    return None
