"""Texts as they may be shown: control characters escaped, and what an output's encoding lacks spelled in another way."""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator
from typing import Any

# Control characters but line feed and tab, halves of surrogate pairs, line and paragraph separators, and the marks that
# turn the direction of writing, with which a name can look like another.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# A label or a name of thousands of characters would hide what is said of it. File systems allow names of 255 bytes, so
# no path is shortened.
_LONG = re.compile(r"[^\s/]{400,}")
SHOWN = 100

# What skn's own lines hold, for terminals that have no such characters; any other is written as Python writes it.
_SPELLED = str.maketrans({"–": "-", "−": "-", "…": "...", "→": "->", "·": "*", "×": "x", "≤": "<=", "≥": ">="})
SPELLED = "skn-spelled"  # the error handler for ``str.encode`` and for streams


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Called for the characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_SPELLED)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(SPELLED, _spelled)


def spelled(text: str, encoding: str) -> str:
    r"""The text with what ``encoding`` lacks spelled in characters that it has.

    Example::

        >>> spelled("0.1 – 0.2, 喜", "latin-1")
        '0.1 - 0.2, \\u559c'
    """
    return text.encode(encoding, SPELLED).decode(encoding)


@contextlib.contextmanager
def spelling(*streams: Any) -> Iterator[None]:
    """In the block the streams write what their encodings lack as :func:`spelled` does, and raise nothing over it."""
    before = [(stream, stream.errors) for stream in streams if hasattr(stream, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors=SPELLED)
    try:
        yield
    finally:
        for stream, errors in before:
            with contextlib.suppress(ValueError, OSError):  # closed, or what it holds cannot be written
                stream.reconfigure(errors=errors)


def shown(text: str) -> str:
    r"""The text with its control characters as Python writes them, and no word longer than the name of a file may be.

    Example::

        >>> shown("joy\x1b]0;title\x07 喜")
        'joy\\x1b]0;title\\x07 喜'
    """
    escaped = _ESCAPED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _LONG.sub(lambda found: f"{found[0][:SHOWN]}… ({len(found[0]):,} characters)", escaped)


def has_controls(text: str) -> bool:
    """Whether the text has characters that :func:`shown` escapes, or several lines."""
    return _ESCAPED.search(text) is not None or "\n" in text or "\t" in text


def json_safe(document: str) -> str:
    """A JSON document with the characters that :func:`shown` escapes as JSON escapes them; it means the same."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
