"""What ``run.json`` holds: what a training was asked for, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from skn.data.class_names import choose_class_names
from skn.data.spec import DataSpec
from skn.store.schemas import Share
from skn.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainSettings):
    """What a training was asked for, resolved; ``backbone_digest`` is of the weights, wherever they stand.

    The bounds are those of a ``run.json`` that is read back; what a user asks for is checked in runs/prepare.py.
    """

    backbone: str
    data: DataSpec
    method: Literal["prompt", "bitfit", "adapter"]
    prompt_length: PositiveInt
    label_words: list[str]
    max_length: PositiveInt
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "float16"]
    epochs: NonNegativeInt
    batch_size: PositiveInt
    lr: NonNegativeFloat
    warmup: NonNegativeFloat
    eval_every: PositiveInt
    patience: PositiveInt
    seed: NonNegativeInt
    init_from: str | None = None
    backbone_digest: str | None = None
    class_names: list[str] | None = None  # None in runs of older versions

    def names_of(self, labels: Sequence[str]) -> list[str]:
        """What the classes are called whose labels these are in the data."""
        return choose_class_names(self.class_names, labels, self.label_words)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a training went: accuracy and step of the checkpoint that is kept, all evaluations, texts too long.

    What has a default was not said by older versions.
    """

    best_accuracy: Share
    best_step: int
    history: list[dict[str, float]]
    truncated: dict[str, int]
    examples: PositiveInt | None = None
    majority: Share | None = None
    planned_steps: NonNegativeInt | None = None


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    """What ``run.json`` holds; ``training`` once it has ended."""

    config: RunConfig
    training: Training | None
