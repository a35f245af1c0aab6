"""The content of ``run.json``: the settings of a training, and how the training went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from skn.data.class_names import choose_class_names
from skn.data.spec import DataSpec
from skn.data.template import Template
from skn.inference.compute import Compute
from skn.inference.readouts import main_readout
from skn.model.placement import DeviceMap, main_device
from skn.store.schemas import Share
from skn.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainSettings):
    """The settings of a training, with all defaults filled in.

    ``backbone_digest`` is the digest of the weights, wherever the weights are stored. The bounds are for a ``run.json``
    that skn reads back. runs/prepare.py checks the settings that a user gives.
    """

    backbone: str
    data: DataSpec
    method: Literal["prompt", "bitfit", "adapter", "template"]
    prompt_length: NonNegativeInt
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
    template: str | None = None
    device_map: Literal["auto"] | dict[str, int | str] | None = None

    @property
    def words_around(self) -> Template | None:
        """The template, read."""
        return None if self.template is None else Template.read(self.template)

    @property
    def main_readout(self) -> str:
        """The read-out at which later stages read the neurons."""
        around = self.words_around
        return main_readout(around is not None, around is not None and around.causal)

    def placed(self, compute: Compute) -> tuple[str, DeviceMap | None]:
        """Return the device and the device map for a stage: what the user says, or both as trained."""
        if compute.device is None and compute.device_map is None:
            return self.device, self.device_map
        return main_device(compute.device, compute.device_map), compute.device_map

    def names_of(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the classes with these labels in the data."""
        return choose_class_names(self.class_names, labels, self.label_words)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a training went: accuracy and step of the best checkpoint, all evaluations, the number of truncated texts,
    and the engine of the evaluations.

    Older versions did not store the fields that have a default.
    """

    best_accuracy: Share
    best_step: int
    history: list[dict[str, float]]
    truncated: dict[str, int]
    examples: PositiveInt | None = None
    majority: Share | None = None
    planned_steps: NonNegativeInt | None = None
    engine: Literal["hf", "fast"] | None = None


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    """The content of ``run.json``. ``training`` is None until the training has ended."""

    config: RunConfig
    training: Training | None
