"""The dtype in which a checkpoint stores its weights, from the headers of its safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import get_checkpoint_shard_files

# Floating dtypes whose values float32 holds exactly, by their names in a header.
_HALVES = {"BF16": torch.bfloat16, "F16": torch.float16}


def stored_dtype(name: str) -> torch.dtype | None:
    """Return the dtype of all floating weights of a folder or a hub id: bfloat16 or float16, else float32.

    The result is None without safetensors files. config.json also names a dtype, but nothing makes that dtype true.
    Any exception of a library may be raised.
    """
    files = _safetensors(name)
    if not files:
        return None
    kinds = set()
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            kinds |= {tensors.get_slice(key).get_dtype() for key in tensors.keys()}
    floating = {kind for kind in kinds if "F" in kind}
    return _HALVES.get(floating.pop(), torch.float32) if len(floating) == 1 else torch.float32


def _safetensors(name: str) -> list[str]:
    """Return the files that transformers will load, downloaded if the name is a hub id."""
    absent_is_none = {
        "_raise_exceptions_for_gated_repo": False,
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    whole = cached_file(name, SAFE_WEIGHTS_NAME, **absent_is_none)
    if whole is not None:
        return [whole]
    index = cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **absent_is_none)
    if index is None:
        return []
    if Path(name).is_dir():
        shards = json.loads(Path(index).read_text())["weight_map"].values()
        return [str(Path(name) / shard) for shard in sorted(set(shards))]
    return get_checkpoint_shard_files(name, index)[0]
