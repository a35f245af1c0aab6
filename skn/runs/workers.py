"""Run one function on many cells: in a plain loop or on Ray, one cell after another or several in one forward.

Ray runs on this machine (skn starts it on the loopback interface, and it ends with the command) or on a cluster that
runs already. If a worker dies, another worker gets its cell. The function must itself find what the first worker left
on disk.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from skn import interrupts
from skn.errors import InputError, SknError
from skn.parameters import command_line
from skn.runs.sweep import Cell
from skn.store.changes import remembered
from skn.training.together import trained_together

RETRIES = 3  # attempts for a cell whose worker died
OBJECT_STORE = 100 * 2**20  # results are small; Ray's own default is a third of the memory

# Ray reads these when it is imported. They switch statistics off, and let a task without a GPU of its own see the GPUs
# of its process.
RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# For a session on this machine alone. The name is Ray's: if it is off, a node has the loopback address.
RAY_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Placement:
    """Where cells run: on ``workers`` at a time, each with ``gpus`` GPUs and ``together`` cells in one forward.

    Without ``workers``: one, or as many as the cluster holds.
    """

    workers: int | None = None
    address: str | None = None
    gpus: float | None = None
    together: int = 1

    @property
    def plain(self) -> bool:
        return self.address is None and (self.workers or 1) == 1

    def filled(self, device: str) -> Placement:
        """Fill in the GPUs of a cell that computes on ``device``. Raises :class:`InputError` as :meth:`check` does."""
        gpus = (1.0 if device == "cuda" else 0.0) if self.gpus is None else self.gpus
        placement = replace(self, gpus=gpus)
        placement.check()
        return placement

    def check(self) -> None:
        """Raises :class:`InputError` for a placement that cannot work on any machine."""
        if self.gpus and self.gpus > 1 and self.gpus % 1:
            raise InputError(f"--gpus-per-cell {self.gpus:g}: a share below 1, or a whole number")
        if not self.plain and importlib.util.find_spec("ray") is None:
            asked = f"--address {self.address}" if self.address else f"--workers {self.workers}"
            raise InputError(f"{asked}: needs Ray, which is not installed; pip install 'skn[sweep]', or --workers 1")


@dataclass(frozen=True)
class Outcome:
    """The result of the function for a cell, or one line that says why there is no result."""

    cell: Cell
    result: Any = None
    error: str | None = None


# Runs a function on cells, and yields each outcome as soon as it is ready.
RunCells = Callable[[Callable[[Cell], Any], Sequence[Cell]], Iterator[Outcome]]


@contextlib.contextmanager
def cell_workers(placement: Placement, threads: int = 1) -> Iterator[RunCells]:
    """Start workers: ``with cell_workers(placement) as run: for outcome in run(function, cells): …``

    The workers must be able to import the function (a ``functools.partial`` of such a function works, too). Torch has
    ``threads`` threads in a worker. A worker process runs one cell after another, so a module may keep a model from one
    cell to the next. An exception becomes an :class:`Outcome`. Leaving the block ends the cells that still run. Raises
    :class:`InputError` if Ray is missing, cannot be reached, or has too few resources.

    With ``placement.together``, the function trains a prompt (:mod:`skn.training.together`). A task of Ray then takes
    so many cells, and yields their outcomes when the last of them has ended.
    """
    placement.check()
    if placement.plain:
        with _torch_threads(threads):
            yield partial(_outcomes, placement.together)
        return
    with _ray_session(placement, threads):
        yield partial(_on_ray, placement, threads)


def _outcomes(together: int, function: Callable[[Cell], Any], cells: Sequence[Cell]) -> Iterator[Outcome]:
    calls = [partial(_outcome, function, cell) for cell in cells]
    if together == 1:
        yield from (call() for call in calls)
    else:
        yield from trained_together(calls, min(together, len(calls)))


def _on_ray(
    placement: Placement, threads: int, function: Callable[[Cell], Any], cells: Sequence[Cell]
) -> Iterator[Outcome]:
    import ray

    task = ray.remote(num_cpus=_cpus(placement, threads), num_gpus=placement.gpus or 0, max_retries=RETRIES)(_in_a_task)
    groups = [cells[first : first + placement.together] for first in range(0, len(cells), placement.together)]
    todo, running = iter(groups), {}
    while True:
        free = (placement.workers or len(groups)) - len(running)
        for group in islice(todo, free):
            named = task.options(name=" ".join(map(str, group)))
            running[named.remote(threads, placement.together, function, group)] = group
        if not running:
            return
        (ready, *_), _ = ray.wait(list(running), num_returns=1)
        group = running.pop(ready)
        try:
            outcomes = ray.get(ready)
        except ray.exceptions.RayError as error:  # its worker died too often, or could not import the function
            said = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
            outcomes = [Outcome(cell, error=said) for cell in group]
        yield from outcomes


def _in_a_task(threads: int, together: int, function: Callable[[Cell], Any], cells: Sequence[Cell]) -> list[Outcome]:
    torch.set_num_threads(threads)
    return list(_outcomes(together, function, cells))


def _outcome(function: Callable[[Cell], Any], cell: Cell) -> Outcome:
    # Only commands run cells; a worker of Ray is another process, where this is not set yet. An error names the files
    # of its own cell.
    with command_line(), remembered():
        try:
            return Outcome(cell, function(cell))
        except Exception as error:
            return Outcome(cell, error=one_line(error))


def one_line(error: BaseException) -> str:
    """Write an error as one line: skn's own errors as they are, others with type and place."""
    if isinstance(error, SknError):
        return " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}{where}"


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _ray_session(placement: Placement, threads: int) -> Iterator[None]:
    alone = placement.address is None
    for name, value in (RAY_ENVIRONMENT | (RAY_ALONE if alone else {})).items():
        os.environ.setdefault(name, value)
    import ray

    own = {"num_cpus": placement.workers, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        with interrupts.kept():
            ray.init(
                address="local" if alone else placement.address,
                log_to_driver=False,
                logging_level="ERROR",
                **(own if alone else {}),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"--address {placement.address}: no Ray cluster answers" if placement.address else "Ray does not start"
        raise InputError(f"{where} ({one_line(error)}); see 'ray status', or --workers 1 without Ray") from error
    try:
        refuse_too_little(ray.cluster_resources(), placement, threads)
        yield
    finally:
        ray.shutdown()


def refuse_too_little(offered: Mapping[str, float], placement: Placement, threads: int) -> None:
    """Refuse a cell that asks for more than Ray has in all, because the cell would wait for ever."""
    wanted = {"GPU": ("--gpus-per-cell", placement.gpus or 0), "CPU": ("--threads", _cpus(placement, threads))}
    for what, (option, count) in wanted.items():
        if count > offered.get(what, 0):
            raise InputError(f"{option} {count:g}: Ray has {offered.get(what, 0):g} {what} in all; lower it")


def _cpus(placement: Placement, threads: int) -> int:
    """Return Ray's number of CPUs for a cell.

    On this machine alone it is 1, because Ray starts one process for each CPU.
    """
    return 1 if placement.address is None else threads
