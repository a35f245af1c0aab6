"""Copies of a model's folder with a changed configuration or changed weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def copied(source: Path, folder: Path, weights=None, **config) -> Path:
    """Copy the folder ``source`` with other fields in its config.json.

    ``weights`` changes the dictionary of tensors.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    if weights is not None:
        tensors = load_file(folder / "model.safetensors")
        weights(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
