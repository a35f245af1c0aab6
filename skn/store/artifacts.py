"""What a file may contain; atomic save, validated load.

Tensors are stored as safetensors and nothing is ever unpickled. The description of a file is one JSON document
under the metadata key ``skn``: safetensors writes several keys in random order, and equal inputs must give equal
bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

from skn.errors import InputError
from skn.store.atomic import sync_folder, write_bytes
from skn.store.provenance import compare_provenance

FORMAT_VERSION = 1


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an artifact: its dtype, the names of its axes, and whether NaN has a meaning there."""

    dtype: torch.dtype
    axes: tuple[str, ...]
    optional: bool = False
    nan_allowed: bool = False


_F64, _F32, _I64, _I16, _BOOL = torch.float64, torch.float32, torch.int64, torch.int16, torch.bool
_SEARCHLIGHT = ("attribute", "L", "F")

# What a searchlight says of every neuron and attribute beside its rank: parametric, then of the Mantel permutations.
SEARCHLIGHT_VALUES = (
    *("tau", "p", "q", "q_all", "p_mantel", "q_mantel", "p_family"),
    *("partial_tau", "partial_p", "partial_q", "partial_p_mantel", "partial_q_mantel", "partial_p_family"),
)

# A neuron whose activations are NaN has a NaN total and threshold: the probe names it, the file keeps it honest.
ARTIFACT_KINDS: dict[str, dict[str, TensorSpec]] = {
    "splits": {
        "train": TensorSpec(_I64, ("train_rows",)),
        "validation": TensorSpec(_I64, ("validation_rows",)),
        "test": TensorSpec(_I64, ("test_rows",)),
    },
    "tuned": {
        "prompt": TensorSpec(_F32, ("P_tuned", "H"), optional=True),
        "mask_embedding": TensorSpec(_F32, ("H",), optional=True),
        "label_ids": TensorSpec(_I64, ("C",)),
    },
    "moments": {
        "count": TensorSpec(_I64, ("C",)),
        "total": TensorSpec(_F64, ("C", "L", "P", "F"), nan_allowed=True),
        "total_sq": TensorSpec(_F64, ("C", "L", "P", "F"), nan_allowed=True),
        "present": TensorSpec(_BOOL, ("L", "F")),
    },
    "hits": {
        "count": TensorSpec(_I64, ("C",)),
        "hits": TensorSpec(_I64, ("C", "L", "P", "F")),
        "threshold": TensorSpec(_F64, ("L", "P", "F"), nan_allowed=True),
        "present": TensorSpec(_BOOL, ("L", "F")),
    },
    "accuracy": {
        "accuracy": TensorSpec(_F64, ("K", "L", "P", "F"), nan_allowed=True),
        "plain": TensorSpec(_F64, ("K", "L", "P", "F"), nan_allowed=True),
        "predictivity": TensorSpec(_F64, ("K", "L", "F"), nan_allowed=True),
    },
    "thresholds": {
        "threshold": TensorSpec(_F64, ("L", "P", "F")),
    },
    "neurons": {
        "score": TensorSpec(_F64, ("L", "F"), optional=True, nan_allowed=True),
        "rank": TensorSpec(_I64, ("L", "F"), optional=True),
        "selected": TensorSpec(_BOOL, ("L", "F"), optional=True),
        "factor": TensorSpec(_F32, ("L", "F"), optional=True),
    },
    "activations": {  # of a sweep [seed, condition, L, F], which its description then says
        "activations": TensorSpec(_F32, ("example", "L", "P", "F")),
        "label": TensorSpec(_I64, ("example",), optional=True),
    },
    "rsa": {
        "rank": TensorSpec(_F64, _SEARCHLIGHT, nan_allowed=True),
        "distance": TensorSpec(_F64, ("attribute", "pair"), optional=True),
        **{name: TensorSpec(_F64, _SEARCHLIGHT, optional=True, nan_allowed=True) for name in SEARCHLIGHT_VALUES},
    },
    "masked": {
        "unmasked": TensorSpec(_BOOL, ("example",)),
        "masked": TensorSpec(_BOOL, ("top", "example")),
        "random": TensorSpec(_I16, ("top", "example")),
        "random_accuracy": TensorSpec(_F64, ("top", "draw")),
    },
}

# The command that makes a kind; messages about a damaged file name it.
MADE_BY = {
    "splits": "train",
    "tuned": "train",
    "moments": "probe",
    "hits": "probe",
    "accuracy": "probe",
    "thresholds": "import",
    "neurons": "select",
    "activations": "activate",
    "rsa": "rsa",
    "masked": "mask",
}

# Tuned biases and adapter weights are stored under their own names, which depend on the backbone.
_OPEN_KINDS = {"tuned": ("bias.", "adapter.")}


