"""Rows of whole passes: the encoder, pruned and dense, the probe, and the passes for comparison."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import models
import torch
from timing import Bench

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


def batch_of(bench: Bench, model: object, shape: tuple[int, int]) -> tuple:
    """Return a batch, and the same batch with the prompt in place."""
    return models.batch_of(model, *((2, 20) if bench.small else shape), bench.small)


def named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def rows_of(bench: Bench, kind: str, dtype: torch.dtype, shape: tuple[int, int], plain: bool = True) -> None:
    """A row of skn's pass, with its graphs if they fit and, with ``plain``, a row of the Hugging Face forward."""
    from skn.inference.fast import fast_forward

    model = in_dtype(bench, kind, dtype)
    backbone, words = model.backbone, model.label_ids
    name = f"{kind} encoder, {shape[0]} × {shape[1]}, {named(dtype)}"
    batch, prompted = batch_of(bench, model, shape)
    with torch.inference_mode(), fast_forward(backbone, None, None) as forward:
        bench.passes(f"{name}, skn", lambda: backbone.word_scores(forward(batch, prompted), words))
        if plain:
            bench.passes(f"{name}, Hugging Face", lambda: backbone.scores(prompted, words))


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
        _, prompted = batch_of(bench, model, shape)
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
    backbone, words = model.backbone, model.label_ids
    batch, prompted = batch_of(bench, model, shape)
    cells = 2, models.PROMPT_LENGTH, backbone.ffn_width
    hits = [torch.zeros(cells, dtype=torch.int64, device=bench.device) for _ in backbone.ffn_sites]
    threshold = torch.zeros(cells[1:], dtype=torch.float64, device=bench.device)

    def add(site: object, _readout: str, act: torch.Tensor, own: object) -> None:
        ops.accumulate_hits(hits[site.layer], act, threshold, own.label)

    with torch.inference_mode(), fast_forward(backbone, Tap([PROMPT], add), None) as forward:
        bench.passes(
            f"probe, {shape[0]} × {shape[1]}, {named(dtype)}, skn",
            lambda: backbone.word_scores(forward(batch, prompted), words),
        )


def compile_row(bench: Bench, shape: tuple[int, int]) -> None:
    """The pruned encoder in bfloat16 under torch.compile, with full tuning and CUDA graphs."""
    model = in_dtype(bench, "pruned", torch.bfloat16)
    backbone, words = model.backbone, model.label_ids
    _, prompted = batch_of(bench, model, shape)
    options = {"backend": "eager"} if bench.small else {"mode": "max-autotune"}
    fast = torch.compile(lambda: backbone.scores(prompted, words), dynamic=False, **options)
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
