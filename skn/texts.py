"""Make texts safe to show: escape control characters, and replace characters that an output's encoding lacks."""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator
from typing import Any

# Control characters except line feed and tab, halves of surrogate pairs, line and paragraph separators, and the marks
# that turn the direction of writing, which can make one name look like another.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# A label or a name of thousands of characters would hide the rest of a message. File systems allow names of 255 bytes, so
# no path is shortened.
_LONG = re.compile(r"[^\s/]{400,}")
SHOWN = 100

# Replacements for the characters in skn's own lines on terminals that lack them. Python's escapes replace any other
# character.
_SPELLED = str.maketrans({"–": "-", "−": "-", "…": "...", "→": "->", "·": "*", "×": "x", "≤": "<=", "≥": ">="})
SPELLED = "skn-spelled"  # the name of the error handler for ``str.encode`` and for streams


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Replace the characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_SPELLED)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(SPELLED, _spelled)


def spelled(text: str, encoding: str) -> str:
    r"""Replace what ``encoding`` lacks by characters that it has.

    Example::

        >>> spelled("0.1 – 0.2, 喜", "latin-1")
        '0.1 - 0.2, \\u559c'
    """
    return text.encode(encoding, SPELLED).decode(encoding)


@contextlib.contextmanager
def spelling(*streams: Any) -> Iterator[None]:
    """Let the streams in the block replace what their encodings lack, as :func:`spelled` does, instead of raising an
    error.
    """
    before = [(stream, stream.errors) for stream in streams if hasattr(stream, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors=SPELLED)
    try:
        yield
    finally:
        for stream, errors in before:
            with contextlib.suppress(ValueError, OSError):  # the stream is closed, or its buffer cannot be written
                stream.reconfigure(errors=errors)


def shown(text: str) -> str:
    r"""Return the text with its control characters as Python's escapes, and with long words shortened.

    Example::

        >>> shown("joy\x1b]0;title\x07 喜")
        'joy\\x1b]0;title\\x07 喜'
    """
    escaped = _ESCAPED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _LONG.sub(lambda found: f"{found[0][:SHOWN]}… ({len(found[0]):,} characters)", escaped)


def has_controls(text: str) -> bool:
    """Whether the text has characters that :func:`shown` escapes, or several lines or a tab."""
    return _ESCAPED.search(text) is not None or "\n" in text or "\t" in text


def json_safe(document: str) -> str:
    """Escape in a JSON document the characters that :func:`shown` escapes. The document means the same."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
