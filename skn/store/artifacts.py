"""Save artifacts atomically, and check them when they are loaded.

skn stores tensors as safetensors and never unpickles anything. The description of a file is one JSON document under the
metadata key ``skn``: safetensors writes several keys in random order, and equal inputs must give equal bytes.
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
from skn.store import digests
from skn.store.atomic import write_bytes, writing
from skn.store.descriptions import odd_description
from skn.store.documents import FORMAT_VERSION, note_old
from skn.store.folders import below
from skn.store.foreign_files import check_readable
from skn.store.kinds import ARTIFACT_KINDS, MADE_BY, axis_sizes, mismatch
from skn.store.provenance import compare_provenance


@dataclass
class Artifact:
    """A loaded file: its tensors by name, and its description."""

    kind: str
    tensors: dict[str, torch.Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def get(self, name: str) -> torch.Tensor | None:
        return self.tensors.get(name)

    def needs(self, *names: str) -> None:
        """Refuse a file whose tensors and description lack one of ``names``. Raises :class:`InputError`."""
        missing = [name for name in names if self.tensors.get(name) is None and self.meta.get(name) is None]
        if missing:
            raise InputError(f"{self.path}: does not say its {', '.join(missing)}; {_again(self.kind)}")

    @property
    def neurons(self) -> list[int]:
        """[L, F]: the number of layers and the number of neurons in each layer."""
        sizes = axis_sizes(self.kind, self.tensors)
        return [sizes["L"], sizes["F"]]

    def fits(self, neurons: Sequence[int], whose: str) -> None:
        """Refuse a file whose neurons are not [L, F] as ``neurons`` says. Raises :class:`InputError`."""
        if self.neurons != list(neurons):
            raise InputError(f"{self.path}: neurons {self.neurons}, {whose} has {list(neurons)}; {_again(self.kind)}")


def path_in(folder: Path, kind: str, *parts: str) -> Path:
    """Return the path of a run's file: ``moments``, ``hits-test``, ``accuracy-mean-validation``.

    The read-out "prompt" is not part of a name.
    """
    return below(folder, "-".join([kind, *(part for part in parts if part != "prompt")]) + ".safetensors")


def save(
    path: Path | str,
    kind: str,
    tensors: Mapping[str, torch.Tensor],
    provenance: Mapping[str, Any],
    axes: Mapping[str, Sequence[str]] | None = None,
    **meta: Any,
) -> Path:
    """Check and write an artifact. A reader sees the old file or the new file, never a part of a file.

    skn stores ``meta``, which must be JSON, beside kind, format version, axes and ``provenance``. ``axes`` names the
    axes of tensors whose layout differs from the layout of the kind.

    Raises :class:`InputError` if the file cannot be written, and ``ValueError`` for a tensor that does not fit.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    problem = mismatch(kind, tensors)
    if problem:
        raise ValueError(f"{kind}: {problem}")
    usual = {name: list(ARTIFACT_KINDS[kind][name].axes) for name in tensors if name in ARTIFACT_KINDS[kind]}
    description = _description(kind, {**usual, **(axes or {})}, provenance, meta)
    description["digest"] = digests.of_tensors(description, tensors)
    write_bytes(Path(path), safetensors_bytes(tensors, metadata={"skn": json.dumps(description, sort_keys=True)}))
    return Path(path)


