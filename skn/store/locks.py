"""A lock on a run or a sweep, so that one command at a time writes it.

The lock names its holder and ends with its process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.store.atomic import cannot_be_written, no_folder_left
from skn.store.folders import LOCK


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a lock on ``folder`` during the block. Makes the folder, and removes it again if nothing was written.

    Raises :class:`InputError` if another process holds the lock. When a process dies, the system frees its lock. On a
    file system without locks, such as some network file systems, the existence of the file is the lock.
    """
    from filelock import FileLock, Timeout

    file = folder / LOCK

    def begun(descriptor: int) -> None:
        if not os.path.samestat(os.fstat(descriptor), os.stat(file)):  # the last holder has just deleted its file
            raise FileNotFoundError
        with contextlib.suppress(OSError):  # on a full disk the lock still holds, but does not name its holder
            os.write(descriptor, _ourselves().encode())

    lock = FileLock(file, timeout=0, on_acquired=begun)
    with no_folder_left(folder):
        try:
            _acquire(lock, folder)
        except Timeout:
            raise InputError(f"{folder}: {_holder(file)} writes there; wait until it has ended, or stop it") from None
        except OSError as error:
            raise cannot_be_written(folder, error) from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)  # before the release, so that the next holder makes a new file
            lock.release()
    with contextlib.suppress(OSError):
        folder.rmdir()  # fails, as it should, unless the folder is empty


def _acquire(lock: Any, folder: Path) -> None:
    """Acquire the lock.

    Its last holder may delete the file and the empty folder between two steps, so skn tries again.
    """
    for _ in range(100):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return lock.acquire()
        except FileNotFoundError as missing:
            reason = missing
    raise reason if reason.strerror else OSError("its lock file comes and goes")


def _ourselves() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    return f"process {os.getpid()} on {socket.gethostname()} ({command}; since {time.strftime('%F %T')})"


def _holder(file: Path) -> str:
    try:
        text = file.read_text(errors="replace").strip()
    except OSError:
        text = ""
    return text if text.isprintable() and text.startswith("process ") else "another process"
