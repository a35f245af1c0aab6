"""Read files that skn did not write. skn opens only regular files, and turns a library's exceptions into one line."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from skn.errors import InputError

# A byte-order mark → the encoding of its file, whatever the user says. A mark of UTF-32 begins like a mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def check_file(path: Path) -> None:
    """Refuse a path that is missing, not a regular file, not readable, or a Git LFS pointer. Raises
    :class:`InputError`.

    A folder passes. A pipe or a device is not opened, because reading it may never end.
    """
    with reading(path, "cannot be read"):
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise InputError(f"{path}: a pipe, socket or device; save its content as a file and give that")
        with open(path, "rb") as file:
            begin = file.read(len(LFS_POINTER))
    if begin == LFS_POINTER:
        raise InputError(f"{path}: a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'")


def stands(path: Path) -> bool:
    """Whether anything exists at ``path``, even a pipe or a broken link.

    Callers take a file as missing only if this is False. Code that opens the file refuses whatever is no file.
    """
    return os.path.lexists(path)


def check_readable(path: Path) -> None:
    """Refuse a file that this user may not read, because some libraries call it missing. Raises :class:`InputError`."""
    if path.is_file():
        with reading(path, "cannot be read"):
            open(path, "rb").close()


def read_text(path: Path, encoding: str | None = None, mend: str = "save it as UTF-8") -> str:
    """Return the text of a file without its byte-order mark. The mark decides the encoding; without one, ``encoding``
    or UTF-8.

    Raises :class:`InputError`. If the file is not UTF-8, the message ends with ``mend``.
    """
    check_file(path)
    with reading(path, "cannot be read"):
        payload = path.read_bytes()
    marked = next((name for mark, name in _MARKS.items() if payload.startswith(mark)), None)
    name = marked or encoding or "UTF-8"
    if name == "UTF-8" and b"\0" in payload[:2]:
        raise InputError(f"{path}: not UTF-8 (its first character has a NUL, as UTF-16 has); {mend}")
    try:
        return payload.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = payload.count(b"\n", 0, error.start) + 1
        after = "; give the encoding that it has" if encoding else f"; {mend}"
        raise InputError(f"{path}: not {name} (byte {error.start}, line {line}){after}") from error


def check_encoding(name: str, option: str) -> None:
    """Raises :class:`InputError` if Python knows no text encoding of this name."""
    try:
        "".encode(name).decode(name)
    except (LookupError, ValueError) as error:
        raise InputError(
            f"{option} {name}: unknown; give utf-8, utf-16, cp1252 or another that Python knows"
        ) from error


@contextlib.contextmanager
def reading(where: Path | str, what: str, mend: str = "") -> Iterator[None]:
    """Turn an exception of the block into an :class:`InputError`: "where: what (cause)mend".

    The block should hold only the library's calls, so that a mistake in skn itself still shows its traceback.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the libraries raise nearly every exception over a spoiled file
        raise refusal(where, what, error, mend) from error


def refusal(where: Path | str, what: str, error: Exception, mend: str = "") -> InputError:
    """Return the one line for an exception that a library has raised over a file."""
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{where}: cannot be read ({error.strerror})")
    return InputError(f"{where}: {what} ({cause(error)}){mend}")


def cause(error: Exception) -> str:
    """Say the cause in a few words: the first line of a library's exception, or its meaning."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
