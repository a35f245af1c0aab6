"""Write files that appear whole or not at all: skn writes a temporary file, syncs it and renames it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.store.changes import changed, what_stands

# A temporary name says which process writes the file: ".moments.safetensors.HOST-PID.tmp".
LEFTOVERS = ".*.tmp"
_TEMPORARY = re.compile(r"\.(.+)\.(?:[0-9a-f]{8}-)?[0-9]+\.tmp")  # in older versions, the name had no host
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_DAY = 86400  # after a day, a temporary file of another machine counts as left over


def temporary_of(path: Path) -> Path:
    """Return the temporary name under which this process writes ``path``."""
    return path.parent / f".{path.name}.{_HOST}-{os.getpid()}.tmp"  # with_name raises for "."


def is_temporary(name: str) -> bool:
    """Whether ``name`` is a temporary name of :func:`temporary_of` or of an older version."""
    return _TEMPORARY.fullmatch(name) is not None


def write_bytes(path: Path, payload: bytes) -> None:
    """Write a temporary file in the same folder, sync it and rename it. On failure the old file stays as it was."""
    with writing(path) as temporary, open(temporary, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield the temporary name of a file, which the caller writes and syncs. When the block ends well, it becomes
    ``path``.

    Raises :class:`InputError` if something cannot be written.
    """
    temporary = temporary_of(path)
    with no_folder_left(path.parent):
        try:
            # if a file is in the folder's place, open refuses it with a better message
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
            changed(path)
            sync(path.parent)
        except OSError as error:
            raise cannot_be_written(path, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    remove_leftovers(path.parent)


def cannot_be_written(path: Path, error: BaseException) -> InputError:
    """The disk is full, a limit is reached, or the user may not write in the folder.

    The line names the files written so far.
    """
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{_meant(path)}: cannot be written ({reason}){what_stands()}")


def _meant(path: Path) -> Path:
    """Replace the temporary names in a path by their final names."""
    found = ((_TEMPORARY.fullmatch(part), part) for part in path.parts)
    return Path(*(match[1] if match else part for match, part in found))


def remove(path: Path) -> None:
    """Delete a file if it exists."""
    if path.exists() or path.is_symlink():
        path.unlink()
        changed(path)


@contextlib.contextmanager
def no_folder_left(folder: Path) -> Iterator[None]:
    """If the block fails, remove the empty folders that the block made on the way to ``folder``."""
    absent = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for made in absent:  # the innermost folder first; a folder that is not empty raises, and the loop ends
                made.rmdir()
        raise


def remove_leftovers(folder: Path, below: bool = False) -> None:
    """Delete the temporary files and folders of processes that were killed while they wrote them.

    ``below``: in all folders below ``folder``, too. The files of a living process stay, on this machine or another.
    """
    for entry in list(folder.rglob(LEFTOVERS) if below else folder.glob(LEFTOVERS)):
        if not _is_left(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                entry.unlink(missing_ok=True)


def _is_left(entry: Path) -> bool:
    """Whether the process that wrote ``entry`` is gone."""
    host, _, process = entry.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
    if host.isdigit() and not process:  # in older versions, the name had no host
        host, process = _HOST, host
    if not process.isdigit():
        return False  # not a temporary name of this module
    if host == _HOST:
        return not _is_alive(int(process))
    with contextlib.suppress(OSError):
        return time.time() - entry.lstat().st_mtime > _DAY
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process is alive, but belongs to another user
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically, with sorted keys."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def sync(path: Path) -> None:
    """Sync a file, or a folder's list of names, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
