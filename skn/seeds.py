"""Seeds derived from names, without a global generator, and without ``hash()`` of a string, which differs between
processes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**32 - 1  # the largest seed of NumPy's generator, which the Trainer seeds


def generator(seed: int, *names: object) -> torch.Generator:
    """Return a generator of its own for one purpose. It depends only on the seed and the names."""
    import torch  # imported here, because the command line shows MAX_SEED in its help before torch is needed

    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
