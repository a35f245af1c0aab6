"""A fast digest of bytes, which reveals damage: xxh3 of 128 bits. It guards against accidents, not against forgery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:  # locks and folders use this file without torch
    import torch

_PIECE = 2**24


def of_file(path: Path) -> str:
    """The digest of a file's bytes; reads it piece by piece."""
    hasher = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()


def of_bytes(content: bytes) -> str:
    """Return the digest that :func:`of_file` returns for a file with this content."""
    return xxhash.xxh3_128(content).hexdigest()


def of_json(document: Mapping[str, Any]) -> str:
    """Return the digest of a JSON document. The order of its keys and its layout do not change the digest."""
    return xxhash.xxh3_128(_canonical(document)).hexdigest()


def of_tensors(description: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the digest of contiguous CPU tensors and their description: names, dtypes, shapes and bytes."""
    import torch

    hasher = xxhash.xxh3_128(_canonical(description))
    for name, tensor in sorted(tensors.items()):
        hasher.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        row = tensor.as_strided((tensor.numel(),), (1,))  # a contiguous tensor of one value may have another stride
        hasher.update(row.view(torch.uint8).numpy())
    return hasher.hexdigest()


def identity_of(tensors: Mapping[str, torch.Tensor | None]) -> str:
    """Return 16 digits that identify some tensors, such as one tuned prompt. Tensors that are None do not count."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
    return of_tensors({}, plain)[:16]


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