@dataclass
class Artifact:
    """A loaded file: its tensors by name and its description."""

    kind: str
    tensors: dict[str, torch.Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def get(self, name: str) -> torch.Tensor | None:
        return self.tensors.get(name)


def path_in(folder: Path, kind: str, *parts: str) -> Path:
    """A run's file: ``moments``, ``hits-test``, ``accuracy-mean-validation``; the read-out "prompt" goes unnamed."""
    return folder / ("-".join([kind, *(part for part in parts if part != "prompt")]) + ".safetensors")


def save(
    path: Path | str,
    kind: str,
    tensors: Mapping[str, torch.Tensor],
    provenance: Mapping[str, Any],
    axes: Mapping[str, Sequence[str]] | None = None,
    **meta: Any,
) -> Path:
    """Validate and write an artifact; a reader sees the old file or the new one, never a part.

    ``meta`` is stored beside kind, format version, axes and ``provenance`` and must be JSON. ``axes`` names those of
    tensors that are not laid out as the kind says.
    Raises :class:`InputError` where the file cannot be written and ``ValueError`` on a tensor that does not fit.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    problem = _mismatch(kind, tensors)
    if problem:
        raise ValueError(f"{kind}: {problem}")
    usual = {name: list(ARTIFACT_KINDS[kind][name].axes) for name in tensors if name in ARTIFACT_KINDS[kind]}
    description = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "axes": {**usual, **(axes or {})},
        "provenance": dict(provenance),
        **meta,
    }
    write_bytes(Path(path), safetensors_bytes(tensors, metadata={"skn": json.dumps(description, sort_keys=True)}))
    return Path(path)


def load(path: Path | str, kind: str, match: Mapping[str, Any] | None = None) -> Artifact:
    """Read an artifact and check kind, names, ranks, dtypes, sizes that must agree, and NaN.

    ``match`` is the provenance of the run whose file it must be. Raises :class:`InputError`.
    """
    path = Path(path)
    again = f"; make it again with 'skn {MADE_BY[kind]}'"
    try:
        description, tensors = read_safetensors(path)
    except InputError as error:
        raise InputError(f"{error}{again}") from error
    if description is None:
        raise InputError(f"{path}: not written by skn (no description inside); 'skn import' reads foreign files")
    stored_kind = description.pop("kind", None)
    if stored_kind != kind:
        raise InputError(f"{path}: holds '{stored_kind}', expected '{kind}'")
    version = description.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format version {version}, this skn reads {FORMAT_VERSION}{again}")
    problem = _mismatch(kind, tensors)
    if problem:
        raise InputError(f"{path}: {problem}{again}")
    description.pop("axes", None)
    provenance = description.pop("provenance", {})
    artifact = Artifact(kind, tensors, provenance, description, path)
    check_provenance(artifact, match or {})
    return artifact


def check_provenance(artifact: Artifact, match: Mapping[str, Any]) -> None:
    """Refuse an artifact that is not of the run that ``match`` is the provenance of."""
    compare_provenance(artifact.provenance, match, str(artifact.path))


def read_safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, torch.Tensor]]:
    """The description (None in a foreign file) and the tensors of a safetensors file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("skn")
            description = json.loads(text) if text else None
            if not isinstance(description, dict | None) or not isinstance(
                (description or {}).get("provenance", {}), dict
            ):
                raise ValueError("its description is not one of skn's")
            return description, {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file ({error})") from error


def _mismatch(kind: str, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """What is wrong with these tensors as an artifact of this kind, or None."""
    specs = ARTIFACT_KINDS[kind]
    prefixes = _OPEN_KINDS.get(kind, ())
    unknown = sorted(n for n in tensors if n not in specs and not n.startswith(prefixes or ("\0",)))
    missing = sorted(n for n, spec in specs.items() if n not in tensors and not spec.optional)
    if unknown or missing:
        return f"tensors do not fit the kind '{kind}': missing {missing}, unknown {unknown}"
    sizes: dict[str, int] = {}
    for name, tensor in tensors.items():
        spec = specs.get(name)
        if tensor.is_floating_point() and not (spec and spec.nan_allowed) and torch.isnan(tensor).any():
            return f"tensor '{name}' holds NaN"
        if spec is None:
            continue
        if tensor.dtype != spec.dtype:
            return f"tensor '{name}' is {tensor.dtype}, expected {spec.dtype}"
        if tensor.dim() != len(spec.axes):
            return f"tensor '{name}' has {tensor.dim()} axes, expected {list(spec.axes)}"
        for axis, size in zip(spec.axes, tensor.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                return f"tensor '{name}' has {size} along {axis}, another tensor has {sizes[axis]}"
    return None


@contextlib.contextmanager
def stream(path: Path, kind: str, name: str, shape: tuple[int, ...], provenance: Mapping[str, Any], **meta: Any):
    """Write one large float32 tensor piece by piece: yields a NumPy array on disk to be filled.

    The file appears under its name only when the block ends well. Raises :class:`InputError` on a full disk.
    """
    description = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "axes": {name: list(ARTIFACT_KINDS[kind][name].axes)},
        "provenance": dict(provenance),
        **meta,
    }
    count = math.prod(shape)
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * count]}
    header = json.dumps({"__metadata__": {"skn": json.dumps(description, sort_keys=True)}, name: entry}).encode()
    header += b" " * (-len(header) % 8)  # safetensors wants the data aligned to eight bytes
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            os.posix_fallocate(
                file.fileno(), file.tell(), max(4 * count, 1)
            )  # a full disk is known now, not at a fault
            file.truncate(8 + len(header) + 4 * count)
        array = np.memmap(temporary, np.float32, "r+", offset=8 + len(header), shape=shape)
        yield array
        array.flush()
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        temporary.unlink(missing_ok=True)
