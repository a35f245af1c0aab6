"""Several trainings whose steps share one forward. Each has a thread, and only one thread runs at a time.

The Trainer's loop cannot be left in its middle, so each training needs a thread. At each step the thread hands over the
training's part and waits. When all trainings wait, the main thread computes their losses and gradients in one forward
(:mod:`skn.training.steps`), and lets one training after another go on. All the rest is each training's own: the order
of rows, clipping, optimizer, schedule, evaluations, early stopping and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from torch import Tensor

from skn import interrupts
from skn.training.losses import Part
from skn.training.steps import Steps

T = TypeVar("T")
_WAIT = 0.5  # seconds
_own: ContextVar[Seat | None] = ContextVar("_own", default=None)  # of the training that runs


def trained_together(trainings: Iterable[Callable[[], T]], at_once: int) -> Iterator[T]:
    """Call the functions, each of which trains one prompt, ``at_once`` of them together. Yields each result as it comes.

    All train over one backbone, and prompts of one length. When a training has ended, the next one takes its place. An
    exception of a function ends all trainings, and so does the end of this generator.
    """
    todo = iter(trainings)
    seats, steps = [Seat(todo) for _ in range(at_once)], Steps()
    try:
        while seats:
            for seat in tuple(seats):
                while isinstance(handed := seat.go_on(), _Ended):
                    yield handed.result
                if handed is None:
                    seats.remove(seat)
            if seats:
                _step(seats, steps)
    finally:
        steps.close()
        for seat in seats:
            seat.stop()


def own_seat() -> Seat | None:
    """Return the seat of the training that runs now; None if the training stands alone."""
    return _own.get()


@dataclass(frozen=True)
class _Ended(Generic[T]):
    """The end of a training."""

    result: T


class Seat(Generic[T]):
    """A thread for one training after another. It runs while the main thread is in :meth:`go_on`."""

    def __init__(self, trainings: Iterator[Callable[[], T]]):
        self.handed: Part | _Ended[T] | BaseException | None = None
        self.answer: Tensor | Exception | None = None
        self._handed, self._answers = SimpleQueue(), SimpleQueue()
        self._thread = Thread(target=copy_context().run, args=(self._run, trainings), daemon=True)
        self._thread.start()

    # ---- called by the main thread -------------------------------------------------------------------------------

    def go_on(self) -> Part | _Ended[T] | None:
        """Give the thread its answer, and return what it hands over next: the part of a step, the end of a training, or
        None when no training is left.
        """
        answer, self.answer, self.handed = self.answer, None, None
        self._answers.put(answer)
        self.handed = self._next_handed()
        if isinstance(self.handed, BaseException):
            raise self.handed
        return self.handed

    def _next_handed(self) -> Part | _Ended[T] | BaseException | None:
        """Wait for what the thread hands over. Ctrl-C in the moment before a wait does not end the wait, so it ends by
        itself, and Python raises ``KeyboardInterrupt`` before the next one.
        """
        while True:
            with suppress(Empty):
                return self._handed.get(timeout=_WAIT)

    def stop(self) -> None:
        """End the thread by ``KeyboardInterrupt``, so that its training leaves nothing half-written."""
        if self.handed is None:  # it runs, because Ctrl-C took the main thread out of go_on
            interrupts.pass_on(self._thread)
        self._answers.put(KeyboardInterrupt())
        self._thread.join()

    # ---- called by the seat's thread -----------------------------------------------------------------------------

    def step(self, part: Part) -> Tensor:
        """Return the loss [] of a step's part, when its gradients are there."""
        self._handed.put(part)
        return self._answered()

    def _answered(self) -> Tensor | None:
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self, trainings: Iterator[Callable[[], T]]) -> None:
        _own.set(self)
        try:
            self._answered()
            for training in trainings:
                self._handed.put(_Ended(training()))
                self._answered()
            self._handed.put(None)
        except BaseException as error:  # go_on raises it in the main thread
            self._handed.put(error)


def _step(seats: Sequence[Seat], steps: Steps) -> None:
    """Compute all losses and gradients. An error, such as a lack of memory, is an error of every training."""
    try:
        answers = steps.losses([seat.handed for seat in seats])
    except Exception as error:
        answers = [error] * len(seats)
    for seat, answer in zip(seats, answers, strict=True):
        seat.answer = answer
