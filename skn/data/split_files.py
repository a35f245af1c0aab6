"""Find the train, validation and test files of a folder by their names, whole or in shards."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from skn.data.files import FILE_KINDS, read_file
from skn.data.rows import Rows, concatenated
from skn.errors import InputError
from skn.store.delimited import Dialect

SPLIT_ALIASES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev", "validation_matched", "dev_matched"),  # the last two are MNLI's
    "test": ("test", "test_matched"),
}
_SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
# "train.csv", or a shard with a name as on the hub: "train-00000-of-00002.parquet".
_NAME = re.compile(
    rf"(?P<alias>{'|'.join(_SPLIT_OF)})(?:-(?P<shard>\d{{5}})-of-(?P<shards>\d{{5}}))?"
    rf"(?P<kind>{'|'.join(map(re.escape, FILE_KINDS))})",
    re.IGNORECASE,
)


def read_split_files(folder: Path, dialect: Dialect) -> dict[str, Rows]:
    """Read the splits of a folder, or of the folder ``data`` in it, as in a clone from the hub.

    Raises :class:`InputError`.
    """
    for place in (folder, folder / "data"):
        found = _files_by_split(place) if place.is_dir() else {}
        if found:
            return {split: _read_split(files, dialect) for split, files in found.items()}
    raise InputError(f"{folder}: no train/validation/test file ({', '.join(FILE_KINDS)}) and no saved data set in it")


def _files_by_split(folder: Path) -> dict[str, list[Path]]:
    """Return the file of each split, or its shards in order.

    Raises :class:`InputError` for two files of a split, or a gap.
    """
    named: dict[str, list[tuple[Path, re.Match[str]]]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match and not file.is_dir():
            named[_SPLIT_OF[match["alias"].lower()]].append((file, match))
    return {split: _checked(folder, split, named[split]) for split in SPLIT_ALIASES if split in named}


def _checked(folder: Path, split: str, named: list[tuple[Path, re.Match[str]]]) -> list[Path]:
    first = named[0][1]
    one_set = {(match["alias"], match["shards"], match["kind"]) for _, match in named}
    if len(one_set) > 1 or (len(named) > 1 and not first["shard"]):
        names = ", ".join(file.name for file, _ in named)
        raise InputError(f"{folder}: several files for the {split} split: {names}")
    if first["shards"]:
        there = {int(match["shard"]) for _, match in named}
        missing = sorted(set(range(int(first["shards"]))) - there)
        if missing:
            raise InputError(
                f"{folder}: of {int(first['shards'])} shards of the {split} split {missing[0]:05d} is missing; fetch all"
            )
    return [file for file, _ in named]


def _read_split(files: list[Path], dialect: Dialect) -> Rows:
    parts = [read_file(file, dialect) for file in files]
    if len(parts) == 1:
        return parts[0]
    return concatenated(parts, f"{files[0]} and {len(parts) - 1} more")
