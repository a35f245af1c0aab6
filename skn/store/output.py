"""What stands where something is to be written: what may be replaced, and what a killed process left there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from skn.errors import InputError

# Temporary names of skn.store.artifacts and skn.store.atomic.
LEFTOVERS = ".*.tmp"


def refuse_existing(files: Sequence[Path], overwrite: bool, resume_option: bool = False) -> None:
    """Files are only replaced where the user says so; raises :class:`InputError` for the first that exists."""
    existing = [file for file in files if file.exists()]
    if existing and not overwrite:
        resume = ", --resume continues" if resume_option else ""
        raise InputError(f"{existing[0]}: exists already; --overwrite replaces it{resume}")


def refuse_occupied(out: Path, marker: str, what: str, overwrite: bool, resume_option: bool = False) -> None:
    """A folder is only replaced where the user says so, and only one that skn made; raises :class:`InputError`.

    :param marker: a file that stands in every such folder, "run.json".
    :param what: what such a folder is called, "run".
    """
    if is_vacant(out):
        return
    if not (out / marker).is_file():
        raise InputError(f"{out}: is no {what} (no {marker} in it) and will not be deleted; choose another --out")
    refuse_existing([out], overwrite, resume_option)


def is_vacant(out: Path) -> bool:
    """Nothing stands there, or only what a process left that was killed before it began."""
    return not out.exists() or (out.is_dir() and set(out.iterdir()) <= set(out.glob(LEFTOVERS)))


def remove_leftovers(folder: Path, below: bool = False) -> None:
    """Delete the temporary files and folders of a process that was killed while it wrote them; ``below``: in all folders."""
    for entry in folder.rglob(LEFTOVERS) if below else folder.glob(LEFTOVERS):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
