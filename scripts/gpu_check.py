"""Checks skn's kernels on the first CUDA device against float64 on the CPU; ``gpu_check.sh`` builds and calls this.

Inputs are generated. Exit codes: 0 done, 1 a check failed, 2 no CUDA device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

SEED = 0
TOKENS = 1024  # of a batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all unless named")
    parser.add_argument("--device", action="store_true", help="only say whether there is a device")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, to test this script")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        print("gpu_check: no CUDA device", file=sys.stderr)
        return 2
    if options.device:
        print(f"gpu_check: {torch.cuda.get_device_name()}, torch {torch.__version__}")
        return 0
    device, failed = "cpu" if options.dry_run else "cuda", 0
    for name in options.checks or CHECKS:
        torch.manual_seed(SEED)
        try:
            said = CHECKS[name](device)
            print(f"ok      {name}{f': {said}' if said else ''}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


# Operators --------------------------------------------------------------------------------------------------


def check_statistics(device: str) -> None:
    from skn import ops
    from skn.ops import reference

    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        for batch, positions, neurons, classes in ((1, 1, 1, 1), (37, 3, 131, 5), (700, 2, 257, 150), (0, 2, 3, 2)):
            whole = torch.randn(batch, positions + 1, 2 * neurons).to(dtype)
            whole[whole > 2.5] = torch.inf
            whole[whole < -2.5] = torch.nan
            # Sliced on either side, because a copy to the device would make a slice contiguous.
            act, act_there = whole[:, 1:, ::2], whole.to(device)[:, 1:, ::2]
            labels = torch.randint(classes, (batch,))
            threshold = act[0].double() if batch else torch.zeros(positions, neurons).double()
            cells = (classes, positions, neurons)
            state = torch.zeros(classes).long(), *torch.zeros(2, *cells).double(), torch.zeros(cells).long()
            for given in (labels, labels.to(device)):  # checked on either side
                here, there = [t.clone() for t in state], [t.clone().to(device) for t in state]
                reference.accumulate_moments(*here[:3], act, labels)
                reference.accumulate_hits(here[3], act, threshold, labels)
                ops.accumulate_moments(*there[:3], act_there, given)
                ops.accumulate_hits(there[3], act_there, threshold.to(device), given)
                assert torch.equal(there[0].cpu(), here[0]) and torch.equal(there[3].cpu(), here[3]), (dtype, cells)
                for a, b in zip(there[1:3], here[1:3], strict=True):
                    torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-11, equal_nan=True)


def check_labels(device: str) -> None:
    from skn import ops

    act, threshold = torch.ones(3, 1, 2, device=device), torch.zeros(1, 2, dtype=torch.float64, device=device)
    for where in ("cpu", device):
        hits = torch.zeros(3, 1, 2, dtype=torch.int64, device=device)
        try:
            ops.accumulate_hits(hits, act, threshold, torch.tensor([0, 3, -1], device=where))
        except RuntimeError as error:
            assert "got 3 at example 1" in str(error), error
        else:
            raise AssertionError(f"a label out of range on {where} was taken")
        assert not hits.any()


def check_tau(device: str) -> None:
    from skn import ops
    from skn.ops import reference

    # 7,000 rows are beyond the bit kernel; few columns there, because the oracle is quadratic.
    for n, p, q in ((2, 2, 1), (33, 5, 15), (351, 37, 14), (351, 37, 16), (100, 3, 40), (20, 0, 2), (7000, 2, 1)):
        for dtypes in ((torch.float32,) * 2, (torch.float64,) * 2, (torch.bfloat16, torch.float16)):
            x, y = (torch.randint(-9, 9, (n, k)).to(dtype) / 3 for k, dtype in zip((p, q), dtypes, strict=True))
            x[n // 3 :: 7] *= -0.0
            if n > 40:
                y[5, 0] = torch.nan
            found = ops.kendall_tau(x.to(device).t().contiguous().t(), y.to(device))
            for a, b in zip(found, reference.kendall_tau(x, y), strict=True):
                assert torch.equal(a.cpu().nan_to_num(9), b.nan_to_num(9)), (dtypes, n, p, q)


def no_worse_than_plain(found: Tensor, plain: Tensor, exact: Tensor, what: object) -> None:
    """No further from float64 than PyTorch in the same dtype, with some room for another order of additions."""
    error, of_plain = (((t.double() - exact).norm() / exact.norm()).item() for t in (found, plain))
    assert torch.isfinite(found).all() and error <= 1.5 * of_plain + 1e-6, f"{what}: {error:.3g}, plain {of_plain:.3g}"


def linear(rows: int, columns: int) -> list[Tensor]:
    return [torch.randn(rows, columns) / columns**0.5, 0.1 * torch.randn(rows)]


def norm(width: int) -> list[Tensor]:
    return [1 + 0.1 * torch.randn(width), 0.1 * torch.randn(width)]


def check_ffn(device: str) -> None:
    from skn import ops
    from skn.ops import reference

    for dtype in (torch.float32, torch.bfloat16):
        for batch, tokens, hidden, neurons in ((3, 37, 768, 61), (2, 5, 70, 131), (1, 1, 1021, 1), (4, 9, 1040, 600)):
            x = torch.randn(batch, tokens, hidden) + 1
            layer = [*linear(neurons, hidden), *linear(hidden, neurons)]
            scale, shift = torch.rand(neurons, device=device), torch.randn(batch, neurons, device=device)
            there = [t.to(device, dtype) for t in (x, *layer)]
            wide = [t.double() for t in there]
            for rows in (shift, shift[:1]):
                found, plain = (f(*there, scale, rows) for f in (ops.ffn_masked, reference.ffn_masked))
                no_worse_than_plain(found, plain, reference.ffn_masked(*wide, scale, rows), ("masked", dtype, hidden))
            there += [t.to(device, dtype) for t in norm(hidden)]
            wide = [t.double() for t in there]
            found, plain = (f(*there, 1e-5) for f in (ops.ffn_pruned, reference.ffn_pruned))
            no_worse_than_plain(found, plain, reference.ffn_pruned(*wide, 1e-5), ("pruned", dtype, hidden))
    tensors = [t.detach().float().requires_grad_() for t in there]
    weight = torch.randn(x.shape, device=device)
    ways = (f(*tensors, 1e-5) for f in (ops.ffn_pruned, reference.ffn_pruned))
    for a, b in zip(*(torch.autograd.grad((y * weight).sum(), tensors) for y in ways), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def encode_cases() -> Iterator[tuple]:
    """Hidden size, heads, FFN widths, lengths, read and tap."""
    yield 768, 12, [3072, 61, 61], [56, 40, 17, 56], 1, 0
    yield 768, 12, [61, 307], [56, 3, 512], 0, 0
    yield 128, 2, [61, 512, 7], [20, 16, 33], 1, 16
    yield 84, 7, [33, 70], [5, 9, 2], 2, 1  # heads of 12, which torch's packed attention does not take


def check_encode(device: str) -> None:
    from skn import ops
    from skn.ops import reference

    for hidden, heads, widths, lengths, read, tap in encode_cases():
        weights = []
        for width in widths:
            for part in ([linear(hidden, hidden)] * 4, [norm(hidden)], [linear(width, hidden)], [linear(hidden, width)],
                         [norm(hidden)]):  # fmt: skip
                weights += [t for pair in part for t in pair]
        rows, bounds = torch.randn(sum(lengths), hidden), F.pad(torch.tensor(lengths).cumsum(0), (1, 0))
        masks = [t for width in widths for t in (torch.rand(width), torch.randn(len(lengths), width))]
        for dtype in (torch.float32, torch.bfloat16):
            there, x = [t.to(device, dtype) for t in weights], rows.to(device, dtype)
            packed = [ops.pack(t) if t.dim() == 2 else t for t in there]
            for given, where in (([], "cpu"), (masks, device)):
                given = [t.to(device) for t in given]
                found = ops.encode(x, bounds.to(where), packed, heads, 1e-5, given, read, tap)
                plain = reference.encode(x, bounds, there, given, heads, 1e-5, read, tap)
                wide = [t.double() for t in there]
                exact = reference.encode(x.double(), bounds, wide, given, heads, 1e-5, read, tap)
                for a, b, c in zip(found, plain, exact, strict=True):
                    no_worse_than_plain(a, b, c, (hidden, widths, read, tap, dtype))


# The engine -------------------------------------------------------------------------------------------------

LENGTHS = [*range(3, 40), *[24] * 60, 100, 100, 3]


def models(device: str, dtype: torch.dtype) -> dict:
    import gpu_models

    return gpu_models.prompted_models(device, dtype, layers=4, hidden=256, kept=61, first=1)


def check_engine(device: str) -> str:
    import gpu_models

    from skn.inference.engine import choose_engine, predict
    from skn.neurons.masking import MASK_KINDS, Mask

    split = gpu_models.texts(LENGTHS)
    chosen = torch.rand(4, 1024) < 0.3
    masks = [None, *(Mask(kind, chosen, torch.randn(4, 1024).double(), 0.3, seed=5) for kind in MASK_KINDS)]
    worst = 0.0
    for name, model in models(device, torch.float32).items():
        assert choose_engine(model.backbone) == "fast"
        for mask in masks:
            plain, fast = (predict(model, split, TOKENS, engine=engine, mask=mask) for engine in ("hf", "fast"))
            torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
            worst = max(worst, (fast - plain).abs().max().item())
    for name, model in models(device, torch.bfloat16).items():
        plain, fast = (predict(model, split, TOKENS, engine=engine) for engine in ("hf", "fast"))
        model.float()
        model.backbone.model.float()
        exact = predict(model, split, TOKENS, engine="hf")
        no_worse_than_plain(fast, plain, exact.double(), name)
    return f"float32 logits differ by {worst:.2g} at the most"


def check_probe(device: str) -> str:
    import gpu_models

    from skn.inference.hf import PROMPT
    from skn.neurons.probing import probe_hits, probe_moments

    split, model = gpu_models.texts(LENGTHS), models(device, torch.float32)["pruned"]
    plain, fast = (probe_moments(model, split, TOKENS, [PROMPT], "probe", e)[0][PROMPT] for e in ("hf", "fast"))
    assert torch.equal(fast.count, plain.count)
    torch.testing.assert_close(fast.total, plain.total, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(fast.total_sq, plain.total_sq, rtol=1e-4, atol=1e-3)
    thresholds = {PROMPT: plain.threshold()}
    plain, fast = (probe_hits(model, split, TOKENS, thresholds, "probe", e)[0][PROMPT].hits for e in ("hf", "fast"))
    share = (plain != fast).double().mean().item()
    assert share < 1e-3, f"{share:.2%} of the counts differ"
    return f"{share:.2e} of the counts differ: activations within float error of a threshold"


def check_waits(device: str) -> str | None:
    """Nothing leaves the device during a probe, and its memory is the same after every batch."""
    import gpu_models

    from skn import ops
    from skn.inference.batches import collate
    from skn.inference.fast import fast_forward
    from skn.inference.hf import PROMPT, Tap

    model, split = models(device, torch.float32)["dense"], gpu_models.texts([24] * 96)
    cells = 2, gpu_models.PROMPT_LENGTH, 1024
    count = torch.zeros(2, dtype=torch.int64, device=device)
    total, total_sq = (torch.zeros(cells, dtype=torch.float64, device=device) for _ in range(2))
    hits, threshold = torch.zeros(cells, dtype=torch.int64, device=device), torch.zeros_like(total[0])

    def add(_site: object, _readout: str, act: Tensor, batch: object) -> None:
        ops.accumulate_moments(count, total, total_sq, act, batch.label)
        ops.accumulate_hits(hits, act, threshold, batch.label)

    used, on_device = [], device == "cuda"
    with torch.inference_mode(), fast_forward(model.backbone, Tap([PROMPT], add), None) as forward:
        try:
            for start in range(0, len(split), 16):
                if on_device and start == 32:  # kernels are compiled by now
                    torch.cuda.set_sync_debug_mode("error")
                batch = collate(split, list(range(start, start + 16))).to(model.backbone.device)
                prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
                model.backbone.word_scores(forward(batch, prompted), model.label_ids)
                del batch, prompted
                used.append(torch.cuda.memory_allocated() if on_device else 0)
        finally:
            if on_device:
                torch.cuda.set_sync_debug_mode("default")
    assert len(set(used[2:])) == 1, f"bytes after each batch: {used}"
    assert count.sum().item() == 4 * len(split)
    return f"{used[-1]:,} bytes after each batch"


def check_graphs(device: str) -> str | None:
    import gpu_models
    from skn.kernels import graphs

    from skn.inference.engine import predict

    split, model = gpu_models.texts(LENGTHS), models(device, torch.bfloat16)["pruned"]
    first, *others = (predict(model, split, TOKENS, engine="fast") for _ in range(4))
    for other in others:
        torch.testing.assert_close(other, first, rtol=0.05, atol=0.05)
    captured = sum(len(of_model.captured) for of_model in graphs._of_weights.values())
    assert (captured > 0) == (device == "cuda"), "no pass was captured"
    return f"{captured} captured"


CHECKS = {
    "statistics": check_statistics,
    "labels": check_labels,
    "tau": check_tau,
    "ffn": check_ffn,
    "encode": check_encode,
    "engine": check_engine,
    "probe": check_probe,
    "waits": check_waits,
    "graphs": check_graphs,
}

if __name__ == "__main__":
    sys.exit(main())
