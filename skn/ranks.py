"""Which of several processes this process is, as a launcher such as torchrun says in the environment.

This module imports nothing large, because every command asks it before it does anything else.
"""

from __future__ import annotations

import contextlib
import os
import time

SECONDS_TO_SPEAK = 10


def count() -> int:
    """Return how many processes were started together: 1 without a launcher."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Return the number of this process. Process 0 speaks, decides and writes for all."""
    return _number("RANK", 0) if count() > 1 else 0


def local_rank() -> int:
    """Return the number of this process among the processes of its machine."""
    return _number("LOCAL_RANK", 0)


def local_count() -> int:
    """Return how many of the processes are on this machine; 1 if the launcher does not say it."""
    return _number("LOCAL_WORLD_SIZE", 1)


def give_way() -> None:
    """Wait a moment before this process ends with an error, unless it is process 0.

    A launcher ends all processes when one fails, and process 0 is the one that says why.
    """
    if rank():
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(SECONDS_TO_SPEAK)


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
