"""Run command lines in real processes that can really be killed, and collect what a kill at each moment would leave."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import killing
from patience import HUNG

# Processes are forked from a server that has done the imports and nothing else.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warm"])


def start(arguments: list, log: Path, target: Callable[..., None] = killing.child, **options: object) -> BaseProcess:
    """Start ``skn`` with ``arguments``, with its output in ``log``. The options are those of ``target``."""
    return call(target, arguments, log, **options)


def call(target: Callable[..., None], *arguments: object, **options: object) -> BaseProcess:
    """Start a process that calls ``target``, a function of a file in this folder."""
    # The server finds warm.py only by this variable, because it does not take over this process's path.
    with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()
    process = PROCESSES.Process(target=target, args=arguments, kwargs=options)
    process.start()
    return process


def exit_code(arguments: list, log: Path, **options: object) -> int | None:
    """Run the same and return its exit code; None if it hangs."""
    process = start(arguments, log, **options)
    process.join(HUNG)
    return process.exitcode


def different(copies: Path, numbers: Iterable[int], content: Callable[[Path], object]) -> dict[int, Path]:
    """Find the different contents of a folder that kills before these operations would leave: the first copy of each.

    The copies come from ``copies=(folder, copies)``. A folder that did not exist yet counts as one content, too.
    """
    first: dict[str, int] = {}
    for number in numbers:
        folder = copies / str(number)
        first.setdefault(repr(content(folder)) if folder.exists() else "nothing", number)
    return {number: copies / str(number) for number in first.values()}
