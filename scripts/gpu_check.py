"""Checks and times skn's CUDA kernels on the first device; ``gpu_check.sh`` builds and calls this.

Inputs are generated. Times are CUDA events over single calls, as median and quartiles, on several sets of inputs in turn
that are together larger than the cache, beside the bandwidth of a large copy measured in the same run. Exit codes: 0
done, 1 a check failed, 2 no CUDA device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

SEED = 0
REPEATS = 50
SETS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--device", action="store_true", help="only say whether there is a device")
    what.add_argument("--checks", action="store_true", help="operators on CUDA against float64 on the CPU")
    what.add_argument("--bench", type=Path, metavar="DIR", help="time everything and write JSON into DIR")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu_check: no CUDA device", file=sys.stderr)
        return 2
    torch.manual_seed(SEED)
    if options.device:
        print(f"gpu_check: {torch.cuda.get_device_name()}, torch {torch.__version__}")
        return 0
    return check() if options.checks else bench(options.bench)


# Checks -----------------------------------------------------------------------------------------------------


def check() -> int:
    failed = 0
    for run in (check_statistics, check_labels, check_tau):
        try:
            run()
            print(f"ok      {run.__name__}")
        except Exception as error:
            failed += 1
            print(f"FAILED  {run.__name__}: {type(error).__name__}: {error}")
    return 1 if failed else 0


def check_statistics() -> None:
    from skn import ops, reference

    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        for batch, positions, neurons, classes in ((1, 1, 1, 1), (37, 3, 131, 5), (700, 2, 257, 150), (0, 2, 3, 2)):
            whole = torch.randn(batch, positions + 1, 2 * neurons).to(dtype)
            whole[whole > 2.5] = torch.inf
            whole[whole < -2.5] = torch.nan
            # Sliced on either side, because a copy to the device would make a slice contiguous.
            act, act_there = whole[:, 1:, ::2], whole.cuda()[:, 1:, ::2]
            labels = torch.randint(classes, (batch,))
            threshold = act[0].double() if batch else torch.zeros(positions, neurons).double()
            cells = (classes, positions, neurons)
            state = torch.zeros(classes).long(), *torch.zeros(2, *cells).double(), torch.zeros(cells).long()
            there = [t.cuda() for t in state]
            reference.accumulate_moments(*state[:3], act, labels)
            reference.accumulate_hits(state[3], act, threshold, labels)
            ops.accumulate_moments(*there[:3], act_there, labels.cuda())
            ops.accumulate_hits(there[3], act_there, threshold.cuda(), labels.cuda())
            assert torch.equal(there[0].cpu(), state[0]) and torch.equal(there[3].cpu(), state[3]), (dtype, cells)
            for a, b in zip(there[1:3], state[1:3], strict=True):
                torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-11, equal_nan=True)


def check_labels() -> None:
    from skn import ops

    hits = torch.zeros(3, 1, 2, dtype=torch.int64, device="cuda")
    labels = torch.tensor([0, 3, -1], device="cuda")
    try:
        ops.accumulate_hits(hits, torch.ones(3, 1, 2).cuda(), torch.zeros(1, 2).double().cuda(), labels)
    except RuntimeError as error:
        assert "got 3 at example 1" in str(error), error
    else:
        raise AssertionError("a label out of range was taken")
    assert not hits.any()


def check_tau() -> None:
    from skn import ops, reference

    # 7,000 rows are beyond the bit kernel; few columns there, because the oracle is quadratic.
    for n, p, q in ((2, 2, 1), (33, 5, 15), (351, 37, 14), (351, 37, 16), (100, 3, 40), (20, 0, 2), (7000, 2, 1)):
        for dtypes in ((torch.float32,) * 2, (torch.float64,) * 2, (torch.bfloat16, torch.float16)):
            x, y = (torch.randint(-9, 9, (n, k)).to(dtype) / 3 for k, dtype in zip((p, q), dtypes, strict=True))
            x[n // 3 :: 7] *= -0.0
            if n > 40:
                y[5, 0] = torch.nan
            found = ops.kendall_tau(x.cuda().t().contiguous().t(), y.cuda())
            for a, b in zip(found, reference.kendall_tau(x, y), strict=True):
                assert torch.equal(a.cpu().nan_to_num(9), b.nan_to_num(9)), (dtypes, n, p, q)


# Times ------------------------------------------------------------------------------------------------------


def microseconds(call: Callable[[int], object]) -> dict:
    """Median and quartiles of ``call(set)`` in µs; the first rounds compile and warm up."""
    for i in range(2 * SETS):
        call(i % SETS)
    times = []
    for i in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(i % SETS)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1000)
    low, median, high = statistics.quantiles(times, n=4)
    return {"median": median, "quartiles": [low, high]}


def sets(*shape: int, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    return [torch.randn(shape, device="cuda", dtype=dtype) for _ in range(SETS)]


def bench(folder: Path) -> int:
    import triton

    from skn import backends

    results = {}
    for run in (bench_copy, bench_statistics, bench_fused, bench_masked, bench_pruned, bench_tau):
        for name, entry in run().items():
            results[name] = entry
            print(f"{name:40} {entry['median']:12.1f} µs  [{entry['quartiles'][0]:.1f}, {entry['quartiles'][1]:.1f}]")
    record = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "build": backends.build_record(),
        "serves": {op: backends.implementation(op, "cuda") for op in backends.TABLE},
        "repeats": REPEATS,
        "unit": "µs",
        "results": results,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{record['device'].replace(' ', '-')}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    print(path)
    return 0


def bench_copy() -> dict:
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    entry = microseconds(lambda _: target.copy_(source))
    return {"copy": entry | {"GB/s": 2 * source.nbytes / entry["median"] / 1000}}


def bench_statistics() -> dict:
    from skn.kernels import pooling
    from skn.kernels import statistics as kernels

    from skn import ops, reference

    batch, positions, neurons, classes = 64, 100, 3072, 2
    act = sets(batch, positions, neurons)
    labels = torch.randint(classes, (batch,), device="cuda")
    count = torch.zeros(classes, dtype=torch.int64, device="cuda")
    total, total_sq = torch.zeros(2, classes, positions, neurons, dtype=torch.float64, device="cuda")
    hits = torch.zeros_like(total, dtype=torch.int64)
    threshold = torch.zeros(positions, neurons, dtype=torch.float64, device="cuda")
    lengths = torch.full((batch,), positions, device="cuda")
    offset = torch.zeros_like(lengths)
    found = {}
    for name, where in (("operator", ops), ("triton", kernels), ("eager", reference)):
        found[f"accumulate_moments, {name}"] = microseconds(
            lambda i, where=where: where.accumulate_moments(count, total, total_sq, act[i], labels)
        )
        found[f"accumulate_hits, {name}"] = microseconds(
            lambda i, where=where: where.accumulate_hits(hits, act[i], threshold, labels)
        )
    for name, where in (("triton", pooling), ("eager", reference)):
        found[f"pool_tokens, {name}"] = microseconds(
            lambda i, where=where: where.pool_tokens(act[i], lengths, offset, "mean")
        )
    for entry in found.values():
        entry |= {"bytes of act": act[0].nbytes, "shape": [batch, positions, neurons]}
    return found


def weights(neurons: int, hidden: int) -> tuple[torch.Tensor, ...]:
    """w_in, b_in, w_out, b_out of an FFN in bfloat16, w_out transposed in memory."""
    w_in, w_out = (torch.randn(neurons, hidden, device="cuda", dtype=torch.bfloat16) / hidden**0.5 for _ in range(2))
    return w_in, w_in[:, 0].contiguous(), w_out.t(), w_out[0].contiguous()


def bench_fused() -> dict:
    from skn.kernels import ffn_statistics, groups

    from skn import ops

    batch, positions, hidden, neurons, classes = 64, 100, 768, 3072, 2
    w_in, b_in, *_ = weights(neurons, hidden)
    x = sets(batch, positions, hidden)
    labels = torch.randint(classes, (batch,), device="cuda")
    by_class = groups.group_by_class("bench", labels, classes, labels.device)
    hits = torch.zeros(classes, positions, neurons, dtype=torch.int64, device="cuda")
    threshold = torch.zeros(positions, neurons, dtype=torch.float64, device="cuda")
    return {
        "up-projection and hits, fused": microseconds(
            lambda i: ffn_statistics.up_projection_hits(x[i], w_in, b_in, by_class, threshold, hits)
        ),
        "up-projection and hits, apart": microseconds(
            lambda i: ops.accumulate_hits(hits, F.gelu(F.linear(x[i], w_in, b_in)), threshold, labels)
        ),
    }


def bench_masked() -> dict:
    from skn.kernels import ffn_masked

    tokens, hidden, neurons = 4096, 768, 3072
    w_in, b_in, w_out, b_out = weights(neurons, hidden)
    x = sets(tokens, hidden)
    scale, shift = torch.rand(neurons, device="cuda"), torch.rand(1, neurons, device="cuda")
    return {
        "masked FFN, epilogue": microseconds(
            lambda i: ffn_masked.ffn_masked(x[i], w_in, b_in, w_out, b_out, scale, shift)
        ),
        "masked FFN, eager": microseconds(
            lambda i: F.linear((F.gelu(F.linear(x[i], w_in, b_in)) * scale + shift).bfloat16(), w_out, b_out)
        ),
    }


def bench_pruned() -> dict:
    from skn.kernels import ffn_pruned

    tokens, hidden, found = 4096, 768, {}
    x = sets(tokens, hidden)
    ln_weight, ln_bias = (torch.randn(hidden, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for neurons in (61, 307, 3072):
        w_in, b_in, w_out, b_out = layer = weights(neurons, hidden)

        def eager(i, w_in=w_in, b_in=b_in, w_out=w_out, b_out=b_out):
            down = F.linear(F.gelu(F.linear(x[i], w_in, b_in)), w_out, b_out)
            return F.layer_norm(x[i] + down, (hidden,), ln_weight, ln_bias, 1e-5)

        found[f"FFN sublayer of {neurons}, one kernel"] = microseconds(
            lambda i, layer=layer: ffn_pruned.one_kernel(x[i], *layer, ln_weight, ln_bias, 1e-5)
        )
        found[f"FFN sublayer of {neurons}, eager"] = microseconds(eager)
    return found


def bench_tau() -> dict:
    from skn import ops

    x, y = sets(351, 36864, dtype=torch.float32), sets(351, 14, dtype=torch.float32)
    return {"Kendall's tau, 36,864 × 14, n = 351": microseconds(lambda i: ops.kendall_tau(x[i], y[i]))}


if __name__ == "__main__":
    sys.exit(main())
