"""Training checkpoints: complete or absent, and enough to resume to the same bytes.

A checkpoint is a folder ``step-00000120``: one safetensors file (tuned tensors, the best tuned tensors so far,
optimizer and random state) and two JSON files (scheduler, best accuracy and early stopping; the Trainer's own state).
skn writes it under a temporary name, syncs it, renames it, and only then removes older checkpoints. So a kill at any
moment leaves a complete checkpoint to resume from.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from skn.errors import InputError
from skn.store import atomic

TENSORS, PROGRESS, STATE = "tensors.safetensors", "progress.json", "trainer_state.json"
_PARTIAL = ".partial-"


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a folder. An interrupted removal leaves an incomplete checkpoint."""
    parts = TENSORS, PROGRESS, STATE
    complete = [step for step in folder.glob("step-*") if all((step / part).is_file() for part in parts)]
    return max(complete, default=None)


def write(folder: Path, step: int, tensors: dict[str, Tensor], progress: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write the checkpoint of a step, and remove older checkpoints and leftovers."""
    final, partial = folder / f"step-{step:08d}", folder / f"{_PARTIAL}{step:08d}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        atomic.write_bytes(partial / TENSORS, save({name: t.contiguous() for name, t in tensors.items()}))
        atomic.write_json(partial / PROGRESS, progress)
        atomic.write_json(partial / STATE, state)
        shutil.rmtree(final, ignore_errors=True)  # it is incomplete, otherwise training would have resumed from it
        os.rename(partial, final)
    except BaseException:  # Ctrl-C, too, leaves nothing half-written
        shutil.rmtree(partial, ignore_errors=True)
        raise
    atomic.sync(folder)
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def remove_partial(folder: Path) -> None:
    """Delete what a process left when it was killed while it wrote a checkpoint."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def read(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the progress record of a checkpoint. Raises :class:`InputError` if it is damaged."""
    try:
        return load_file(checkpoint / TENSORS), json.loads((checkpoint / PROGRESS).read_text())
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{checkpoint}: damaged ({error}); delete this folder and resume again") from error


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return Adam's tensors by parameter number: ``optimizer.0.exp_avg`` and so on."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": t.cpu() for i, values in state.items() for name, t in values.items()}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of :func:`pack_optimizer` back. The optimizer keeps its own hyperparameters."""
    own = optimizer.state_dict()
    own["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            own["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(own)


def pack_random() -> dict[str, Tensor]:
    """Return the states of Python's, NumPy's and torch's random generators as tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    packed = {
        "random.python": torch.tensor([version, *words], dtype=torch.int64),
        "random.python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "random.numpy": torch.from_numpy(np.append(keys.astype(np.int64), [position, has_gauss])),
        "random.numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "random.torch": torch.get_rng_state(),
    }
    # a run on the CPU does not initialize CUDA
    devices = torch.cuda.device_count() if torch.cuda.is_initialized() else 0
    for index in range(devices):
        packed[f"random.cuda.{index}"] = torch.cuda.get_rng_state(index)
    return packed


def unpack_random(tensors: dict[str, Tensor]) -> None:
    """Restore the states that :func:`pack_random` returned."""
    version, *words = tensors["random.python"].tolist()
    gauss = tensors["random.python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    *keys, position, has_gauss = tensors["random.numpy"].tolist()
    cached = tensors["random.numpy_gauss"].item()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["random.torch"])
    for index in range(torch.cuda.device_count()):
        if f"random.cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random.cuda.{index}"], index)
