"""Several processes for one command, as a launcher starts them. The processes import this file, too."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import children
import killing
from patience import HUNG

import skn.inference.engine as engine


def start(arguments: Sequence, count: int, logs: Path, spoiled: dict[int, Callable[[], None]] | None = None):
    """Start processes 0 to ``count`` - 1, each with its output in ``logs/NUMBER``.

    ``spoiled`` maps a process to what it does at its second batch.
    """
    logs.mkdir()
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
    return [
        children.start(
            list(arguments), logs / str(rank), member, environment={**meeting, "RANK": str(rank)}, spoil=(spoiled or {}).get(rank)
        )
        for rank in range(count)
    ]  # fmt: skip


def ended(processes: Sequence[BaseProcess]) -> list[int | None]:
    """Return the exit codes; None for a process that hangs, which is killed."""
    codes = []
    for process in processes:
        process.join(HUNG)
        codes.append(process.exitcode)
        process.kill()
    return codes


def lines(logs: Path) -> list[list[str]]:
    """Return the lines of each process."""
    return [file.read_text().splitlines() for file in sorted(logs.iterdir())]


def member(arguments: list, log: Path, environment: dict[str, str], spoil: Callable[[], None] | None) -> None:
    """Run as one of the processes."""
    os.environ.update(environment)
    collate, seen = engine.collate, []

    def spoiled(*batch):
        seen.append(batch)
        if len(seen) == 2:
            spoil()
        return collate(*batch)

    if spoil is not None:
        engine.collate = spoiled
    killing.child(arguments, log)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ValueError("no such batch")


def run_out() -> None:
    raise MemoryError


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
