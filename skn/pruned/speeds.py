"""Examples per second of models side by side: how skn times them, and when earlier speeds still hold."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from skn.inference.batches import Encoded
from skn.inference.engine import predict
from skn.pruned.contestants import Contestant

log = logging.getLogger(__name__)

WARM_UP_ROWS = 96

# Beside the model, a speed depends on these values of the evaluation and of the model's entry in it.
SETTINGS = ("split", "data", "texts", "examples", "dtype", "device", "batch_tokens", "threads")
OF_MODEL = ("digest", "engine")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Examples per second over ``repeats`` passes."""

    median: NonNegativeFloat
    low: NonNegativeFloat
    high: NonNegativeFloat
    repeats: PositiveInt


def measured(
    contestants: Sequence[Contestant], encoded: Encoded, batch_tokens: int, repeats: int
) -> list[dict[str, Any]]:
    """Return a :class:`Rate` as a dict for each model, over the whole split, without tokenization.

    The models take turns.
    """
    few = encoded.take(range(min(WARM_UP_ROWS, len(encoded))))
    seconds = np.empty((len(contestants), repeats))
    for c in contestants:
        predict(c.model, few, batch_tokens, f"warm up {c.name}", c.engine)
    for repeat in range(repeats):
        for i, c in enumerate(contestants):
            start = time.perf_counter()
            description = f"time {c.name} {repeat + 1}/{repeats}"
            # predict ends on the host, so it waits for the device
            predict(c.model, encoded, batch_tokens, description, c.engine)
            seconds[i, repeat] = time.perf_counter() - start
    return [_rates(len(encoded) / row) for row in seconds]


def _rates(rates: np.ndarray) -> dict[str, Any]:
    return {
        "median": round(float(np.median(rates)), 2),
        "low": round(float(rates.min()), 2),
        "high": round(float(rates.max()), 2),
        "repeats": len(rates),
    }


def carry_over(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Give models the speeds that an earlier evaluation measured, if nothing that a speed depends on differs."""
    timed = [line for line in earlier["models"] if line["examples_per_second"]]
    if not timed:
        return
    differing = [name for name in SETTINGS if earlier[name] != now[name]]
    without = []
    for line in now["models"]:
        same = [old for old in timed if line["digest"] and all(old[name] == line[name] for name in OF_MODEL)]
        if same and not differing:
            line["examples_per_second"] = same[0]["examples_per_second"]
        else:
            without.append(line["name"])
    count = len(now["models"])
    if len(without) < count:
        rest = f", not for {', '.join(without)} (other weights or another engine)" if without else ""
        kept = count - len(without)
        log.info("speeds measured before are kept for %d of %d models%s; --speed measures them anew", kept, count, rest)
    else:
        why = f"{', '.join(differing)} differ" if differing else "other weights or another engine"
        log.info("speeds measured before are left out (%s); --speed measures them", why)
