"""Times skn's kernels and its engine on the first CUDA device; ``gpu_check.sh`` builds and calls this.

Inputs are generated. Times are CUDA events around a call, or around several "in a row" and divided, as median and
quartiles, on several sets of inputs in turn that are together larger than the cache, beside the bandwidth of a large copy
measured in the same run. What waits for torch.compile comes last, and the JSON is written after every suite. Exit codes:
0 done, 2 no CUDA device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

SETS = 4
DEVICE = "cuda"
SMALL = False  # with --dry-run: sizes for a CPU


def main() -> int:
    global DEVICE, SMALL
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all unless named")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON into DIR")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no suite is begun")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU at small sizes, to test this script")
    options = parser.parse_args()
    begin = time.monotonic()
    if options.dry_run:
        DEVICE, SMALL = "cpu", True
    elif not torch.cuda.is_available():
        print("gpu_bench: no CUDA device", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    results: dict[str, dict] = {}
    for name in options.suites or SUITES:
        if time.monotonic() - begin > options.limit:
            print(f"{name}: left out, {options.limit:.0f} seconds have passed", flush=True)
            continue
        for row, entry in SUITES[name](results).items():
            results[row] = entry
            more = "  ".join(f"{key} {value}" for key, value in entry.items() if key not in ("median", "quartiles"))
            low, high = entry["quartiles"]
            print(f"{row:50} {entry['median']:12.1f} µs  [{low:.1f}, {high:.1f}]  {more}", flush=True)
        if options.out:
            write(options.out, results)
    return 0


def write(folder: Path, results: dict) -> None:
    from skn.ops import backends

    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "dry run"
    record = {
        "device": device,
        "torch": torch.__version__,
        "build": backends.build_record(),
        "serves": {op: backends.implementation(op, DEVICE) for op in backends.TABLE},
        "unit": "µs",
        "results": results,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{device.replace(' ', '-')}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def microseconds(call: Callable[[int], object], repeats: int = 50, in_a_row: int = 1) -> dict:
    """Median and quartiles of ``call(set)`` in µs; the first rounds compile and warm up."""
    repeats = 2 if SMALL else repeats
    for i in range(min(repeats, 2 * SETS)):
        call(i % SETS)
    times = [_once(call, i, in_a_row) / in_a_row for i in range(repeats)]
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": median, "quartiles": [low, high]}


def _once(call: Callable[[int], object], which: int, in_a_row: int) -> float:
    if DEVICE == "cpu":
        begin = time.perf_counter()
        for i in range(in_a_row):
            call((which + i) % SETS)
        return 1e6 * (time.perf_counter() - begin)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for i in range(in_a_row):
        call((which + i) % SETS)
    end.record()
    end.synchronize()
    return 1000 * start.elapsed_time(end)


def both(name: str, call: Callable[[int], object]) -> dict:
    """A pass on its own, which waits for its launches, and in a row, where they hide behind the pass before."""
    return {name: microseconds(call, 20), f"{name}, in a row": microseconds(call, 5, in_a_row=10)}


def sets(*shape: int, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    return [torch.randn(shape, device=DEVICE, dtype=dtype) for _ in range(SETS)]


def size(full: int, small: int) -> int:
    return small if SMALL else full


# Kernels ----------------------------------------------------------------------------------------------------


def bench_copy(_: dict) -> dict:
    source = torch.randn(size(1 << 28, 1 << 16), device=DEVICE)
    target = torch.empty_like(source)
    entry = microseconds(lambda _: target.copy_(source))
    return {"copy": entry | {"GB/s": round(2 * source.nbytes / entry["median"] / 1000, 1)}}


def bench_statistics(_: dict) -> dict:
    from skn import ops
    from skn.ops import reference

    batch, positions, neurons, classes = size(64, 4), size(100, 3), size(3072, 64), 2
    act = sets(batch, positions, neurons)
    labels = torch.randint(classes, (batch,))  # on the CPU, as a probe has them
    count = torch.zeros(classes, dtype=torch.int64, device=DEVICE)
    total, total_sq = torch.zeros(2, classes, positions, neurons, dtype=torch.float64, device=DEVICE)
    hits = torch.zeros_like(total, dtype=torch.int64)
    threshold = torch.zeros(positions, neurons, dtype=torch.float64, device=DEVICE)
    lengths = torch.full((batch,), positions, device=DEVICE)
    offset, ways, found = torch.zeros_like(lengths), [("operator", ops, ops), ("eager", reference, reference)], {}
    if DEVICE == "cuda":
        from skn.kernels import pooling
        from skn.kernels import statistics as kernels

        ways.append(("triton", kernels, pooling))
    for name, where, pools in ways:
        found[f"accumulate_moments, {name}"] = microseconds(
            lambda i, where=where: where.accumulate_moments(count, total, total_sq, act[i], labels)
        )
        found[f"accumulate_hits, {name}"] = microseconds(
            lambda i, where=where: where.accumulate_hits(hits, act[i], threshold, labels)
        )
        found[f"pool_tokens, {name}"] = microseconds(
            lambda i, pools=pools: pools.pool_tokens(act[i], lengths, offset, "mean")
        )
    return found


def weights(neurons: int, hidden: int) -> tuple[torch.Tensor, ...]:
    """w_in, b_in, w_out, b_out of an FFN in bfloat16, packed as the engine packs them."""
    from skn.ops.encoder import pack

    w_in, w_out = (torch.randn(shape, device=DEVICE) / hidden**0.5 for shape in ((neurons, hidden), (hidden, neurons)))
    b_in, b_out = (torch.randn(n, device=DEVICE).bfloat16() for n in (neurons, hidden))
    return pack(w_in.bfloat16()), b_in, pack(w_out.bfloat16()), b_out


def plain(weight: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A weight [rows, columns] for torch: on a CPU a packed one has another layout."""
    return weight if weight.dim() == 2 else torch.randn(rows, columns, dtype=weight.dtype)


