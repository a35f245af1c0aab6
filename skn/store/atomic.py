"""Files and folders that appear whole or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from skn.errors import InputError


def write_bytes(path: Path, payload: bytes) -> None:
    """Write to a temporary name in the same folder, sync, rename. On failure the old file stays as it was."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"  # with_name has no answer for "."
    with _no_folder_left(path.parent):
        try:
            with contextlib.suppress(FileExistsError):  # a file in its place is refused by open, with the better words
                path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise InputError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled that takes the place of ``path`` when the block ends well.

    Until then an old folder stands untouched, and on failure nothing is left of the new one. Raises
    :class:`InputError` where something cannot be written.
    """
    partial, old = (path.parent / f".{path.name}.{os.getpid()}.{end}" for end in ("tmp", "old"))
    with _no_folder_left(path.parent):
        try:
            partial.mkdir(parents=True)
            yield partial
            if path.exists():
                os.rename(path, old)
            os.rename(partial, path)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if old.exists() and not path.exists():
                os.rename(old, path)
            cause = error.__cause__ if isinstance(error, InputError) else error
            if not isinstance(cause, OSError | SafetensorError):
                raise
            reason = getattr(cause, "strerror", None) or cause
            raise InputError(f"{path}: cannot be written ({reason}); nothing was changed") from error
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _no_folder_left(folder: Path) -> Iterator[None]:
    """Where the block fails, remove again the empty folders that it made on the way to ``folder``."""
    absent = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for made in absent:  # the innermost first; one with something in it ends this
                made.rmdir()
        raise


def write_json(path: Path, value: Any) -> None:
    """A JSON document, keys sorted, written atomically."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """A text file, written atomically."""
    write_bytes(path, text.encode())


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
