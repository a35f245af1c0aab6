"""How a stage computes, and from where: device, dtype, forward, size of a batch. Light, so that a command line names it quickly."""

from __future__ import annotations

from dataclasses import dataclass

# Tokens of a batch, unless told: enough rows of a short text to keep two cores busy, a few dozen megabytes of a base
# model's activations.
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Compute:
    """None is "as trained" for ``device`` and ``dtype``, and the best that the backbone allows for ``engine``.

    ``backbone`` and ``data`` say where the run's own backbone and data stand now, if they were moved since.
    """

    device: str | None = None
    dtype: str | None = None
    engine: str | None = None
    batch_tokens: int = BATCH_TOKENS
    backbone: str | None = None
    data: str | None = None


AS_TRAINED = Compute()