def bench_fused(_: dict) -> dict:
    if DEVICE == "cpu":
        return {}
    from skn.kernels import ffn_statistics, groups

    from skn import ops

    batch, positions, hidden, neurons, classes = 64, 100, 768, 3072, 2
    w_in, b_in, *_ = weights(neurons, hidden)
    x = sets(batch, positions, hidden)
    labels = torch.randint(classes, (batch,))
    by_class = groups.group_by_class("bench", labels, classes, x[0].device)
    hits = torch.zeros(classes, positions, neurons, dtype=torch.int64, device=DEVICE)
    threshold = torch.zeros(positions, neurons, dtype=torch.float64, device=DEVICE)
    return {
        "up-projection and hits, fused": microseconds(
            lambda i: ffn_statistics.up_projection_hits(x[i], w_in, b_in, by_class, threshold, hits)
        ),
        "up-projection and hits, apart": microseconds(
            lambda i: ops.accumulate_hits(hits, F.gelu(F.linear(x[i], w_in, b_in)), threshold, labels)
        ),
    }


def bench_masked(_: dict) -> dict:
    from skn import ops
    from skn.ops import reference

    tokens, hidden, neurons = size(4096, 32), size(768, 64), size(3072, 128)
    w_in, b_in, w_out, b_out = layer = weights(neurons, hidden)
    of_torch = plain(w_in, neurons, hidden), b_in, plain(w_out, hidden, neurons), b_out
    x = sets(tokens, hidden)
    scale, shift = torch.rand(neurons, device=DEVICE), torch.rand(1, neurons, device=DEVICE)
    return {
        "masked FFN, operator": microseconds(lambda i: ops.ffn_masked(x[i], *layer, scale, shift)),
        "masked FFN, eager": microseconds(lambda i: reference.ffn_masked(x[i], *of_torch, scale, shift)),
    }


def bench_pruned(results: dict) -> dict:
    from skn import ops
    from skn.ops import reference

    hidden, found = size(768, 64), {}
    copied = results.get("copy", {}).get("GB/s")
    norm = [torch.randn(hidden, device=DEVICE).bfloat16() for _ in range(2)]
    for tokens in (size(4096, 16), size(16384, 32), size(65536, 48)):
        x = sets(tokens, hidden)
        for neurons in (size(61, 5), size(307, 9), size(512, 16)):
            w_in, b_in, w_out, b_out = layer = weights(neurons, hidden)
            of_torch = plain(w_in, neurons, hidden), b_in, plain(w_out, hidden, neurons), b_out
            name = f"FFN sublayer, {tokens:,} rows, {neurons} neurons"
            entry = microseconds(lambda i, x=x, layer=layer: ops.ffn_pruned(x[i], *layer, *norm, 1e-5))
            moved = round(2 * x[0].nbytes / entry["median"] / 1000, 1)  # x in, the result out
            entry |= {"GB/s": moved} | ({"of copy": round(moved / copied, 3)} if copied else {})
            found[f"{name}, operator"] = entry
            found[f"{name}, eager"] = microseconds(
                lambda i, x=x, of_torch=of_torch: reference.ffn_pruned(x[i], *of_torch, *norm, 1e-5)
            )
            if DEVICE == "cuda":
                found[f"{name}, larger blocks"] = _with_larger_blocks(lambda i, x=x, layer=layer: (x[i], *layer, *norm))
    return found


def _with_larger_blocks(arguments: Callable[[int], tuple]) -> dict:
    """Twice as many rows in a block read the weights half as often, and cost registers."""
    from skn.kernels import ffn_pruned as kernel

    before, kernel.BLOCK_M = kernel.BLOCK_M, 2 * kernel.BLOCK_M
    try:
        return microseconds(lambda i: kernel.one_kernel(*arguments(i), 1e-5))
    finally:
        kernel.BLOCK_M = before


