"""Texts that come from files, as they may be shown: control characters escaped, so that no terminal obeys them."""

from __future__ import annotations

import re

# Control characters but line feed and tab, halves of surrogate pairs, line and paragraph separators, and the marks that
# turn the direction of writing, with which a name can look like another.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    r"""The text with its control characters as Python writes them.

    Example::

        >>> shown("joy\x1b]0;title\x07 喜")
        'joy\\x1b]0;title\\x07 喜'
    """
    return _ESCAPED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def has_controls(text: str) -> bool:
    """Whether :func:`shown` would change the text, or it is of several lines."""
    return _ESCAPED.search(text) is not None or "\n" in text or "\t" in text


def json_safe(document: str) -> str:
    """A JSON document with the characters that :func:`shown` escapes as JSON escapes them; it means the same."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
