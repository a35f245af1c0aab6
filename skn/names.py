"""Names: find the known name nearest to a mistyped one, say so in a message, and turn a name into a file's name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Sequence
from urllib.parse import unquote

from skn.errors import InputError
from skn.texts import has_controls

LEAST_ALIKE = 0.5  # a guess below this misleads: even "qqp" resembles "sst2" more than nothing


def nearest(name: str, known: Collection[str], least: float = LEAST_ALIKE) -> str | None:
    """Return the known name most like ``name``, ignoring case; None if no name is ``least`` alike (0 to 1)."""
    return next(iter(all_near(name, known, 1, least)), None)


def all_near(name: str, known: Collection[str], count: int, least: float = 0.0) -> list[str]:
    """Return the ``count`` known names most like ``name``, the most similar first, ignoring case."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=least)
    return [by_lower[other] for other in near]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return "; did you mean 'joy'?", or an empty text if no name is near."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean '{near}'?"


def one_of(value: object, known: Sequence[str], option: str) -> None:
    """Refuse a value that is not ``known``. Raises :class:`InputError`, which names the nearest."""
    if value not in known:
        raise InputError(f"{option} {value}: expected {', '.join(known)}{did_you_mean(str(value), known)}")


def pick(wanted: Sequence[str] | None, known: Sequence[str], option: str, where: str) -> list[str]:
    """Return the ``wanted`` names in the order of ``known``, or all names.

    ``where`` begins the list of known names in a message: "FILE: attributes". Raises :class:`InputError` for an unknown
    name; the message has the nearest name.
    """
    if wanted is None:
        return list(known)
    for name in wanted:
        if name not in known:
            raise InputError(f"{option} {name}: unknown{did_you_mean(name, known)} ({where} {', '.join(known)})")
    return [name for name in known if name in wanted]


def named(stem: str, name: str | None) -> str:
    """Return the name of a result's file without its ending: ``stem`` and, after it, the user's name for the result.

    Raises :class:`InputError` as :func:`result_name` does.
    """
    return _joined(stem, "-", name)


def named_of(stem: str, other: str, what: str, name: str | None) -> str:
    """Do the same for a result whose name holds the name of a file or folder. ``what`` begins a message about that
    name.

    Both names may hold a hyphen, so an @ separates them. :func:`file_name` leaves an @ in no name.

    Example::

        >>> named_of("evaluate-data-", "a", "--data", "b"), named_of("evaluate-data-", "a-b", "--data", None)
        ('evaluate-data-a@b', 'evaluate-data-a-b')
    """
    return _joined(stem + file_name(other, what), "@", name)


def _joined(stem: str, between: str, name: str | None) -> str:
    name = result_name(name)
    return stem if name is None else f"{stem}{between}{file_name(name, '--name')}"


def result_name(name: str | None) -> str | None:
    """Return the user's name for a result as the result stores it.

    Raises :class:`InputError` for an empty name, or a name with control characters.
    """
    if name is None:
        return None
    if not name.strip():
        raise InputError("--name: is empty; give the result a name of letters")
    file_name(name, "--name")
    return name.strip()


def quoted(name: str | None) -> str:
    """Return " 'NAME'" for the title of a result, or an empty text."""
    return f" '{name}'" if name else ""


def file_name(name: str, what: str = "name") -> str:
    """Turn a name into a part of a file's name. Two names never become the same one.

    Letters of every script, digits, spaces and . _ + - stay. Other characters become %XX, one for each byte of UTF-8. A
    dot at the beginning, which would hide the file, becomes %XX, too. Raises :class:`InputError` for control
    characters; ``what`` begins the message.

    Example::

        >>> file_name("快乐"), file_name("a/b"), file_name("50%")
        ('快乐', 'a%2Fb', '50%25')
    """
    if has_controls(name):
        raise InputError(f"{what} '{name}': control characters cannot stand in the name of a file; rename it")
    plain = "".join(c if c in " ._+-" or unicodedata.category(c)[0] in "LMN" else _escaped(c) for c in name)
    return _escaped(".") + plain[1:] if plain.startswith(".") else plain


def real_name(file: str) -> str:
    """Return the name from which :func:`file_name` made ``file``, for people.

    Example::

        >>> real_name("mask-zero-a%2Fb"), real_name(file_name("50%25"))
        ('mask-zero-a/b', '50%25')
    """
    return unquote(file)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def leads_out(name: str) -> bool:
    """Whether a name from a file would lead to a path outside the file's folder."""
    return "\\" in name or not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/"))
