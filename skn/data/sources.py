"""Reading rows: csv, tsv, jsonl and parquet files, folders of them, saved ``datasets`` folders, the hub.

Every reader returns plain columns of Python values and types nothing: a text such as "null" stays a text.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.errors import InputError

SPLIT_ALIASES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
FILE_KINDS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Rows:
    """The columns of one split and where they came from, for messages."""

    columns: dict[str, list[Any]]
    origin: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def column(self, name: str, option: str) -> list[Any]:
        if name not in self.columns:
            raise InputError(f"{self.origin}: no column '{name}' (it has {', '.join(self.columns)}); see {option}")
        return self.columns[name]


def read(location: str) -> dict[str, Rows]:
    """The splits found at a file, a folder or a hub id. A single file is all "train".

    Raises :class:`InputError` for what is missing, empty or not readable.
    """
    path = Path(location)
    if path.is_file():
        splits = {"train": _read_file(path)}
    elif path.is_dir():
        splits = _read_folder(path)
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
    if names:
        return {ours: _from_datasets(hub_splits[theirs], f"{identifier}/{theirs}") for ours, theirs in names.items()}
    return {
        ours: _from_datasets(hub_splits[theirs], f"{identifier}/{theirs}")
        for ours, theirs in _matched_splits(hub_splits).items()
    }


def _matched_splits(available: Any) -> dict[str, str]:
    return {split: alias for split, aliases in SPLIT_ALIASES.items() for alias in aliases if alias in available}


def _read_folder(folder: Path) -> dict[str, Rows]:
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _read_saved(folder)
    splits: dict[str, Rows] = {}
    for split, aliases in SPLIT_ALIASES.items():
        files = [folder / (alias + kind) for alias in aliases for kind in FILE_KINDS]
        files = [file for file in files if file.is_file()]
        if len(files) > 1:
            raise InputError(f"{folder}: several files for the {split} split: {', '.join(f.name for f in files)}")
        if files:
            splits[split] = _read_file(files[0])
    if not splits:
        raise InputError(
            f"{folder}: no train/validation/test file ({', '.join(FILE_KINDS)}) and no saved data set in it"
        )
    return splits


def _read_saved(folder: Path) -> dict[str, Rows]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:  # of a damaged folder the library raises whatever it stumbles on
        raise InputError(f"{folder}: a saved data set that cannot be read ({error}); save it again") from error
    if isinstance(saved, datasets.Dataset):
        return {"train": _from_datasets(saved, str(folder))}
    return {
        ours: _from_datasets(saved[theirs], f"{folder}/{theirs}") for ours, theirs in _matched_splits(saved).items()
    }


def _from_datasets(dataset: Any, origin: str) -> Rows:
    return Rows({name: dataset[name][:] for name in dataset.column_names}, origin)


def _read_file(path: Path) -> Rows:
    readers = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: unknown kind of file; skn reads {', '.join(FILE_KINDS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; give one with a header and rows")
    try:
        return Rows(readers[path.suffix](path), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path}: not a {path.suffix[1:]} file ({error})") from error


def _read_csv(path: Path) -> dict[str, list[Any]]:
    return _delimited(path, ",")


def _read_tsv(path: Path) -> dict[str, list[Any]]:
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> dict[str, list[Any]]:
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        header = next(reader)
        if len(set(header)) < len(header):
            raise InputError(f"{path}: two columns of the same name in the header ({', '.join(header)}); rename one")
        columns: dict[str, list[Any]] = {name: [] for name in header}
        for number, row in enumerate(reader, start=1):
            if len(row) != len(header):
                raise InputError(f"{path}: row {number} has {len(row)} fields, the header has {len(header)}")
            for name, value in zip(header, row, strict=True):
                columns[name].append(value)
    return columns


def _read_jsonl(path: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate((line for line in file if line.strip()), start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: row {number} is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number} is not a JSON object")
            if number == 1:
                columns = {name: [] for name in row}
            if row.keys() != columns.keys():
                raise InputError(f"{path}: row {number} has keys {sorted(row)}, row 1 has {sorted(columns)}")
            for name, value in row.items():
                columns[name].append(value)
    return columns


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a parquet file ({error})") from error
