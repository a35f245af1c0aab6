"""Reading rows: csv, tsv, jsonl and parquet files, folders of them, saved ``datasets`` folders, the hub.

Every reader returns plain columns of Python values and types nothing: a text such as "null" stays a text.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.store.delimited import read_delimited
from skn.store.foreign_files import check_file, read_text, reading, refusal

SPLIT_ALIASES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
FILE_KINDS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Rows:
    """The columns of one split and where they came from, for messages.

    ``lines`` are the numbers of the lines where the rows of a text file begin, from 1; None for what has no lines.
    """

    columns: dict[str, list[Any]]
    origin: str
    lines: list[int] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def places(self, rows: list[int]) -> str:
        """How messages name rows, counted from 0: "line 7, 9" of a text file, "row 7, 9" of what has no lines."""
        numbers = [row + 1 if self.lines is None else self.lines[row] for row in rows[:6]]
        named = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
        return f"{'row' if self.lines is None else 'line'} {named}"

    def column(self, name: str, option: str) -> list[Any]:
        if name not in self.columns:
            raise InputError(f"{self.origin}: no column '{name}' (it has {', '.join(self.columns)}); see {option}")
        return self.columns[name]


def read(location: str, quoting: str | None = None) -> dict[str, Rows]:
    """The splits found at a file, a folder or a hub id. A single file is all "train".

    ``quoting`` says how csv and tsv files quote, see :func:`skn.store.delimited.read_delimited`. Raises
    :class:`InputError` for what is missing, empty or not readable.
    """
    path = Path(location)
    if path.is_dir():
        splits = _read_folder(path, quoting)
    elif path.exists():
        splits = {"train": _read_file(path, quoting)}
    elif path.suffix in FILE_KINDS or path.is_absolute():
        raise InputError(f"{location}: no such file or folder; see --data")
    else:
        splits = read_hub(location)
    for name, rows in splits.items():
        if not len(rows):
            raise InputError(f"{rows.origin}: no rows for the {name} split; give a file with rows below its header")
    if "train" not in splits:
        raise InputError(f"{location}: no train split (found {', '.join(splits) or 'nothing'}); add a train file")
    return splits


def read_one(location: str, quoting: str | None = None) -> Rows:
    """The rows of a single file; raises :class:`InputError` as :func:`read` does, and for a folder."""
    path = Path(location)
    if path.is_dir():
        raise InputError(f"{location}: a folder; give one file ({', '.join(FILE_KINDS)})")
    if not path.exists():
        raise InputError(f"{location}: no such file; see --data")
    rows = _read_file(path, quoting)
    if not len(rows):
        raise InputError(f"{location}: no rows; give a file with rows below its header")
    return rows


def read_hub(identifier: str, names: dict[str, str] | None = None) -> dict[str, Rows]:
    """A data set of the hub, "owner/name" or "owner/name:configuration"; ``names`` maps our splits to the hub's."""
    import datasets

    repository, _, configuration = identifier.partition(":")
    try:
        hub_splits = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # the library raises many unrelated types for "not there" and "no network"
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = f"neither a file, a folder nor a reachable data set of the hub ({first})"
        raise InputError(f"{identifier}: {what}; see --data") from error
    with reading(identifier, "a data set of the hub that cannot be read"):
        found = names or _matched_splits(hub_splits)
        return {ours: _from_datasets(hub_splits[theirs], f"{identifier}/{theirs}") for ours, theirs in found.items()}


def _matched_splits(available: Any) -> dict[str, str]:
    return {split: alias for split, aliases in SPLIT_ALIASES.items() for alias in aliases if alias in available}


def _read_folder(folder: Path, quoting: str | None) -> dict[str, Rows]:
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _read_saved(folder)
    splits: dict[str, Rows] = {}
    for split, aliases in SPLIT_ALIASES.items():
        files = [folder / (alias + kind) for alias in aliases for kind in FILE_KINDS]
        files = [file for file in files if file.exists() and not file.is_dir()]
        if len(files) > 1:
            raise InputError(f"{folder}: several files for the {split} split: {', '.join(f.name for f in files)}")
        if files:
            splits[split] = _read_file(files[0], quoting)
    if not splits:
        raise InputError(
            f"{folder}: no train/validation/test file ({', '.join(FILE_KINDS)}) and no saved data set in it"
        )
    return splits


def _read_saved(folder: Path) -> dict[str, Rows]:
    import datasets

    with reading(folder, "a saved data set that cannot be read", "; save it again"):
        saved = datasets.load_from_disk(str(folder))
        if isinstance(saved, datasets.Dataset):
            return {"train": _from_datasets(saved, str(folder))}
        return {
            ours: _from_datasets(saved[theirs], f"{folder}/{theirs}") for ours, theirs in _matched_splits(saved).items()
        }


def _from_datasets(dataset: Any, origin: str) -> Rows:
    return Rows({name: dataset[name][:] for name in dataset.column_names}, origin)


def _read_file(path: Path, quoting: str | None) -> Rows:
    check_file(path)
    if path.suffix not in FILE_KINDS:
        raise InputError(f"{path}: unknown kind of file; skn reads {', '.join(FILE_KINDS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; give one with a header and rows")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    return _read_delimited(path, "," if path.suffix == ".csv" else "\t", quoting)


def _read_delimited(path: Path, delimiter: str, quoting: str | None) -> Rows:
    found = read_delimited(path, delimiter, quoting)
    columns = {name: [fields[i] for fields in found.rows] for i, name in enumerate(found.header)}
    return Rows(columns, str(path), found.lines)


def _read_jsonl(path: Path) -> Rows:
    rows, lines = [], []
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        row = _json_row(line, where)
        if rows and row.keys() != rows[0].keys():
            raise InputError(f"{where} has keys {sorted(row)}, line {lines[0]} has {sorted(rows[0])}")
        rows.append(row)
        lines.append(number)
    return Rows({name: [row[name] for row in rows] for name in (rows[0] if rows else ())}, str(path), lines)


def _json_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep nesting
        raise refusal(where, "cannot be read", error) from error
    if not isinstance(row, dict):
        raise InputError(f"{where} is not a JSON object")
    if "\\u" in line:  # half of a surrogate pair is no character, and no encoding writes it
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise refusal(where, "holds what is no text", error, "; write the character whole") from error
    return row


def _read_parquet(path: Path) -> Rows:
    import pyarrow.parquet

    with reading(path, "not a parquet file"):
        return Rows(pyarrow.parquet.read_table(path).to_pydict(), str(path))
