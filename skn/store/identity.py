"""What something is made of, in a few digits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest_of(tensors: Mapping[str, Tensor | None]) -> str:
    """16 hexadecimal digits of the names, dtypes, shapes and bytes of some tensors; those that are None do not count."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if tensor is not None:
            plain = tensor.detach().cpu().contiguous()
            hasher.update(f"{name} {plain.dtype} {list(plain.shape)}\n".encode())
            hasher.update(plain.reshape(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()[:16]
