"""The engine on a small RoBERTa, dense and pruned: fast beside Hugging Face, graphs, a probe, and no wait for the
device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import models
import torch
from close import no_worse_than_plain
from reached import counted
from torch import Tensor

if TYPE_CHECKING:
    from check import Given

TOKENS = 1024  # the most tokens of a batch
LENGTHS = [*range(3, 40), *[24] * 60, 100, 100, 3]


def sizes(given: Given) -> tuple[int, int]:
    """Return the number of layers and of neurons in each."""
    return (2, 256) if given.few else (4, 1024)


def both(given: Given, dtype: torch.dtype) -> dict:
    layers, neurons = sizes(given)
    return models.prompted_models(
        given.device, dtype, layers=layers, hidden=neurons // 4, kept=61, first=1, small=given.few
    )


def split_of(given: Given) -> object:
    return models.texts([3, 20, 24, 24] if given.few else LENGTHS, given.few)


def engine(given: Given) -> str:
    from skn.inference.engine import choose_engine, predict
    from skn.neurons.masking import MASK_KINDS, Mask

    split, cells = split_of(given), sizes(given)
    chosen = torch.rand(cells) < 0.3
    masks = [None, *(Mask(kind, chosen, torch.randn(cells).double(), 0.3, seed=5) for kind in MASK_KINDS)]
    worst = 0.0
    for name, model in both(given, torch.float32).items():
        assert given.device == "cpu" or choose_engine(model.backbone) == "fast"
        for mask in masks:
            plain, fast = (predict(model, split, TOKENS, engine=way, mask=mask) for way in ("hf", "fast"))
            torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
            worst = max(worst, (fast - plain).abs().max().item())
    for name, model in both(given, torch.bfloat16).items():
        plain, fast = (predict(model, split, TOKENS, engine=way) for way in ("hf", "fast"))
        model.float()
        model.backbone.model.float()
        exact = predict(model, split, TOKENS, engine="hf")
        no_worse_than_plain(fast, plain, exact.double(), name)
    return f"float32 logits differ by {worst:.2g} at the most"


def probe(given: Given) -> str:
    from skn.inference.readouts import PROMPT
    from skn.neurons.probing import probe_hits, probe_moments

    split, model = split_of(given), both(given, torch.float32)["pruned"]
    plain, fast = (probe_moments(model, split, TOKENS, [PROMPT], "probe", e)[0][PROMPT] for e in ("hf", "fast"))
    assert torch.equal(fast.count, plain.count)
    torch.testing.assert_close(fast.total, plain.total, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(fast.total_sq, plain.total_sq, rtol=1e-4, atol=1e-3)
    thresholds = {PROMPT: plain.threshold()}
    with counted(torch.cuda.CUDAGraph, "replay") as replays:
        plain, fast = (probe_hits(model, split, TOKENS, thresholds, "probe", e)[0][PROMPT].hits for e in ("hf", "fast"))
    assert bool(replays) == (given.device == "cuda"), "no batch was replayed from a graph"
    share = (plain != fast).double().mean().item()
    assert share < 1e-3, f"{share:.2%} of the counts differ"
    return f"{share:.2e} of the counts differ: activations within float error of a threshold"


def decoders(given: Given) -> str:
    """Check the statistics of decoders on the device against the CPU: the last token, and the mean over all tokens."""
    from skn.inference.readouts import LAST, MEAN
    from skn.neurons.probing import probe_moments

    split, readouts = models.ended(models.texts([3, 20, 24, 9] * (1 if given.few else 16), small=True)), [LAST, MEAN]
    worst = 0.0
    for name in models.DECODERS:
        here, there = (
            probe_moments(models.decoder(name, device), split, TOKENS, readouts, "probe", "hf")[0]
            for device in ("cpu", given.device)
        )
        for readout in readouts:
            assert torch.equal(there[readout].count, here[readout].count)
            found, expected = there[readout].threshold(), here[readout].threshold()
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
            worst = max(worst, (found - expected).abs().max().item())
    return f"means of float32 activations differ by {worst:.2g} at the most"


def waits(given: Given) -> str:
    """Check that nothing leaves the device during a probe, and that its memory is the same after every batch."""
    from skn import ops
    from skn.inference.batches import collate
    from skn.inference.fast import fast_forward
    from skn.inference.hf import Tap
    from skn.inference.readouts import PROMPT

    device, texts, (layers, neurons) = given.device, 48 if given.few else 96, sizes(given)
    model, split = both(given, torch.float32)["dense"], models.texts([24] * texts, given.few)
    cells = 2, models.PROMPT_LENGTH, neurons
    count = torch.zeros(2, dtype=torch.int64, device=device)
    total, total_sq = (torch.zeros(cells, dtype=torch.float64, device=device) for _ in range(2))
    hits, threshold = torch.zeros(cells, dtype=torch.int64, device=device), torch.zeros_like(total[0])

    def add(_site: object, _readout: str, act: Tensor, batch: object) -> None:
        ops.accumulate_moments(count, total, total_sq, act, batch.label)
        ops.accumulate_hits(hits, act, threshold, batch.label)

    used, on_device = [], device == "cuda"
    with torch.inference_mode(), fast_forward(model, Tap([PROMPT], add, len(split)), None) as forward:
        try:
            for start in range(0, len(split), 16):
                if on_device and start == 32:  # all kernels are compiled now
                    torch.cuda.set_sync_debug_mode("error")
                batch = collate(split, list(range(start, start + 16))).to(model.backbone.device)
                forward(batch)
                del batch
                used.append(torch.cuda.memory_allocated() if on_device else 0)
        finally:
            if on_device:
                torch.cuda.set_sync_debug_mode("default")
    assert len(set(used[2:])) == 1, f"bytes after each batch: {used}"
    assert count.sum().item() == layers * len(split)
    return f"{used[-1]:,} bytes after each batch"


def graphs(given: Given) -> str:
    """Check that the first pass of a shape has no graph, and that the later passes replay one."""
    from skn.inference.engine import predict

    model, passes = both(given, torch.bfloat16)["pruned"], []
    large = models.texts([24] * 4 if given.few else [60] * 400, given.few)  # a batch of more than 16,384 rows
    for split, tokens in ((split_of(given), TOKENS), (large, 32 * TOKENS)):
        with counted(torch.cuda.CUDAGraph, "replay") as replays:
            first, *others = (predict(model, split, tokens, engine="fast") for _ in range(2 if given.few else 4))
        for other in others:
            torch.testing.assert_close(other, first, rtol=0.05, atol=0.05)
        assert bool(replays) == (given.device == "cuda"), "no pass was replayed from a graph"
        passes.append(len(replays))
    return f"{passes[0]} passes of small batches and {passes[1]} of a large one were replays"
