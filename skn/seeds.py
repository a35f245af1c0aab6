"""Seeds derived from names: no global generator, no ``hash()`` of a string (it differs between processes)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**32 - 1  # NumPy's generator, which the Trainer seeds, takes no more


def generator(seed: int, *names: object) -> torch.Generator:
    """A generator of its own for a purpose, a function of the seed and the names."""
    import torch  # here: the command line names MAX_SEED in its help, before torch is needed

    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