def bench_tau(_: dict) -> dict:
    from skn import ops

    n, p, q = size(351, 20), size(36864, 30), 14
    x, y = sets(n, p, dtype=torch.float32), sets(n, q, dtype=torch.float32)
    entry = microseconds(lambda i: ops.kendall_tau(x[i], y[i]))
    return {f"Kendall's tau, {p:,} × {q}, n = {n}": entry | {"ms": round(entry["median"] / 1000, 3)}}


# The engine -------------------------------------------------------------------------------------------------


def models(dtype: torch.dtype) -> dict:
    import gpu_models

    return gpu_models.prompted_models(
        DEVICE, dtype, layers=size(12, 2), hidden=size(768, 128), kept=size(61, 7), first=size(3, 1)
    )


def shapes() -> list[tuple[int, int]]:
    """Texts in a batch, and tokens of each with the prompt."""
    return [(2, 20)] if SMALL else [(32, 56), (256, 128)]


def bench_engine(_: dict) -> dict:
    """The pruned encoder in bfloat16: skn, with graphs where they fit, beside the Hugging Face forward of the same model."""
    import gpu_models

    from skn.inference.fast import fast_forward

    found, model = {}, models(torch.bfloat16)["pruned"]
    backbone = model.backbone
    for rows, tokens in shapes():
        batch, prompted = gpu_models.batch_of(model, rows, tokens)
        with torch.inference_mode(), fast_forward(backbone, None, None) as forward:
            ways = {
                "skn": lambda _, b=batch, p=prompted: backbone.word_scores(forward(b, p), model.label_ids),
                "eager": lambda _, p=prompted: backbone.scores(p, model.label_ids),
            }
            for name, way in ways.items():
                found |= both(f"pruned encoder, {rows} × {tokens}, {name}", way)
    return found


def bench_original(_: dict) -> dict:
    """The full model in float32: forward and probe of a batch beside what the original code does."""
    import gpu_models

    from skn import ops
    from skn.inference.fast import fast_forward
    from skn.inference.hf import PROMPT, Tap

    found, model = {}, models(torch.float32)["dense"]
    backbone, (rows, tokens) = model.backbone, shapes()[0]
    batch, prompted = gpu_models.batch_of(model, rows, tokens)
    cells = 2, gpu_models.PROMPT_LENGTH, backbone.ffn_width
    hits = [torch.zeros(cells, dtype=torch.int64, device=DEVICE) for _ in backbone.ffn_sites]
    threshold = torch.zeros(cells[1:], dtype=torch.float64, device=DEVICE)

    def add(site: object, _readout: str, act: torch.Tensor, own: object) -> None:
        ops.accumulate_hits(hits[site.layer], act, threshold, own.label)

    for name, tap in (("forward", None), ("probe", Tap([PROMPT], add))):
        with torch.inference_mode(), fast_forward(backbone, tap, None) as forward:
            found[f"full model, {name}, skn"] = microseconds(
                lambda _, f=forward: backbone.word_scores(f(batch, prompted), model.label_ids)
            )
    uses = {"hooks and every word": lambda act: None, "host copies": lambda act: act.cpu().numpy().copy().size}
    for name, use in uses.items():
        found[f"full model, original, {name}"] = microseconds(
            lambda _, use=use: gpu_models.original(model, prompted, use), repeats=10
        )
    return found


def bench_compile(rows: int, tokens: int) -> dict:
    """The pruned encoder in bfloat16 under torch.compile, tuned to the utmost and with CUDA graphs."""
    import gpu_models

    model = models(torch.bfloat16)["pruned"]
    backbone, words = model.backbone, model.label_ids
    _, prompted = gpu_models.batch_of(model, rows, tokens)
    options = {"backend": "eager"} if SMALL else {"mode": "max-autotune"}
    fast = torch.compile(lambda: backbone.scores(prompted, words), dynamic=False, **options)
    begin = time.monotonic()
    with torch.no_grad():
        found = both(f"pruned encoder, {rows} × {tokens}, torch.compile", lambda _: fast())
    print(f"(compiled and timed in {time.monotonic() - begin:.0f} s)")
    return found


SUITES: dict[str, Callable[[dict], dict]] = {
    "copy": bench_copy,
    "statistics": bench_statistics,
    "fused": bench_fused,
    "masked": bench_masked,
    "pruned": bench_pruned,
    "tau": bench_tau,
    "engine": bench_engine,
    "original": bench_original,
    "compile": lambda _: bench_compile(*shapes()[0]),
    "compile-large": lambda _: bench_compile(*shapes()[-1]),
}

if __name__ == "__main__":
    sys.exit(main())
