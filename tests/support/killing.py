"""Run a command line that is killed at a chosen moment. The processes that tests start import this file."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import torch

import skn.cli

# These operations can change a folder. A kill before each of them is a kill at every stage of a save.
OPERATIONS = ("fsync", "replace", "rename", "unlink", "rmdir")


def child(arguments, log, kill_before=None, trace=None, copies=None):
    """Run ``skn`` with ``arguments`` and kill it before the n-th operation. ``trace`` lists all operations.

    ``copies`` holds a folder and a place. Before every operation the folder is copied there, under the operation's
    number. Each copy is what a kill at that moment would have left.
    """
    assert "warm" in sys.modules, "the server could not import it, and says nothing of it"
    torch.set_num_threads(1)
    gc.freeze()  # the Trainer's garbage collection then skips everything that was imported
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    count = 0

    def counted(name):
        original = getattr(os, name)

        def call(target, *args, **kwargs):
            nonlocal count
            count += 1
            if trace is not None:
                shown = target
                if name == "fsync":
                    shown = os.readlink(f"/proc/self/fd/{target}") + "/" * stat.S_ISDIR(os.fstat(target).st_mode)
                with open(trace, "a") as file:
                    file.write(f"{name} {shown}\n")
            unsynced = name == "fsync" and stat.S_ISREG(os.fstat(target).st_mode)
            if copies is not None:
                copy_folder(*copies, count, os.readlink(f"/proc/self/fd/{target}") if unsynced else None)
            if count == kill_before:
                if unsynced:
                    os.ftruncate(target, os.fstat(target).st_size // 2)  # half of the file may be lost
                os.kill(os.getpid(), signal.SIGKILL)
            return original(target, *args, **kwargs)

        setattr(os, name, call)

    for operation in OPERATIONS:
        counted(operation)
    sys.exit(skn.cli.run([str(argument) for argument in arguments]))


def copy_folder(folder: Path, where: Path, number: int, unsynced: str | None) -> None:
    """Copy ``folder``, without half of the file that is not synced yet."""
    if not folder.exists():
        return
    copy = where / str(number)
    shutil.copytree(folder, copy)
    if unsynced is not None and Path(unsynced).is_relative_to(folder):
        torn = copy / Path(unsynced).relative_to(folder)
        os.truncate(torn, torn.stat().st_size // 2)
