"""The settings of training, declared once. Light, so that a command line reads their defaults quickly."""

from __future__ import annotations

from dataclasses import dataclass

# Adam's default learning rate. A prompt of a few vectors needs a larger rate than the weights. A template tunes nothing.
DEFAULT_LR = {"prompt": 1e-2, "bitfit": 1e-3, "adapter": 1e-3, "template": 0.0}
# Adam's first step is ten times the rate, which must be a float32. Far larger rates than any that trains are refused.
HIGHEST_LR = 1e30


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of a training. ``lr`` None is the method's own rate, ``eval_every`` None is half an epoch.

    ``epochs`` is the number of passes over train. ``warmup`` is the share of all steps over which the rate rises.
    ``eval_every`` is the number of optimizer steps between evaluations. Training stops after ``patience`` evaluations
    without a better accuracy. ``seed`` is the seed of the prompt and of the order of rows. With ``autocast``, the steps
    compute the products of a float32 backbone in bfloat16.
    """

    epochs: int = 6
    batch_size: int = 32
    lr: float | None = None
    warmup: float = 0.006
    eval_every: int | None = None
    patience: int = 6
    seed: int = 0
    autocast: bool = False
