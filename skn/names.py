"""Names: the nearest known one to a mistyped one, and how to say so; a name as the name of a file."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Sequence
from urllib.parse import unquote

from skn.errors import InputError
from skn.texts import has_controls

LEAST_ALIKE = 0.5  # below, a guess misleads: "qqp" is nearer to "sst2" than to nothing


def nearest(name: str, known: Collection[str], least: float = LEAST_ALIKE) -> str | None:
    """The known name most like ``name`` whatever its case; None where none is ``least`` alike (0 to 1)."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=least)
    return by_lower[near[0]] if near else None


def did_you_mean(name: str, known: Collection[str]) -> str:
    """ "; did you mean 'joy'?", or nothing where no name is near."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean '{near}'?"


def one_of(value: object, known: Sequence[str], option: str) -> None:
    """Refuse a value that is none of the ``known``, with the nearest; raises :class:`InputError`."""
    if value not in known:
        raise InputError(f"{option} {value}: expected {', '.join(known)}{did_you_mean(str(value), known)}")


def pick(wanted: Sequence[str] | None, known: Sequence[str], option: str, where: str) -> list[str]:
    """The ``wanted`` names in the order of ``known``, or all; an unknown one is refused with the nearest.

    ``where`` begins the list of those there are: "FILE: attributes". Raises :class:`InputError`.
    """
    if wanted is None:
        return list(known)
    for name in wanted:
        if name not in known:
            raise InputError(f"{option} {name}: unknown{did_you_mean(name, known)} ({where} {', '.join(known)})")
    return [name for name in known if name in wanted]


def named(stem: str, name: str | None) -> str:
    """The name of a result's file without its ending, with the name that the user gave the result behind it.

    Raises :class:`InputError` as :func:`result_name` does.
    """
    return _joined(stem, "-", name)


def named_of(stem: str, other: str, what: str, name: str | None) -> str:
    """The same of a result that has the name of a file or a folder in its own; ``what`` begins a message about that one.

    Both names may hold a hyphen, so @ stands between them, which :func:`file_name` leaves in none.

    Example::

        >>> named_of("evaluate-data-", "a", "--data", "b"), named_of("evaluate-data-", "a-b", "--data", None)
        ('evaluate-data-a@b', 'evaluate-data-a-b')
    """
    return _joined(stem + file_name(other, what), "@", name)


def _joined(stem: str, between: str, name: str | None) -> str:
    name = result_name(name)
    return stem if name is None else f"{stem}{between}{file_name(name, '--name')}"


def result_name(name: str | None) -> str | None:
    """The name that the user gave a result, as the result holds it.

    Raises :class:`InputError` for a name of nothing, or with control characters.
    """
    if name is None:
        return None
    if not name.strip():
        raise InputError("--name: is empty; give the result a name of letters")
    file_name(name, "--name")
    return name.strip()


def quoted(name: str | None) -> str:
    """ " 'NAME'" behind the kind of a result in a title, or nothing."""
    return f" '{name}'" if name else ""


def file_name(name: str, what: str = "name") -> str:
    """A name as part of a file's name; two names never become the same one.

    Letters of every script, digits, spaces and . _ + - stay, other characters become %XX, one for each byte of UTF-8; so
    does a dot at the beginning, which would hide the file. Raises :class:`InputError` for control characters; ``what``
    begins the message.

    Example::

        >>> file_name("快乐"), file_name("a/b"), file_name("50%")
        ('快乐', 'a%2Fb', '50%25')
    """
    if has_controls(name):
        raise InputError(f"{what} '{name}': control characters cannot stand in the name of a file; rename it")
    plain = "".join(c if c in " ._+-" or unicodedata.category(c)[0] in "LMN" else _escaped(c) for c in name)
    return _escaped(".") + plain[1:] if plain.startswith(".") else plain


def real_name(file: str) -> str:
    """The name that :func:`file_name` made this of, as people read it.

    Example::

        >>> real_name("mask-zero-a%2Fb"), real_name(file_name("50%25"))
        ('mask-zero-a/b', '50%25')
    """
    return unquote(file)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def leads_out(name: str) -> bool:
    """Whether a name that a file says is no path below the file's folder."""
    return "\\" in name or not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/"))
