"""Several processes for one pass: each runs whole batches of the plan that a single process would follow.

Process 0 leads. It runs the command as if it were alone, and only two kinds of calls concern the others: they make what
process 0 makes, such as the model (:func:`everywhere`), and they take their share of a pass (:func:`together`). Between
these calls the others wait, so all decisions, all output and all files are those of process 0.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import pickle
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from skn import ranks
from skn.errors import InputError, SknError
from skn.interrupts import SIGNALS
from skn.limits import is_out_of_memory

T = TypeVar("T")

# How long a process waits for another that is alive and silent. A process that dies is noticed at once.
TIMEOUT = datetime.timedelta(minutes=30)

_crew: _Crew | None = None


def several() -> bool:
    """Whether a command of several processes runs."""
    return _crew is not None


def together(work: Callable[..., T]) -> Callable[..., T]:
    """Decorate a function that makes a pass, so that all processes call it with the arguments of process 0.

    Inside the function, :func:`share` says which batches are this process's, and :func:`add` sums what it found. Without
    several processes, the function stays what it is. The decorator must be the outermost, because the other processes
    find the function by its name.
    """

    @wraps(work)
    def called(*arguments: Any, **named: Any) -> T:
        if _crew is None or _crew.busy:
            return work(*arguments, **named)
        return _crew.order(called, arguments, named, shared=True)

    return called


def everywhere(make: Callable[..., T], *arguments: Any) -> T:
    """Return what ``make`` makes of the arguments, and have each other process make its own.

    A later call of :func:`together` names what was made, and the models in it, instead of sending them.
    """
    if _crew is None or _crew.busy:
        return make(*arguments)
    return _crew.order(make, arguments, {}, shared=False)


def share(batches: Sequence[T]) -> Sequence[T]:
    """Return the batches of this process: every n-th of n processes, so that all have long and short texts."""
    return batches[ranks.rank() :: ranks.count()] if _crew is not None and _crew.sharing else batches


def add(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over all processes, in place."""
    if _crew is not None and _crew.sharing:
        _crew.add(tensors)


@contextlib.contextmanager
def led() -> Iterator[None]:
    """Run the block with the other processes at hand, which end with it. Raises :class:`SknError` if one has died."""
    global _crew
    _crew, code = _Crew(), SknError.exit_code
    try:
        yield
        code = 0
    except SknError as error:
        code = error.exit_code
        raise
    finally:
        crew, _crew = _crew, None
        crew.end(code)


def follow() -> int:
    """Do what process 0 says until it ends, and return its exit code."""
    global _crew
    for number in SIGNALS:  # there is nothing to clean up, and a process that waits for a message hears no handler
        signal.signal(number, signal.SIG_DFL)
    try:
        _crew = _Crew()
        while not isinstance(order := _crew.receive(), int):
            _crew.do(*order)
        _crew.end()
        return order
    except _Lost as error:  # process 0 may be the one that is lost
        print(f"skn: process {ranks.rank()}: {error}", file=sys.stderr)
        return error.exit_code
    except SknError as error:  # process 0 knows it, and says it
        return error.exit_code
    except Exception:  # a bug
        traceback.print_exc()
        return SknError.exit_code
    finally:
        _crew = None


class _Lost(SknError):
    """Another process has died, or is silent."""


