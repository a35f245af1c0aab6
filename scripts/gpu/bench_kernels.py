"""Rows of single kernels, each beside the eager definition in PyTorch."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from timing import Bench
from torch import Tensor
from torch.nn import functional as F

HIDDEN, KEPT = 768, 61
ROWS = [32768, 1792]  # of the batches 256 × 128 and 32 × 56
# Rows and neurons; the most important come first.
PRUNED = [(rows, neurons) for neurons in (KEPT, 307, 512) for rows in (65536, 16384)]


def copy(bench: Bench) -> None:
    """A copy that is too large for the cache: its bandwidth is the scale for the other rows."""
    source = torch.randn(bench.size(1 << 28, 1 << 16), device=bench.device)
    target = torch.empty_like(source)
    entry = bench.kernel("copy", lambda _: target.copy_(source), [source], moved=2 * source.nbytes)
    bench.copied = entry.get("GB/s")


def tau(bench: Bench) -> None:
    from skn import ops
    from skn.ops import backends

    n, p, q = bench.size(351, 20), bench.size(36864, 30), 14
    x, y = bench.sets(n, p, dtype=torch.float32), torch.randn(n, q, device=bench.device)
    serves = backends.implementation("kendall_tau", bench.device)
    name = "kendall_tau, 36,864 × 14, n = 351"
    bench.kernel(name, lambda i: ops.kendall_tau(x[i], y), x, serves=serves)


def layer(bench: Bench, neurons: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return w_in, b_in, w_out, b_out of an FFN in bfloat16: packed as the engine packs them, and plain for torch."""
    from skn.ops.encoder import pack

    shapes = (neurons, HIDDEN), (HIDDEN, neurons)
    w_in, w_out = (torch.randn(shape, device=bench.device).bfloat16() / HIDDEN**0.5 for shape in shapes)
    b_in, b_out = (torch.randn(n, device=bench.device).bfloat16() for n in (neurons, HIDDEN))
    return [pack(w_in), b_in, pack(w_out), b_out], [w_in, b_in, w_out, b_out]


def pruned(bench: Bench) -> None:
    from skn import ops
    from skn.ops import reference

    for rows, neurons in PRUNED:
        x, norm, packed, plain = of_pruned(bench, rows, neurons)
        name, moved = f"ffn_pruned, {rows:,} rows, {neurons} neurons", 2 * x[0].nbytes  # reads x and writes the result
        ways = {"operator": (ops, packed), "eager": (reference, plain)}
        if bench.device == "cuda" and neurons == KEPT:
            from skn.kernels import ffn_pruned as triton

            ways["triton"] = (
                SimpleNamespace(ffn_pruned=triton.one_kernel),
                packed,
            )  # beside C++, which serves few neurons
        for way, (where, weights) in ways.items():

            def call(i: int, x: list = x, where: object = where, weights: list = weights, norm: list = norm) -> Tensor:
                return where.ffn_pruned(x[i], *weights, *norm, 1e-5)

            bench.kernel(f"{name}, {way}", call, x, moved)


def of_pruned(bench: Bench, rows: int, neurons: int) -> tuple[list, list, list, list]:
    """Return sets of x, the LayerNorm, and the weights packed and plain."""
    norm = [torch.randn(HIDDEN, device=bench.device).bfloat16() for _ in range(2)]
    return bench.sets(bench.size(rows, 16), HIDDEN), norm, *layer(bench, bench.size(neurons, 5))


def larger(bench: Bench) -> None:
    """The Triton kernel of ``ffn_pruned`` with twice as many rows in a block, which reads the weights half as often but
    needs more registers.
    """
    if bench.device == "cpu":
        return
    from skn.kernels import ffn_pruned as kernel

    before, kernel.BLOCK_M = kernel.BLOCK_M, 2 * kernel.BLOCK_M
    try:
        for rows, neurons in PRUNED:
            x, norm, packed, _ = of_pruned(bench, rows, neurons)
            bench.kernel(
                f"ffn_pruned, {rows:,} rows, {neurons} neurons, triton, larger blocks",
                lambda i, x=x, norm=norm, packed=packed: kernel.one_kernel(x[i], *packed, *norm, 1e-5),
                x, 2 * x[0].nbytes,
            )  # fmt: skip
    finally:
        kernel.BLOCK_M = before


def masked(bench: Bench) -> None:
    from skn import ops
    from skn.ops import reference

    rows, neurons = bench.size(4096, 16), bench.size(3072, 32)
    x, (packed, plain) = bench.sets(rows, HIDDEN), layer(bench, neurons)
    scale, shift = torch.rand(neurons, device=bench.device), torch.rand(1, neurons, device=bench.device)
    name = "ffn_masked, 4,096 rows, 3,072 neurons"
    bench.kernel(f"{name}, operator", lambda i: ops.ffn_masked(x[i], *packed, scale, shift), x)
    bench.kernel(f"{name}, eager", lambda i: reference.ffn_masked(x[i], *plain, scale, shift), x)


