"""Progress of long work: a bar on a terminal or in a notebook, a plain line now and then elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from skn.console import PlainConsole
from skn.texts import shown, spelled

T = TypeVar("T")

console = PlainConsole(stderr=True)
SECONDS_BETWEEN_LINES = 10.0
FIRST_STEPS = 10  # after so many, how long all will take is worth saying


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done, unless ``console`` is quiet."""
    if console.quiet:
        yield from items
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
            _say(f"{description}: {done}/{total}")


def draws() -> bool:
    """Whether a bar can be drawn: standard error is a terminal, or a notebook shows what is displayed."""
    return console.is_jupyter or (sys.stderr is not None and sys.stderr.isatty())


def _bar(drawn: bool) -> Progress:
    """A bar whose label is no markup: it may hold a path or a name."""
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not drawn)


def _label(description: str) -> str:
    return spelled(shown(description), console.encoding)


def _say(line: str) -> None:
    print(_label(line), file=sys.stderr, flush=True)


@contextmanager
def measured(steps: int, work: float, description: str, hint: str = "") -> Iterator[Callable[[float], None]]:
    """For ``steps`` of unequal size, ``work`` in all: yields a function to be told the work of each step that is done.

    After the first ones a line says how long all will take, followed by ``hint``. Nothing is shown where ``console`` is quiet.
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
            _say(f"{description}: about {left} for the {steps - done} to come{hint}")
        elif bar.disable and now - last >= SECONDS_BETWEEN_LINES:
            last = now
            _say(f"{description}: {done}/{steps}, about {left} left")

    with bar:
        task = bar.add_task(_label(description), total=work)
        yield advance


@contextmanager
def notebook_bar(steps: int, description: str) -> Iterator[Callable[[int], None]]:
    """A bar in a notebook, told how many of ``steps`` are done; nothing elsewhere, where the log says how it goes."""
    with _bar(drawn=console.is_jupyter) as bar:
        task = bar.add_task(_label(description), total=steps)
        yield lambda done: bar.update(task, completed=done)


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h" """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
