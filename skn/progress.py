"""Progress of long work on standard error: a bar on a terminal or in a notebook, elsewhere a plain line now and then."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from skn.console import PlainConsole
from skn.texts import shown, spelled

T = TypeVar("T")

console = PlainConsole(stderr=True)
SECONDS_BETWEEN_LINES = 10.0
FIRST_STEPS = 10  # after so many steps, an estimate of the whole time is worth a line
REFRESHES = 4.0  # redraws a second of a bar during training, because drawing takes time from a core
NARROW = 100  # on a terminal with fewer columns, the bar is narrow and leaves room for the figures


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done, unless ``console`` is quiet.

    Within :func:`steps` no second bar appears. The bar of :func:`steps` shows the progress of this part.
    """
    if console.quiet:
        yield from items
        return
    if (around := _around.get()) is not None:
        for done, item in enumerate(items, start=1):
            yield item
            around.part(f"{description} {done}/{total}")
        return
    if draws():
        with _bar(drawn=True) as bar:
            yield from bar.track(items, total=total, description=_label(description))
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"{description}: {done}/{total}")


def draws() -> bool:
    """Whether a bar can be drawn: on a terminal, or in a notebook with ipywidgets, which rich's bars need there."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return sys.stderr is not None and sys.stderr.isatty()


def _bar(*columns: ProgressColumn, drawn: bool, refreshes: float = 10.0) -> Progress:
    """Make a bar whose label is no markup, because it may hold a path or a name.

    Without ``columns``, the bar has a share and the time left.
    """
    label = TextColumn("{task.description}", markup=False)
    columns = columns or (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(label, *columns, console=console, transient=True, disable=not drawn, refresh_per_second=refreshes)


def _label(description: str) -> str:
    return spelled(shown(description), console.encoding)


def say(line: str) -> None:
    """Print a line about the work on standard error, unless ``console`` is quiet."""
    if not console.quiet:
        print(_label(line), file=sys.stderr, flush=True)


@contextmanager
def measured(steps: int, work: float, description: str, hint: str = "") -> Iterator[Callable[[float], None]]:
    """Show the progress of ``steps`` steps of unequal size. ``work`` is the sum of all sizes, in any unit.

    Yields a function. The block calls the function after each step, with the size of the step. After the first steps a
    line says how long all steps will take, followed by ``hint``. When ``console`` is quiet, nothing is shown.
    """
    if console.quiet:
        yield lambda part: None
        return
    bar = _bar(drawn=draws())
    begin = last = time.monotonic()
    done, worked = 0, 0.0

    def advance(part: float) -> None:
        nonlocal done, worked, last
        done, worked = done + 1, worked + part
        bar.update(task, completed=worked)
        now = time.monotonic()
        left = duration((now - begin) * (work - worked) / worked) if worked else ""
        if done == FIRST_STEPS < steps:
            say(f"{description}: about {left} for the {steps - done} to come{hint}")
        elif bar.disable and now - last >= SECONDS_BETWEEN_LINES:
            last = now
            say(f"{description}: {done}/{steps}, about {left} left")

    with bar:
        task = bar.add_task(_label(description), total=work)
        yield advance


class Steps:
    """The progress of work with many steps, with figures of its own: a bar, if :attr:`drawn`.

    Without a bar nothing is shown, and the code that does the work prints lines (:func:`say`).
    """

    def __init__(self, total: int, description: str):
        width = 10 if console.width < NARROW else 40
        fields = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("figures", "left")]
        drawn = draws() and not console.quiet
        self._bar = _bar(BarColumn(width), MofNCompleteColumn(), *fields, drawn=drawn, refreshes=REFRESHES)
        self._task = self._bar.add_task(_label(description), total=total, figures="", left="")

    @property
    def drawn(self) -> bool:
        return not self._bar.disable

    def show(self, done: int, figures: str, left: str) -> None:
        """Show that ``done`` steps are done. ``left`` is the time left for the others."""
        self._bar.update(self._task, completed=done, figures=figures, left=left)

    def part(self, text: str) -> None:
        """Show the progress of work between two steps as ``text``, in the place of the time left."""
        self._bar.update(self._task, left=_label(text))


_around: ContextVar[Steps | None] = ContextVar("_around", default=None)


@contextmanager
def steps(total: int, description: str) -> Iterator[Steps]:
    """Show a bar for the block, which reports every step.

    :func:`track` in the block shows its progress as a part of the work.
    """
    made = Steps(total, description)
    token = _around.set(made)
    try:
        with made._bar:
            yield made
    finally:
        _around.reset(token)


def duration(seconds: float) -> str:
    """Write "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
