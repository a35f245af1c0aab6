"""Ctrl-C and SIGTERM: either ends a command in the same way, from its first moment to its last.

Nothing large is imported here: the command line listens before it imports anything else.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []
_leaving: list[int] = []


@contextmanager
def heard(to_the_end: bool) -> Iterator[None]:
    """In the block both signals raise ``KeyboardInterrupt``; a second one ends the process at once.

    What is ignored, as a shell has its background jobs ignore Ctrl-C, stays so.

    :param to_the_end: the process ends with the block: from there on a signal is the system's, without a traceback.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread alone
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    if to_the_end:
        atexit.register(_leave)  # before all others, so that it is called after them
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if to_the_end else handler)


@contextmanager
def kept() -> Iterator[None]:
    """What the block does to the signals, as a library may that is started in it, is undone."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


def was_interrupted(error: BaseException) -> bool:
    """Whether an error is what an interruption became: a library that is being imported may raise another one for it."""
    return isinstance(error, KeyboardInterrupt) or bool(_received)


def leave_with(code: int) -> None:
    """The process ends with this exit code, once all that is registered for its end has been done.

    Python itself would end by SIGINT, whatever the exit code, where the interruption had passed through code that a
    library ran as a text.
    """
    _leaving.append(code)


def _leave() -> None:
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_leaving[-1])


def exit_code() -> int:
    """130 after Ctrl-C, 143 after SIGTERM, as shells say it."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
