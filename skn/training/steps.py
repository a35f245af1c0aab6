"""Losses and gradients of steps. On CUDA, the forward and the backward to the prompts are one graph for each shape.

A small batch on a GPU waits mostly for launches, and a graph is one launch. A graph reads fixed memory: a slot for each
part of a step, with a prompt and a batch of its own. So a graph belongs to no training, and another training of the same
shape takes the place of one that has ended. Texts are padded up to a few lengths; no loss depends on the padding.
Clipping, optimizer and schedule are the Trainer's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skn.model.extras import Extra
from skn.model.tuned import TunedModel
from skn.training.losses import Part, losses

if TYPE_CHECKING:
    from skn.kernels.capture import Graphs, Lane

_TEXTS = ("input_ids", "attention_mask", "token_type_ids")


class Steps:
    """Computes the steps of one training, or of trainings that share their steps. Owns the graphs."""

    def __init__(self) -> None:
        self._graphs: Graphs[_StepGraph] | None = None

    def losses(self, parts: Sequence[Part]) -> list[Tensor]:
        """Return the loss [] of each part, detached, and add its gradients to the tuned parameters."""
        graph = self._graph(parts) if _fit(parts) else None
        if graph is not None:
            return graph.losses(parts)
        found = losses(parts)
        torch.autograd.backward(found)
        return [loss.detach() for loss in found]

    def close(self) -> None:
        """Free the graphs and their memory."""
        self._graphs = None

    def _graph(self, parts: Sequence[Part]) -> _StepGraph | None:
        from skn.kernels import capture

        with torch.cuda.device_of(parts[0].input_ids):
            self._graphs = self._graphs or capture.Graphs()
            columns, stream = _columns(parts), capture.current_stream()
            key = (stream, columns, id(parts[0].model.backbone), parts[0].autocast, *map(_shape, parts))
            size = sum(3 * part.input_ids[:, :1].nbytes * columns + 2 * part.model.prompt.nbytes for part in parts)
            name = f"a step of {sum(len(part.labels) for part in parts)} × {columns} tokens"
            return self._graphs.of(key, stream, size, name, lambda lane: _StepGraph.captured(parts, columns, lane))


def losses_and_gradients(parts: Sequence[Part]) -> tuple[list[Tensor], Sequence[Tensor]]:
    """Return the losses [] of parts and the gradients of their prompts. Asks the device for no value."""
    found = losses(parts)
    return [loss.detach() for loss in found], torch.autograd.grad(found, [part.model.prompt for part in parts])


@dataclass(frozen=True)
class _StepGraph:
    """A captured step: the slots that it reads, and the replay, which returns losses and gradients."""

    slots: list[Part]
    replay: Callable[[], tuple[list[Tensor], Sequence[Tensor]]]

    @classmethod
    def captured(cls, parts: Sequence[Part], columns: int, lane: Lane) -> _StepGraph:
        from skn.kernels import capture

        slots = [_slot(part, columns) for part in parts]
        return cls(slots, capture.capture(lambda: losses_and_gradients(slots), lane))

    def losses(self, parts: Sequence[Part]) -> list[Tensor]:
        """See :meth:`Steps.losses`."""
        for slot, part in zip(self.slots, parts, strict=True):
            _fill(slot, part)
        with torch.cuda.device_of(parts[0].input_ids):
            found, gradients = self.replay()
        for part, gradient in zip(parts, gradients, strict=True):
            prompt = part.model.prompt  # copies, because the next replay overwrites what this one returned
            prompt.grad = gradient.clone() if prompt.grad is None else prompt.grad + gradient
        return [loss.clone() for loss in found]


def _fit(parts: Sequence[Part]) -> bool:
    """Whether a graph can take this step: on CUDA, with prompts alone to tune."""
    return all(_on_cuda(part.input_ids) and _tunes_the_prompt_alone(part.model) for part in parts)


def _on_cuda(ids: Tensor) -> bool:
    return ids.is_cuda


def _tunes_the_prompt_alone(model: TunedModel) -> bool:
    return model.prompt.requires_grad and sum(parameter.requires_grad for parameter in model.parameters()) == 1


def _columns(parts: Sequence[Part]) -> int:
    """Return the columns of the texts: those of the longest, rounded up as far as there are positions."""
    from skn.kernels import capture

    columns = max(part.input_ids.shape[1] for part in parts)
    return max(columns, min(capture.rounded(columns, 8), *(_room(part.model) for part in parts)))


def _room(model: TunedModel) -> int:
    """Return how many text tokens fit beside the prompt. An imported prompt may have a first position of its own."""
    backbone = model.backbone
    return backbone.max_positions + backbone.position_start - model.position_start - model.prompt_length


def _shape(part: Part) -> Hashable:
    """Return what a graph depends on, besides the columns, and that differs between parts."""
    model = part.model
    typed = part.token_type_ids is not None
    return len(part.labels), len(model.label_ids), model.prompt.shape, model.position_start, typed


def _slot(part: Part, columns: int) -> Part:
    """Return the memory that a graph reads instead of a part.

    Its texts have no tokens yet. So transformers, which leaves out the mask of a batch without padding, makes one also
    in the runs before the capture. While a graph is captured, transformers always makes one.
    """
    model = part.model
    own = TunedModel(
        model.backbone,
        model.label_ids,
        model.prompt,
        model.mask_embedding,
        Extra(),
        position_start=model.position_start,
    )
    texts = {
        name: tensor.new_zeros(len(tensor), columns) for name in _TEXTS if (tensor := getattr(part, name)) is not None
    }
    return Part(own, **texts, labels=torch.zeros_like(part.labels), autocast=part.autocast)


def _fill(slot: Part, part: Part) -> None:
    """Copy a part into its slot. Never waits for the device."""
    slot.model.load_tuned(part.model.own_tensors())
    slot.labels.copy_(part.labels)
    for name in _TEXTS:
        own, given = getattr(slot, name), getattr(part, name)
        if given is not None:
            own[:, given.shape[1] :].zero_()
            own[:, : given.shape[1]].copy_(given)
