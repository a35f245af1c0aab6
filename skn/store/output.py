"""Single files that are to be written: what may be replaced."""

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
    """Files are only replaced where the user says so, and only those that skn wrote, by one of their ``kind`` if it is given.

    Raises :class:`InputError` for the first that is in the way.
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
    """A file that says of itself that skn wrote it."""
    return is_of_predictions(file) if file.suffix == ".csv" else _kind_of(file) is not None


def _kind_of(file: Path) -> str | None:
    """What a file of skn's says that it holds; None where skn did not write it, and where it is damaged."""
    try:
        if file.suffix == ".safetensors":
            return (read_description(file) or {}).get("kind")
        found = documents.parse(file, "") if file.suffix == ".json" else {}
        return found["document"] if set(documents.OWN_KEYS) <= found.keys() else None
    except InputError:
        return None
