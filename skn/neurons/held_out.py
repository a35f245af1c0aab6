"""The activations of a held-out split, for statistics that need those of all examples at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference import processes
from skn.model.backbone import FfnSite

IN_MEMORY = 2**31  # bytes; more go into a file
_WORD = 8  # bytes; each layer begins at a whole word


class HeldOut:
    """A store of arrays [N, P, width], one for each layer, filled batch by batch.

    A store in a file needs no cleaning up: the file has no name, and the system deletes it with the store, or with the
    process.
    """

    def __init__(
        self, sites: Sequence[FfnSite], examples: int, positions: int, dtype: torch.dtype, folder: Path | None = None
    ):
        """Make a store of zeros, in memory or in a temporary file of ``folder``. Raises :class:`InputError` if the disk
        has no room.
        """
        total = size_of(sites, examples, positions, dtype)
        self._memory = torch.zeros(total, dtype=torch.uint8) if folder is None else _file(folder, total)
        self._layers, begin = {}, 0
        for site in sites:
            shape = examples, positions, site.width
            size = _bytes(shape, dtype)
            self._layers[site.layer] = self._memory[begin : begin + size].view(dtype).view(shape)
            begin += _whole(size)

    def add(self, site: FfnSite, act: Tensor, rows: Tensor) -> None:
        """Keep the activations [B, P, width] of these rows of the split."""
        layer = self._layers[site.layer]
        if act.dtype != layer.dtype:
            raise AssertionError(f"activations in {act.dtype}, the store is in {layer.dtype}")
        layer[rows] = act.to(layer.device)

    def join(self) -> None:
        """Give each of several processes the rows of all. A row that a process has not seen is zero, in every bit."""
        processes.add([self._memory.view(torch.int32)])

    def layer(self, layer: int) -> Tensor:
        """[N, P, width], as the model computed it."""
        return self._layers[layer]


def size_of(sites: Sequence[FfnSite], examples: int, positions: int, dtype: torch.dtype) -> int:
    """The bytes of a store."""
    return sum(_whole(_bytes((examples, positions, site.width), dtype)) for site in sites)


def _bytes(shape: tuple[int, int, int], dtype: torch.dtype) -> int:
    examples, positions, width = shape
    return examples * positions * width * dtype.itemsize


def _whole(size: int) -> int:
    return -(-size // _WORD) * _WORD


def _file(folder: Path, size: int) -> Tensor:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # the array keeps the file
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk raises here, and not later as a fault
            return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(size,)))
    except OSError as error:
        raise InputError(
            f"{folder}: a temporary file of {size / 1e9:.1f} GB for activations cannot be made there "
            f"({error.strerror or error}); make space, or leave --auroc out"
        ) from error
