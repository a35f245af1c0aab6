"""Rows of whole passes: the encoder, pruned and dense, the probe, and the passes for comparison."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import models
import torch
from timing import Bench

if TYPE_CHECKING:
    from skn.inference.batches import Batch

SHAPES = [(32, 56), (256, 128)]  # texts in a batch, and tokens of each with the prompt


@functools.cache
def built(device: str) -> dict:
    """Return both models, built once for all suites.

    A suite casts them to its dtype, because only sizes matter for time.
    """
    if device == "cpu":
        return models.prompted_models(device, torch.float32, layers=2, hidden=128, kept=7, first=1, small=True)
    return models.prompted_models(device, torch.float32, layers=12, hidden=768, kept=61, first=3)


def in_dtype(bench: Bench, kind: str, dtype: torch.dtype) -> object:
    model = built(bench.device)[kind].to(dtype)
    model.backbone.model.to(dtype)
    return model


def batch_of(bench: Bench, model: object, shape: tuple[int, int]) -> Batch:
    return models.batch_of(model, models.lengths_of(*((2, 20) if bench.small else shape)), bench.small)


def named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def rows_of(bench: Bench, kind: str, dtype: torch.dtype, shape: tuple[int, int], plain: bool = True) -> None:
    """A row of skn's pass, from token ids to class scores, and with ``plain`` a row of the Hugging Face forward."""
    model = in_dtype(bench, kind, dtype)
    name = f"{kind} encoder, {shape[0]} × {shape[1]}, {named(dtype)}"
    rows_of_batch(bench, name, model, batch_of(bench, model, shape), plain)


def rows_of_batch(bench: Bench, name: str, model: object, batch: Batch, plain: bool) -> None:
    from skn.inference.fast import fast_forward
    from skn.inference.hf import plain_forward

    forwards = {"skn": fast_forward, "Hugging Face": plain_forward}
    for way in forwards if plain else ["skn"]:
        with torch.inference_mode(), forwards[way](model, None, None) as forward:
            bench.passes(f"{name}, {way}", lambda forward=forward: forward(batch))


def sst2(bench: Bench) -> None:
    """The pruned encoder on texts as long as SST-2's. The Hugging Face forward computes the padding, too."""
    model = in_dtype(bench, "pruned", torch.bfloat16)
    for rows, _ in SHAPES:
        lengths = [4, 9] if bench.small else models.sst2_lengths(rows)
        name = f"pruned encoder, {rows} of SST-2's lengths, at most 56, bfloat16"
        rows_of_batch(bench, name, model, models.batch_of(model, lengths, bench.small), plain=True)


def encoder(bench: Bench) -> None:
    for kind in ("pruned", "dense"):
        for shape in SHAPES:
            rows_of(bench, kind, torch.bfloat16, shape)


def baseline(bench: Bench) -> None:
    """The pass that torch.compile is compared with, on the card of the same run."""
    for shape in SHAPES:
        rows_of(bench, "pruned", torch.bfloat16, shape)


def original(bench: Bench) -> None:
    """The dense model in float32: the original code's pass beside skn's pass."""
    uses = {"hooks and every word": lambda act: None, "host copies": lambda act: act.cpu().numpy().copy().size}
    model = in_dtype(bench, "dense", torch.float32)
    for shape in SHAPES:
        rows_of(bench, "dense", torch.float32, shape, plain=False)
        prompted = model.assemble(*batch_of(bench, model, shape).inputs)
        for use, call in uses.items():
            bench.passes(
                f"original, {shape[0]} × {shape[1]}, float32, {use}",
                lambda call=call, prompted=prompted: models.original(model, prompted, call),
                in_a_row=0,
            )


def probe(bench: Bench) -> None:
    """A batch of a probe that counts hits at every layer. The row for comparison is the original with host copies."""
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SHAPES:
            probe_row(bench, dtype, shape)


def probe_row(bench: Bench, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    from skn import ops
    from skn.inference.fast import fast_forward
    from skn.inference.hf import Tap
    from skn.inference.readouts import PROMPT

    model = in_dtype(bench, "dense", dtype)
    backbone, batch = model.backbone, batch_of(bench, model, shape)
    cells = 2, models.PROMPT_LENGTH, backbone.ffn_width
    hits = [torch.zeros(cells, dtype=torch.int64, device=bench.device) for _ in backbone.ffn_sites]
    threshold = torch.zeros(cells[1:], dtype=torch.float64, device=bench.device)

    def add(site: object, _readout: str, act: torch.Tensor, own: object) -> None:
        ops.accumulate_hits(hits[site.layer], act, threshold, own.label)

    with torch.inference_mode(), fast_forward(model, Tap([PROMPT], add, len(batch.rows)), None) as forward:
        bench.passes(f"probe, {shape[0]} × {shape[1]}, {named(dtype)}, skn", lambda: forward(batch))


def compile_row(bench: Bench, shape: tuple[int, int]) -> None:
    """The pruned encoder in bfloat16 under torch.compile, with full tuning and CUDA graphs."""
    model = in_dtype(bench, "pruned", torch.bfloat16)
    backbone, inputs = model.backbone, batch_of(bench, model, shape).inputs
    options = {"backend": "eager"} if bench.small else {"mode": "max-autotune"}
    fast = torch.compile(lambda: backbone.scores(model.assemble(*inputs), model.label_ids), dynamic=False, **options)
    first: list[float] = []

    def call() -> object:
        begin = time.monotonic()
        try:
            return fast()
        finally:
            if not first:
                first.append(time.monotonic() - begin)

    with torch.no_grad():
        bench.passes(f"pruned encoder, {shape[0]} × {shape[1]}, bfloat16, torch.compile", call)
    print(f"(compiled in {first[0]:.0f} s)")


compiled: Callable[[Bench], None] = functools.partial(compile_row, shape=SHAPES[0])
compiled_large: Callable[[Bench], None] = functools.partial(compile_row, shape=SHAPES[1])
