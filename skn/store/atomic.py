"""Files that appear whole or not at all: written under a temporary name, synced, renamed."""

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

# A temporary name says which process writes there: ".moments.safetensors.HOST-PID.tmp".
LEFTOVERS = ".*.tmp"
_TEMPORARY = re.compile(r"\.(.+)\.(?:[0-9a-f]{8}-)?[0-9]+\.tmp")  # older versions named the process alone
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_DAY = 86400  # after which what a process on another machine writes is taken for left over


def temporary_of(path: Path) -> Path:
    """The name under which this process writes what will be ``path``."""
    return path.parent / f".{path.name}.{_HOST}-{os.getpid()}.tmp"  # with_name has no answer for "."


def is_temporary(name: str) -> bool:
    """Whether a file or folder is named as :func:`temporary_of` names them, or as older versions did."""
    return _TEMPORARY.fullmatch(name) is not None


def write_bytes(path: Path, payload: bytes) -> None:
    """Write to a temporary name in the same folder, sync, rename. On failure the old file stays as it was."""
    with writing(path) as temporary, open(temporary, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """The temporary name of a file to be written and synced; it becomes ``path`` when the block ends well.

    Raises :class:`InputError` where something cannot be written.
    """
    temporary = temporary_of(path)
    with no_folder_left(path.parent):
        try:
            with contextlib.suppress(FileExistsError):  # a file in its place is refused by open, with the better words
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
    """The disk is full, a limit is reached, or the folder is not ours to write in; the line says what stands."""
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{_meant(path)}: cannot be written ({reason}){what_stands()}")


def _meant(path: Path) -> Path:
    """A path without temporary names: what it is to become."""
    found = ((_TEMPORARY.fullmatch(part), part) for part in path.parts)
    return Path(*(match[1] if match else part for match, part in found))


def remove(path: Path) -> None:
    """Delete a file, if it is there."""
    if path.exists() or path.is_symlink():
        path.unlink()
        changed(path)


@contextlib.contextmanager
def no_folder_left(folder: Path) -> Iterator[None]:
    """Where the block fails, remove again the empty folders that it made on the way to ``folder``."""
    absent = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for made in absent:  # the innermost first; one with something in it ends this
                made.rmdir()
        raise


def remove_leftovers(folder: Path, below: bool = False) -> None:
    """Delete the temporary files and folders of processes that were killed while they wrote them.

    ``below``: in all folders. What a living process writes, on this machine or another one, stays.
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
    """Whether the process that wrote there is gone."""
    host, _, process = entry.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
    if host.isdigit() and not process:  # older versions named the process alone
        host, process = _HOST, host
    if not process.isdigit():
        return False  # not a name of this module
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
    except OSError:  # alive, but another user's
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """A JSON document, keys sorted, written atomically."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """A text file, written atomically."""
    write_bytes(path, text.encode())


def sync(path: Path) -> None:
    """Make what stands in a file, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
