"""Rows of a training step: losses, gradients of the prompts, clipping and Adam; without the Trainer's own loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import models
import torch
from bench_encoder import in_dtype
from timing import Bench
from torch import Tensor

if TYPE_CHECKING:
    from skn.training.losses import Part

CELLS, ROWS, TOKENS = 8, 32, 120  # prompts that are trained together; a batch of each: texts, and tokens of a text
STEPS = 1000  # of a cell, for "cells an hour", which counts no evaluation

Step = Callable[[Sequence["Part"]], object]


def train(bench: Bench) -> None:
    """Float32 and autocast: one cell and several together, with graphs and without, and the model's own forward. The rows
    that say most come first, because a run may end this step.
    """
    for autocast in (False, True):
        _row(bench, CELLS, autocast, "graphs", _graphs())
        _row(bench, 1, autocast, "Hugging Face", _plain)
        _row(bench, 1, autocast, "graphs", _graphs())
        _row(bench, 1, autocast, "eager", _eager)
        _row(bench, CELLS, autocast, "eager", _eager)


def _row(bench: Bench, count: int, autocast: bool, way: str, losses: Step) -> None:
    backbone = in_dtype(bench, "dense", torch.float32).backbone
    tuned = models.trained(backbone, bench.size(count, min(count, 2)))
    lengths = [bench.size(TOKENS, 12)] * bench.size(ROWS, 2)
    parts = [models.part_of(model, lengths, autocast, bench.small) for model in tuned]
    optimizers = [
        torch.optim.AdamW([model.prompt], lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0, fused=not bench.small)
        for model in tuned
    ]

    def step() -> None:
        losses(parts)
        for part, optimizer in zip(parts, optimizers, strict=True):
            torch.nn.utils.clip_grad_norm_([part.model.prompt], 1.0)
            optimizer.step()
            optimizer.zero_grad()

    cells = f"{count} cell{'s' if count > 1 else ''}"
    bench.passes(
        f"train, {cells} of {ROWS} × {TOKENS}, {'autocast' if autocast else 'float32'}, {way}",
        step,
        in_a_row=10 if count == 1 else 2,
        rates=functools.partial(_rates, count),
        steps=STEPS,
    )


def _rates(count: int, microseconds: float) -> dict:
    return {"cells an hour": round(count * 3.6e9 / (microseconds * STEPS), 2)}


def _graphs() -> Step:
    from skn.training.steps import Steps

    return Steps().losses


def _eager(parts: Sequence[Part]) -> None:
    from skn.training.losses import losses

    torch.autograd.backward(losses(parts))


def _plain(parts: Sequence[Part]) -> None:
    """What the Trainer of Hugging Face would call: the forward of the model, with all positions of the last layer."""
    (part,) = parts
    device = part.input_ids.device.type
    with torch.autocast(device, torch.bfloat16, enabled=part.autocast):
        loss: Tensor = part.model(part.input_ids, part.attention_mask, labels=part.labels)["loss"]
    loss.backward()