def norm(bench: Bench) -> None:
    """Residual and LayerNorm in one kernel, beside the eager pair. They read two tensors and write one."""
    if bench.device == "cpu":
        return
    from skn.kernels.residual_norm import residual_norm

    weight, bias = (torch.randn(HIDDEN, device=bench.device).bfloat16() for _ in range(2))
    for rows in ROWS:
        x, moved = bench.sets(rows, HIDDEN), 6 * rows * HIDDEN
        y, name = torch.randn_like(x[0]), f"residual and LayerNorm, {rows:,} rows"
        bench.kernel(f"{name}, one kernel", lambda i, x=x, y=y: residual_norm(x[i], y, weight, bias, 1e-5), x, moved)
        bench.kernel(
            f"{name}, eager", lambda i, x=x, y=y: F.layer_norm(x[i] + y, (HIDDEN,), weight, bias, 1e-5), x, moved
        )


def gelu(bench: Bench) -> None:
    """GELU of the up-projection of a dense layer, in place and into a second tensor, and the product before."""
    neurons = bench.size(3072, 32)
    _, (w_in, b_in, *_) = layer(bench, neurons)
    for rows in ROWS:
        x, act = bench.sets(bench.size(rows, 16), HIDDEN), bench.sets(bench.size(rows, 16), neurons)
        name, moved = f"{rows:,} rows, 3,072 neurons", 2 * act[0].nbytes
        bench.kernel(f"up-projection, {name}", lambda i, x=x: F.linear(x[i], w_in, b_in), x)
        bench.kernel(f"GELU, {name}, in place", lambda i, act=act: torch.ops.aten.gelu_(act[i]), act, moved)
        bench.kernel(f"GELU, {name}, second tensor", lambda i, act=act: F.gelu(act[i]), act, moved)


def statistics(bench: Bench) -> None:
    """A probe's batch of a layer. Labels are on the CPU, as in a probe."""
    from skn import ops
    from skn.ops import reference

    batch, positions, neurons, classes = bench.size(64, 4), bench.size(100, 3), bench.size(3072, 64), 2
    act = bench.sets(batch, positions, neurons)
    labels = torch.randint(classes, (batch,))
    count = torch.zeros(classes, dtype=torch.int64, device=bench.device)
    total, squares = torch.zeros(2, classes, positions, neurons, dtype=torch.float64, device=bench.device)
    hits, threshold = torch.zeros_like(total, dtype=torch.int64), torch.zeros_like(total[0])
    lengths = torch.full((batch,), positions, device=bench.device)
    offset, moved = torch.zeros_like(lengths), act[0].nbytes
    ways = [("operator", ops, ops), ("eager", reference, reference)]
    if bench.device == "cuda":
        from skn.kernels import pooling
        from skn.kernels import statistics as kernels

        ways.append(("triton", kernels, pooling))
    for name, where, pools in ways:
        of = f"64 × 100 × 3,072, {name}"
        bench.kernel(
            f"accumulate_moments, {of}",
            lambda i, where=where: where.accumulate_moments(count, total, squares, act[i], labels),
            act, moved,
        )  # fmt: skip
        bench.kernel(
            f"accumulate_hits, {of}",
            lambda i, where=where: where.accumulate_hits(hits, act[i], threshold, labels),
            act, moved,
        )  # fmt: skip
        bench.kernel(
            f"pool_tokens, {of}",
            lambda i, pools=pools: pools.pool_tokens(act[i], lengths, offset, "mean"),
            act, moved,
        )  # fmt: skip


def fused(bench: Bench) -> None:
    """The up-projection with counts as its epilogue, beside the two operators apart. It has no eager definition."""
    if bench.device == "cpu":
        return
    from skn.kernels import ffn_statistics, groups

    from skn import ops

    batch, positions, neurons, classes = 64, 100, 3072, 2
    _, (w_in, b_in, *_) = layer(bench, neurons)
    x = bench.sets(batch, positions, HIDDEN)
    labels = torch.randint(classes, (batch,))
    by_class = groups.group_by_class("bench", labels, classes, x[0].device)
    hits = torch.zeros(classes, positions, neurons, dtype=torch.int64, device=bench.device)
    threshold = torch.zeros(positions, neurons, dtype=torch.float64, device=bench.device)
    bench.kernel(
        "up-projection and hits, fused",
        lambda i: ffn_statistics.up_projection_hits(x[i], w_in, b_in, by_class, threshold, hits), x,
    )  # fmt: skip
    bench.kernel(
        "up-projection and hits, apart",
        lambda i: ops.accumulate_hits(hits, F.gelu(F.linear(x[i], w_in, b_in)), threshold, labels), x,
    )  # fmt: skip