def _description(kind: str, axes: Mapping, provenance: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a file as a reader will get it, with tuples as lists."""
    own = {"kind": kind, "format_version": FORMAT_VERSION, "axes": dict(axes), "provenance": dict(provenance)}
    return json.loads(json.dumps({**own, **meta}))


def load(path: Path | str, kind: str, match: Mapping[str, Any] | None = None, whose: str = "this run") -> Artifact:
    """Read an artifact and check kind, names, ranks, dtypes, sizes that must agree, and NaN.

    ``match`` is the provenance of the run to which the file must belong. ``whose`` names that run or its file in
    messages. Raises :class:`InputError`.
    """
    path = Path(path)
    again = f"; {_again(kind)}"
    check_readable(path)
    try:
        description, tensors = read_safetensors(path)
    except InputError as error:
        raise InputError(f"{error}{again}") from error
    if description is None:
        raise InputError(f"{path}: not written by skn (no description inside); 'skn import' reads foreign files")
    stored_kind, version = description.get("kind"), description.get("format_version")
    if stored_kind != kind:
        raise InputError(f"{path}: holds '{stored_kind}', expected '{kind}'")
    if version not in (1, FORMAT_VERSION):
        raise InputError(f"{path}: format version {version}, this skn reads {FORMAT_VERSION}{again}")
    digest = description.pop("digest", None)
    if version == FORMAT_VERSION and digest != digests.of_tensors(description, tensors):
        raise InputError(f"{path}: damaged, it is not what skn wrote there (its digest differs){again}")
    problem = mismatch(kind, tensors) or odd_description(kind, description, axis_sizes(kind, tensors))
    if problem:
        raise InputError(f"{path}: {problem}{again}")
    for own in ("kind", "format_version", "axes"):
        description.pop(own, None)
    provenance = description.pop("provenance", {})
    artifact = Artifact(kind, tensors, provenance, description, path)
    way_out = f"make it again with 'skn {MADE_BY[kind]} --overwrite'"
    compare_provenance(artifact.provenance, match or {}, str(path), other=whose, way_out=way_out)
    _check_sizes(artifact, match or {})
    if version == 1:
        note_old(path)
    return artifact


def _again(kind: str) -> str:
    return f"make it again with 'skn {MADE_BY[kind]}'"


def _check_sizes(artifact: Artifact, match: Mapping[str, Any]) -> None:
    """Refuse tensors whose classes or prompt positions differ in number from the run's."""
    sizes = axis_sizes(artifact.kind, artifact.tensors)
    expected = {"C": match.get("class_names") and len(match["class_names"])}
    if artifact.meta.get("readout") == "prompt":
        expected["P"] = match.get("prompt_length")
    for axis, size in expected.items():
        if size and sizes.get(axis, size) != size:
            raise InputError(
                f"{artifact.path}: has {sizes[axis]} along {axis}, this run has {size}; {_again(artifact.kind)}"
            )


def check_provenance(artifact: Artifact, match: Mapping[str, Any]) -> None:
    """Refuse an artifact that belongs to another run than the run with the provenance ``match``."""
    compare_provenance(artifact.provenance, match, str(artifact.path))


def read_safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, torch.Tensor]]:
    """Return the description and the tensors of a safetensors file. The description of a foreign file is None."""
    with _opened(path) as file:
        return _described(file), {name: file.get_tensor(name) for name in file.keys()}


def read_description(path: Path) -> dict[str, Any] | None:
    """Read the description of a safetensors file from its header alone; None if skn did not write the file."""
    with _opened(path) as file:
        return _described(file)


@contextlib.contextmanager
def _opened(path: Path):
    if not path.is_file():
        raise InputError(f"{path}: {'not a plain file' if path.exists() else 'no such file'}")
    check_readable(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except RecursionError:
        raise InputError(f"{path}: damaged (its description is nested too deep)") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file ({error})") from error


def _described(file: Any) -> dict[str, Any] | None:
    text = (file.metadata() or {}).get("skn")
    if text is None:
        return None
    description = json.loads(text)
    if not isinstance(description, dict) or not isinstance(description.get("provenance", {}), dict):
        raise ValueError("its description is not one of skn's")
    return description


@contextlib.contextmanager
def stream(path: Path, kind: str, name: str, shape: tuple[int, ...], provenance: Mapping[str, Any], **meta: Any):
    """Write one large float32 tensor piece by piece. Yields a NumPy array on disk, which the caller fills.

    The file appears under its name only if the block ends without an exception. Raises :class:`InputError` on a full
    disk.
    """
    description = _description(kind, {name: ARTIFACT_KINDS[kind][name].axes}, provenance, meta)
    count = math.prod(shape)
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * count]}
    header = _header({**description, "digest": "0" * 32}, name, entry)
    with writing(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(header)
            os.posix_fallocate(
                file.fileno(), file.tell(), max(4 * count, 1)
            )  # a full disk raises here, and not later as a fault
            file.truncate(len(header) + 4 * count)
        array = np.memmap(temporary, np.float32, "r+", offset=len(header), shape=shape)
        yield array
        array.flush()
        digest = digests.of_tensors(description, {name: torch.from_numpy(array)})
        with open(temporary, "r+b") as file:
            file.write(_header({**description, "digest": digest}, name, entry))
            os.fsync(file.fileno())


def _header(description: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> bytes:
    """Return the header of a safetensors file with one tensor."""
    text = json.dumps({"__metadata__": {"skn": json.dumps(description, sort_keys=True)}, name: entry}).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns the data to eight bytes
    return struct.pack("<Q", len(text)) + text
