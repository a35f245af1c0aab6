"""One command at a time writes a run or a sweep: a lock that says who holds it and ends with its process."""

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
    """Hold ``folder`` while the block lasts; makes the folder, and takes it away again where nothing was written.

    Raises :class:`InputError` where another process holds it. The system gives the lock of a process that dies to the
    next one. On a file system without locks, such as some that are shared over a network, the file itself is the lock.
    """
    from filelock import FileLock, Timeout

    file = folder / LOCK

    def begun(descriptor: int) -> None:
        if not os.path.samestat(os.fstat(descriptor), os.stat(file)):  # the last holder has just taken its file away
            raise FileNotFoundError
        with contextlib.suppress(OSError):  # a full disk: then the lock holds, and does not say who has it
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
            file.unlink(missing_ok=True)  # before the release: whoever comes next makes a file of its own
            lock.release()
    with contextlib.suppress(OSError):
        folder.rmdir()  # only where nothing was written


def _acquire(lock: Any, folder: Path) -> None:
    """Whoever leaves takes the file and an empty folder away, perhaps between two of these steps."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return lock.acquire()
    raise OSError("its lock file comes and goes")


def _ourselves() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    return f"process {os.getpid()} on {socket.gethostname()} ({command}; since {time.strftime('%F %T')})"


def _holder(file: Path) -> str:
    try:
        text = file.read_text(errors="replace").strip()
    except OSError:
        text = ""
    return text if text.isprintable() and text.startswith("process ") else "another process"
