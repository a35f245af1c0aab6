"""How a stage computes, and on which files: device, dtype, engine, batch size.

Light, so that a command starts quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The default number of tokens in a batch: enough rows of a short text to keep two cores busy, and a few dozen megabytes
# of a base model's activations.
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Compute:
    """How a stage computes. None means "as trained" for ``device``, ``device_map`` and ``dtype``, and the best possible
    for ``engine``.

    With a ``device_map`` alone, skn uses the GPUs if there are any. With a ``device`` alone, the model is on this device,
    also if the run was trained with a device map.

    ``backbone`` and ``data`` say where the run's own backbone and data are now, if they were moved.
    """

    device: str | None = None
    dtype: str | None = None
    engine: str | None = None
    batch_tokens: int = BATCH_TOKENS
    backbone: str | None = None
    data: str | None = None
    device_map: str | Mapping[str, int | str] | None = None


AS_TRAINED = Compute()