class _Crew:
    """The connection to the other processes, as each of them sees it.

    ``sharing``: a pass runs. ``busy``: a call that concerns all runs. ``over``: one has failed, nobody listens any more.
    """

    def __init__(self) -> None:
        self.busy = self.sharing = self.over = False
        self._made: list[Any] = []
        self._gpus: dist.ProcessGroup | None = None
        if not dist.is_available():
            raise InputError("this torch is built without torch.distributed: start one process alone")
        _choose_gpu()
        with self._connected():
            dist.init_process_group("gloo", timeout=TIMEOUT)

    def order(self, function: Callable[..., T], arguments: tuple, named: dict[str, Any], shared: bool) -> T:
        """Have all processes call a function; process 0 alone gives orders."""
        self._send((function, arguments, named, shared))
        return self.do(function, arguments, named, shared)

    def receive(self) -> Any:
        """Wait for the next order, or for the exit code that ends the work."""
        sent: list[Any] = [None]
        with self._connected():
            dist.broadcast_object_list(sent)
        return _Unpickler(sent[0], self._made).load()

    def do(self, function: Callable[..., T], arguments: tuple, named: dict[str, Any], shared: bool) -> T:
        self.busy, self.sharing = True, shared
        try:
            result = function(*arguments, **named)
            self._agree()
        except BaseException as error:
            if isinstance(error, Exception) and not self.over:
                with contextlib.suppress(_Lost):
                    self._agree(error)
            self.over = True
            raise
        finally:
            self.busy = self.sharing = False
        if not shared:
            for made in result if isinstance(result, list) else [result]:
                self._made += [made, getattr(made, "model", made)]
        return result

    def add(self, tensors: Sequence[Tensor]) -> None:
        self._agree()
        with self._connected():
            for tensor in tensors:
                dist.all_reduce(tensor, group=self._group_of(tensor))

    def end(self, code: int | None = None) -> None:
        """Leave the other processes. Process 0 gives the exit code with which they end."""
        with contextlib.suppress(RuntimeError, SknError):
            if not self.over:
                if code is not None:
                    self._send(code)
                dist.barrier()  # nobody hangs up before all have heard
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    def _send(self, order: Any) -> None:
        buffer = io.BytesIO()
        _Pickler(buffer, self._made).dump(order)
        with self._connected():
            dist.broadcast_object_list([buffer.getvalue()])

    def _agree(self, error: Exception | None = None) -> None:
        """Wait for all processes, and raise here what was raised in another one."""
        found: list[tuple[type[SknError], str, bool] | None] = [None] * ranks.count()
        own = None if error is None else _described(error)
        with self._connected():
            dist.monitored_barrier(timeout=TIMEOUT)
            dist.all_gather_object(found, own)
        failed = next((rank for rank, said in enumerate(found) if said is not None), None)
        if failed is None:
            return
        self.over = True
        if error is None:
            kind, words, out_of_memory = found[failed]
            cause = MemoryError() if out_of_memory else None
            raise kind(f"process {failed} of {ranks.count()}: {words}") from cause

    def _group_of(self, tensor: Tensor) -> dist.ProcessGroup | None:
        """Return the group that sums a tensor where it is: gloo on the CPU, NCCL on GPUs."""
        if not tensor.is_cuda:
            return None
        if self._gpus is None:
            self._gpus = dist.new_group(backend="nccl", timeout=TIMEOUT)
        return self._gpus

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.over = True
            if not isinstance(error, (RuntimeError, ValueError)):
                raise
            raise _Lost(f"{_lost_in(str(error))}; nothing is kept of the pass that was under way") from error


class _Pickler(pickle.Pickler):
    """Names what every process has made already, and sends everything else."""

    def __init__(self, file: io.BytesIO, made: list[Any]):
        super().__init__(file)
        self._number = {id(thing): number for number, thing in enumerate(made)}

    def persistent_id(self, thing: Any) -> int | None:
        return self._number.get(id(thing))


class _Unpickler(pickle.Unpickler):
    def __init__(self, sent: bytes, made: list[Any]):
        super().__init__(io.BytesIO(sent))
        self._made = made

    def persistent_load(self, number: int) -> Any:
        return self._made[number]


def _described(error: Exception) -> tuple[type[SknError], str, bool]:
    """Return what the other processes raise for an error, with which words, and whether memory was missing."""
    kind = InputError if isinstance(error, InputError) else SknError
    words = str(error) if isinstance(error, SknError) else f"{type(error).__name__}: {error}".removesuffix(": ")
    return kind, words, is_out_of_memory(error)


def _lost_in(words: str) -> str:
    """Say which process is lost, if the library's message names it."""
    named = re.search(r"Rank (\d+) failed", words)
    if named is not None:
        return f"process {named[1]} of {ranks.count()} has died or does not answer"
    return f"another of {ranks.count()} processes has died or does not answer ({words.strip().partition(chr(10))[0]})"


def _choose_gpu() -> None:
    """Make "cuda" mean a GPU of this process's own. Raises :class:`InputError` if the machine has too few."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus == 0:
        return
    if gpus < ranks.local_count():
        raise InputError(
            f"{ranks.local_count()} processes on a machine with {gpus} GPU{'s' * (gpus > 1)}: start one process for "
            f"each GPU, or hide the GPUs with CUDA_VISIBLE_DEVICES= and compute with --device cpu"
        )
    torch.cuda.set_device(ranks.local_rank())
