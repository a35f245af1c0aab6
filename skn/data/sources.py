"""Read rows from a file, a folder of splits, a saved ``datasets`` folder or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skn.data.files import FILE_KINDS, read_file
from skn.data.rows import Rows
from skn.data.split_files import SPLIT_ALIASES, read_split_files
from skn.errors import InputError
from skn.store.delimited import PLAIN, Dialect
from skn.store.foreign_files import reading
from skn.store.hub import asking, refuse_path


def read(location: str, dialect: Dialect = PLAIN) -> dict[str, Rows]:
    """Read the splits of a file, a folder or a hub id. A single file is all "train".

    ``dialect`` says how the text files are written. Raises :class:`InputError` if the data is missing, empty or not
    readable.
    """
    path = Path(location)
    if path.is_dir():
        splits = _read_folder(path, dialect)
    elif path.exists():
        splits = {"train": read_file(path, dialect)}
    else:
        refuse_path(location.partition(":")[0], "no such file or folder", "; see --data")
        splits = read_hub(location)
    for name, rows in splits.items():
        if not len(rows):
            raise InputError(f"{rows.origin}: no rows for the {name} split; give a file with rows below its header")
    if "train" not in splits:
        raise InputError(f"{location}: no train split (found {', '.join(splits) or 'nothing'}); add a train file")
    return splits


def read_one(location: str, dialect: Dialect = PLAIN) -> Rows:
    """Read the rows of a single file. Raises :class:`InputError` as :func:`read` does, and for a folder."""
    path = Path(location)
    if path.is_dir():
        raise InputError(f"{location}: a folder; give one file ({', '.join(FILE_KINDS)})")
    if not path.exists():
        raise InputError(f"{location}: no such file; see --data")
    rows = read_file(path, dialect)
    if not len(rows):
        raise InputError(f"{location}: no rows; give a file with rows below its header")
    return rows


def read_hub(identifier: str, names: dict[str, str] | None = None) -> dict[str, Rows]:
    """Read a data set of the hub, "owner/name" or "owner/name:configuration".

    ``names`` maps skn's splits to the hub's.
    """
    import datasets

    repository, _, configuration = identifier.partition(":")
    try:
        with asking(repository):
            hub_splits = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # for "not there" and "no network", the library raises many unrelated types
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = f"neither a file, a folder nor a reachable data set of the hub ({first})"
        raise InputError(f"{identifier}: {what}; see --data") from error
    with reading(identifier, "a data set of the hub that cannot be read"):
        found = names or _matched_splits(hub_splits)
        return {ours: _from_datasets(hub_splits[theirs], f"{identifier}/{theirs}") for ours, theirs in found.items()}


def _matched_splits(available: Any) -> dict[str, str]:
    return {split: alias for split, aliases in SPLIT_ALIASES.items() for alias in aliases if alias in available}


def _read_folder(folder: Path, dialect: Dialect) -> dict[str, Rows]:
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _read_saved(folder)
    return read_split_files(folder, dialect)


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
