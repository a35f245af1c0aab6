"""A text as one line around one of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from skn.data.splits import Examples

BETWEEN = " ‖ "  # between the two texts of a pair


def whole(examples: Examples, row: int) -> str:
    """Return a text, or both texts of a pair, as one text."""
    return examples.text[row] + ("" if examples.pair is None else BETWEEN + examples.pair[row])


def within(examples: Examples, row: int, span: Sequence[int]) -> tuple[int, int]:
    """Return where a token's characters, (text, first, behind), are in :func:`whole`."""
    part, first, behind = span
    shift = len(examples.text[row]) + len(BETWEEN) if part == 1 else 0
    return shift + first, shift + behind


def window(length: int, first: int, behind: int, width: int) -> tuple[int, int]:
    """Return the ends of ``width`` characters of a text around the characters ``first`` to ``behind``."""
    start = max(0, min((first + behind - width) // 2, length - width))
    return start, min(length, start + width)


def excerpt(examples: Examples, row: int, span: Sequence[int] | None, width: int = 60) -> str:
    """Return about ``width`` characters of a text in one line, around the token with this span, which » and « enclose."""
    text = whole(examples, row)
    first, behind = (0, 0) if span is None or span[0] < 0 else within(examples, row, span)
    start, end = window(len(text), first, behind, width)
    if first < behind:
        text = f"{text[:first]}»{text[first:behind]}«{text[behind:]}"
        end += 2
    line = " ".join(text[start:end].split())
    return ("…" if start else "") + line + ("…" if end < len(text) else "")
