"""The files that a command has written and deleted so far. If the command fails, its message names them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

NAMED = 3  # a message names so many paths, and counts the others

_UNFINISHED = re.compile(r"^\.(.*\.tmp$|partial-)")  # a temporary name, which its writer removes again

_changes: ContextVar[list[Path] | None] = ContextVar("changes", default=None)


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Keep the paths that :func:`changed` gets in the block for :func:`what_stands`, beginning with none.

    After the block, a block around it has them, too.
    """
    own: list[Path] = []
    token = _changes.set(own)
    try:
        yield
    finally:
        _changes.reset(token)
        for path in own:
            changed(path)


def changed(path: Path) -> None:
    """Note that ``path`` was just put in place or deleted."""
    changes = _changes.get()
    if changes is not None and path not in changes:
        changes.append(path)


def what_stands() -> str:
    """Return "; written before that: a, b", or "; nothing was changed"; an empty text outside a block of
    :func:`remembered`.
    """
    changes = _changes.get()
    if changes is None:
        return ""
    finished = [path for path in changes if not any(_UNFINISHED.match(part) for part in path.parts)]
    written = [path for path in finished if path.exists()]
    deleted = [path for path in finished if not path.exists()]
    parts = [
        f"; {how} before that: {_named(paths)}" for how, paths in (("written", written), ("deleted", deleted)) if paths
    ]
    return "".join(parts) or "; nothing was changed"


def _named(paths: list[Path]) -> str:
    more = len(paths) - NAMED
    return ", ".join(map(str, paths[:NAMED])) + (f" and {more} more" if more > 0 else "")
