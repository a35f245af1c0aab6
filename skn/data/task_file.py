"""A task file: the data options of the command line as a small TOML document.

::

    data = "reviews"              # file, folder or hub id; relative to the task file
    text_column = "review"
    label_column = "stars"
    verbalizer = "bad,good"
    class_names = "one star,five stars"
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skn.data.spec import DataSpec, column_names
from skn.errors import InputError
from skn.names import did_you_mean
from skn.store.delimited import Dialect
from skn.store.foreign_files import read_text, reading

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = (
    *("data", "text_column", "pair_column", "label_column", "drop_unlabelled", "quoting", "encoding", "columns"),
    *("verbalizer", "class_names"),
)


class AskedData(NamedTuple):
    """The data that the user names, and the classes' label words and names of a task file."""

    spec: DataSpec
    words: list[str] | None = None
    names: list[str] | None = None


def read_task_file(path: Path) -> dict[str, Any]:
    """Read the options of a task file, with the names of the command line. Raises :class:`InputError`."""
    text = read_text(path)
    with reading(path, "not TOML"):
        document = tomllib.loads(text)
    options = {key.replace("-", "_"): value for key, value in document.items()}
    for key, value in options.items():
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"; the keys are {', '.join(KEYS)}"
            raise InputError(f"{path}: unknown key '{key}'{hint}")
        expected = bool if key == "drop_unlabelled" else str
        if not isinstance(value, expected):
            raise InputError(f"{path}: '{key}' must be {'true or false' if expected is bool else 'a text'}")
    if "columns" in options:
        options["columns"] = column_names(options["columns"])
    Dialect(options.get("quoting"), options.get("encoding")).check(f"{path}: ")
    if "data" not in options:
        raise InputError(f"{path}: no 'data' key; it names a file, a folder or a hub id")
    beside = path.parent / options["data"]
    if beside.exists():
        options["data"] = str(beside)
    return options


def spec_of(source: str | None, columns: Mapping[str, Any], task: str | None) -> AskedData:
    """Return the user's data, with the classes' words and names of a task file. ``columns`` override the file.

    Raises :class:`InputError`.
    """
    if source is None or not source.lower().endswith(".toml"):
        return AskedData(DataSpec(task=task, data=source, **columns))
    options = read_task_file(Path(source))
    words, names = (_listed(options.pop(key, None)) for key in ("verbalizer", "class_names"))
    names = names and [name.strip() for name in names]
    said = {name: value for name, value in columns.items() if value}
    return AskedData(DataSpec(task=task, **{**columns, **options, **said}), words, names)


def _listed(text: str | None) -> list[str] | None:
    """Split "bad,good" into a list. A space before a label word belongs to the word."""
    return None if text is None else [part for part in text.split(",") if part.strip()]
