"""Training: steps in CUDA graphs beside the same steps without, alone and together, in float32 and under autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import models
import torch
from checks_engine import sizes
from reached import counted
from torch import Tensor

if TYPE_CHECKING:
    from check import Given

    from skn.model.backbone import Backbone
    from skn.training.losses import Part

# The lengths of the texts of each step. Those of 33 and 35 tokens are padded to one shape, which is captured.
STEPS = [[33, 9, 5], [35, 35, 20], [34, 3, 3], [18, 18, 4], [17, 9, 9], [33, 8, 30], [18, 5, 6], [36, 30, 2]]
# Float error of eight steps of Adam, which divides by the root of the squared gradient; guesses, not measured.
TOLERANCE = {False: 1e-3, True: 5e-2}


def train(given: Given) -> str:
    """Check that the losses of graphs are those of eager steps, and that a step of a graph waits for nothing."""
    layers, neurons = sizes(given)
    made = models.prompted_models(
        given.device, torch.float32, layers=layers, hidden=neurons // 4, kept=61, first=1, small=given.few
    )
    backbone, worst = made["dense"].backbone, dict.fromkeys(TOLERANCE, 0.0)
    for autocast, tolerance in TOLERANCE.items():
        for count in (1, 3):
            with counted(torch.cuda.CUDAGraph, "replay") as replays:
                found = _losses(given, backbone, count, autocast, _in_graphs(given))
            assert bool(replays) == (given.device == "cuda"), "no step was replayed from a graph"
            expected = _losses(given, backbone, count, autocast, _eager)
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
            worst[autocast] = max(worst[autocast], (found - expected).abs().max().item())
    return f"losses differ by {worst[False]:.2g} at the most, under autocast by {worst[True]:.2g}"


def _losses(
    given: Given, backbone: Backbone, count: int, autocast: bool, step: Callable[[Sequence[Part]], list[Tensor]]
) -> Tensor:
    """Train several prompts with Adam. Returns the losses [steps, count] on the CPU."""
    tuned, found = models.trained(backbone, count), []
    prompts = [model.prompt for model in tuned]
    optimizer = torch.optim.AdamW(prompts, lr=0.01, weight_decay=0.0, fused=given.device == "cuda")
    for lengths in STEPS:
        found.append(torch.stack(step([models.part_of(model, lengths, autocast, given.few) for model in tuned])))
        torch.nn.utils.clip_grad_norm_(prompts, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(found).cpu()


def _eager(parts: Sequence[Part]) -> list[Tensor]:
    from skn.training.losses import losses

    found = losses(parts)
    torch.autograd.backward(found)
    return [loss.detach() for loss in found]


def _in_graphs(given: Given) -> Callable[[Sequence[Part]], list[Tensor]]:
    """Return skn's own step. Where its shape has a graph already, waiting for the device is an error."""
    from skn.training.steps import Steps

    own, seen = Steps(), {}

    def step(parts: Sequence[Part]) -> list[Tensor]:
        columns = parts[0].input_ids.shape[1] > 18
        seen[columns] = seen.get(columns, 0) + 1
        if given.device == "cpu" or seen[columns] < 3:
            return own.losses(parts)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return own.losses(parts)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return step
