"""A task file: the data options of the command line as a small TOML document.

::

    data = "reviews"              # file, folder or hub id; relative to the task file
    text_column = "review"
    label_column = "stars"
    verbalizer = "bad,good"
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from skn.data.spec import DataSpec
from skn.data.tasks import get_task
from skn.errors import InputError
from skn.names import did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = ("data", "text_column", "pair_column", "label_column", "verbalizer", "drop_unlabelled")


def read_task_file(path: Path) -> dict[str, Any]:
    """The options of a task file, keys as on the command line; raises :class:`InputError`."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error
    options = {key.replace("-", "_"): value for key, value in found.items()}
    for key, value in options.items():
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"; the keys are {', '.join(KEYS)}"
            raise InputError(f"{path}: unknown key '{key}'{hint}")
        expected = bool if key == "drop_unlabelled" else str
        if not isinstance(value, expected):
            raise InputError(f"{path}: '{key}' must be {'true or false' if expected is bool else 'a text'}")
    if "data" not in options:
        raise InputError(f"{path}: no 'data' key; it names a file, a folder or a hub id")
    beside = path.parent / options["data"]
    if beside.exists():
        options["data"] = str(beside)
    return options


def data_spec(
    task: str | None,
    data: str | None,
    text_column: str | None,
    pair_column: str | None,
    label_column: str | None,
    drop_unlabelled: bool,
) -> tuple[DataSpec, str | None]:
    """The data options, and the label words of a task file; what the command line says wins over the file.

    Raises :class:`InputError` for a task that the registry does not have and for a task file that is no such file.
    """
    if task is not None:
        get_task(task)
    given = {
        "data": data,
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "drop_unlabelled": drop_unlabelled,
    }
    words = None
    if data is not None and data.endswith(".toml"):
        options = read_task_file(Path(data))
        words = options.pop("verbalizer", None)
        given = given | options | {k: v for k, v in given.items() if v and k != "data"}
    return DataSpec(task=task, **given), words
