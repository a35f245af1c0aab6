"""The knobs of training, declared once. Light, so that a command line knows their defaults quickly."""

from __future__ import annotations

from dataclasses import dataclass

# Adam's learning rate where the user names none. A prompt of a few vectors wants a larger one than the weights.
DEFAULT_LR = {"prompt": 1e-2, "bitfit": 1e-3, "adapter": 1e-3}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """``lr`` None is the method's own, ``eval_every`` None half an epoch.

    ``epochs`` passes over train; ``warmup`` the share of all steps over which the rate rises; ``eval_every`` optimizer steps
    between evaluations; ``patience`` evaluations without a better one before training stops; ``seed`` of the prompt and
    of the order of rows.
    """

    epochs: int = 6
    batch_size: int = 32
    lr: float | None = None
    warmup: float = 0.006
    eval_every: int | None = None
    patience: int = 6
    seed: int = 0
