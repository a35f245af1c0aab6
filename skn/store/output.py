"""Decide which single files a command may replace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skn.errors import InputError
from skn.store import documents, folders
from skn.store.artifacts import read_description
from skn.store.csv_tables import is_of_predictions
from skn.store.foreign_files import stands


def refuse_existing(
    files: Sequence[Path],
    overwrite: bool,
    resume_option: bool = False,
    *,
    kind: str | None = None,
    name_option: bool = False,
) -> None:
    """Refuse to replace files unless the user says ``overwrite`` and skn wrote the files, of this ``kind`` if it is
    given.

    Raises :class:`InputError` for the first file that must not be replaced.
    """
    for file in files:
        if not stands(file):
            continue
        if file.is_dir():
            raise InputError(f"{file}: is a folder; give the name of a file")
        if not overwrite:
            raise InputError(f"{file}: exists already; {folders.ways_out(resume_option, name_option)}")
        if not (folders.knows(file) or _is_ours(file)):
            raise InputError(f"{file}: is nothing that skn wrote and will not be replaced; choose another name")
        found = _kind_of(file)
        if kind is not None and found not in (None, kind):
            raise InputError(f"{file}: holds '{found}', not '{kind}', and will not be replaced; choose another name")


def _is_ours(file: Path) -> bool:
    """Whether the content of a file says that skn wrote it."""
    return is_of_predictions(file) if file.suffix == ".csv" else _kind_of(file) is not None


def _kind_of(file: Path) -> str | None:
    """Return the kind that a file's content states; None if skn did not write the file, or if it is damaged."""
    try:
        if file.suffix == ".safetensors":
            return (read_description(file) or {}).get("kind")
        found = documents.parse(file, "") if file.suffix == ".json" else {}
        return found["document"] if set(documents.OWN_KEYS) <= found.keys() else None
    except InputError:
        return None
