"""Ctrl-C and SIGTERM: both end a command in the same way, from its first moment to its last.

This module imports nothing large, because the command line uses it before all other imports.
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
    """Raise ``KeyboardInterrupt`` for both signals in the block. A second signal ends the process at once.

    A signal that is ignored stays ignored, as a shell makes its background jobs ignore Ctrl-C.

    :param to_the_end: the process ends with the block. Then a later signal has the system's effect, without a
        traceback.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals only to the main thread
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    if to_the_end:
        atexit.register(_leave)  # registered first, so that it is called last
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if to_the_end else handler)


@contextmanager
def kept() -> Iterator[None]:
    """Restore the signal handlers after the block, because a library that starts in the block may change them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


def pass_on(thread: threading.Thread) -> None:
    """Raise ``KeyboardInterrupt`` in a thread after its present operation, because signals reach only the main thread."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))


def was_interrupted(error: BaseException) -> bool:
    """Whether an error comes from an interruption. A library may turn one into another exception during its import."""
    return isinstance(error, KeyboardInterrupt) or bool(_received)


def leave_with(code: int) -> None:
    """End the process with this exit code, after all exit handlers have run.

    Python itself would end by SIGINT, whatever the exit code, if the interruption passed through code that a library
    ran from a text.
    """
    _leaving.append(code)


def _leave() -> None:
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_leaving[-1])


def exit_code() -> int:
    """Return 130 after Ctrl-C and 143 after SIGTERM, like shells."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
