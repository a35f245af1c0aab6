"""JSON documents of skn. Each says its kind and its format, and holds a digest of its content."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.store import atomic
from skn.store.foreign_files import check_readable
from skn.store.schemas import completed, fault

log = logging.getLogger(__name__)

FORMAT_VERSION = 2  # format 1 had no digests, and its JSON documents did not say their kind

# The keys that every document has beside its content.
OWN_KEYS = ("document", "format_version", "digest")

# Far above any document of skn: the history of a training or a table of masks has some hundred kilobytes.
MOST_BYTES = 2**28


def write(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a document of a kind, "run" or "mask", atomically. Raises :class:`InputError` if it cannot be written."""
    content = json.loads(json.dumps(content))  # as a reader will get it: tuples become lists, keys become texts
    own = {"document": kind, "format_version": FORMAT_VERSION, "digest": _digest_of(content, kind)}
    atomic.write_json(path, {**content, **own})


def read(path: Path, kind: str, schema: Any, again: str, old_too: bool = True) -> dict[str, Any]:
    """Read a document, and check that its values have the types of ``schema``, a dataclass or a dict.

    Values that the document lacks get the schema's default. ``again`` tells the user how to replace a damaged file:
    "train the run again". A document of format 1 is read with a note, because without a digest nothing shows whether it
    changed; with ``old_too`` False it is refused. Raises :class:`InputError`.
    """
    content = parse(path, again)
    stored_kind, version, digest = (content.pop(key, None) for key in OWN_KEYS)
    is_old = old_too and (stored_kind, version, digest) == (None, None, None)
    if stored_kind != kind and not is_old:
        raise InputError(f"{path}: holds '{stored_kind}', expected '{kind}'; {again}")
    if version != FORMAT_VERSION and not is_old:
        raise InputError(f"{path}: format version {version}, this skn reads {FORMAT_VERSION}; {again}")
    if digest != _digest_of(content, kind) and not is_old:
        raise InputError(f"{path}: damaged, it is not what skn wrote there (its digest differs); {again}")
    found = fault(schema, content)
    if found:
        raise InputError(f"{path}: damaged or of another version of skn ({found}); {again}")
    if is_old:
        note_old(path)
    return completed(schema, content)


@functools.cache
def note_old(path: Path) -> None:
    """Note once for each path that damage would go unnoticed. A command may read one path for several reasons."""
    log.info("%s: written by an older skn, without a digest: damage would go unnoticed", path)


@functools.cache
def note_unmarked(folder: Path, mark: str) -> None:
    """The same of a folder without the document that would say which files it was made with."""
    log.info("%s: has no %s (deleted, or of an older skn): a file that was exchanged would go unnoticed", folder, mark)


def says_its_kind(path: Path) -> bool:
    """Whether a document has format 2, which says its kind; format 1 does not. Raises the errors of :func:`parse`."""
    return bool(set(OWN_KEYS) & parse(path, "give the file as skn wrote it").keys())


def parse(path: Path, again: str) -> dict[str, Any]:
    """Read a JSON object from a file without further checks. Raises :class:`InputError` if the file holds none."""
    if not path.is_file():  # reading a device or a pipe might never end
        raise InputError(f"{path}: {'not a plain file' if path.exists() else 'no such file'}; {again}")
    check_readable(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than any that skn writes")
        content = json.loads(path.read_bytes(), parse_int=_whole)
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, expected an object")
    except RecursionError:
        raise InputError(f"{path}: damaged (nested too deep); {again}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: damaged ({error}); {again}") from error
    return content


def _whole(digits: str) -> int:
    """Return a whole number. Raises ValueError if it is too large for an array."""
    if len(digits) > 19:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _digest_of(content: Mapping[str, Any], kind: str) -> str:
    from skn.store import digests

    return digests.of_json({**content, "document": kind, "format_version": FORMAT_VERSION})
