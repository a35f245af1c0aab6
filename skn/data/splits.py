"""Turn a data set into labelled rows in frozen, disjoint splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from skn.data import multilabel
from skn.data.labelled_rows import Note, read_parts
from skn.data.spec import SPLITS, DataSpec, column_names
from skn.data.task_file import spec_of
from skn.data.tasks import get_task
from skn.errors import InputError
from skn.names import one_of
from skn.store import artifacts
from skn.texts import shown

log = logging.getLogger(__name__)

# If a data set lacks a split, the hash of a row's content gives the row a number in [0, 1): [0, 0.1) is test, [0.1,
# 0.2) validation, and the other rows are train.
HELD_OUT = {"test": (0.0, 0.1), "validation": (0.1, 0.2)}


@dataclass(frozen=True)
class Examples:
    """Texts with class indices. ``pair`` holds the second text of each example, if the task has pairs."""

    text: list[str]
    pair: list[str] | None
    label: list[int]

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: list[int]) -> Examples:
        pair = None if self.pair is None else [self.pair[i] for i in rows]
        return Examples([self.text[i] for i in rows], pair, [self.label[i] for i in rows])


@dataclass(frozen=True)
class LabelledData:
    """A data set with its classes and its frozen, disjoint splits.

    ``rows`` maps each split to row numbers of ``examples``. ``digest`` covers the content of all rows. ``spec``
    describes the source. ``words`` and ``names`` are the label words and the names of the classes from a task file.
    """

    examples: Examples
    classes: list[str]
    rows: dict[str, list[int]]
    digest: str
    spec: DataSpec
    words: list[str] | None = None
    names: list[str] | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in self.rows.items())
        return f"<data {self.spec.name}: {counts}; classes {shown(', '.join(self.classes))}>"

    @property
    def has_pairs(self) -> bool:
        """Whether each example has a second text."""
        return self.examples.pair is not None

    def split(self, name: str) -> Examples:
        one_of(name, SPLITS, "--split")
        return self.examples.take(self.rows[name])


def load_data(
    source: str | Path | None = None,
    *,
    task: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    drop_unlabelled: bool = False,
    quoting: str | None = None,
    encoding: str | None = None,
    columns: str | Sequence[str] | None = None,
) -> LabelledData:
    """Read labelled texts into frozen, disjoint splits.

    Args:
        source: a csv, tsv, jsonl, json or parquet file, a folder with train, validation and test files of these kinds
            (whole or in shards, ``train-00000-of-00002.parquet``), a saved ``datasets`` folder, a hub id, or a TOML
            task file. A hash of each row's content assigns rows to a missing split. A held-out split without any label
            counts as missing. When the test split has no label, as in GLUE, the validation split becomes the test
            split.
        task: a task of the registry ("sst2", "goemotions/joy"). It gives the columns, classes and label words, and
            without a ``source`` the data on the hub.
        text: the column with the text; by default the task's, or "text".
        pair: the column with the second text of a pair; by default the task's.
        label: the column with the label; by default the task's, or "label". Labels become classes by value if all are
            numbers, otherwise by the alphabet. 1 and 1.0 are one label, 01 is another.
        drop_unlabelled: leave out rows without a label or without a text; by default such rows are refused. "No label"
            means a missing or empty cell, "nan", "NA" and the other missing values of pandas and R ("none" and "null"
            may be classes), or -1 where the other labels are 0 to C−1. "No text" means a missing cell, an empty cell,
            or white space alone.
        quoting: how csv and tsv files quote. None: a quoted field ends in its line. "multiline": a quoted field may go
            on over lines. "none": the file does not quote, and a quote is a letter.
        encoding: the encoding of text files that are not UTF-8: "cp1252", "utf-16".
        columns: names for the columns of csv and tsv files without a header line: ["text", "label"].

    Returns:
        ``examples``, ``classes`` and ``rows`` of each split.

    Raises:
        InputError: a file, a column, a label or a split is missing. The message names the row.

    Example::

        >>> data = skn.load_data(folder, text="text", label="label")
        >>> data.classes, len(data.rows["train"])
        (['0', '1'], 160)
    """
    if task is not None:
        get_task(task)
    asked = {"text_column": text, "pair_column": pair, "label_column": label, "drop_unlabelled": drop_unlabelled}
    asked |= {"quoting": quoting, "encoding": encoding, "columns": column_names(columns)}
    spec, words, names = spec_of(None if source is None else str(source), asked, task)
    return replace(read_data(spec), words=words, names=names)


def read_data(spec: DataSpec, note: Note = log.info) -> LabelledData:
    """Read, label and split a data set. Raises :class:`InputError`.

    A stage that may still refuse its input passes a ``note`` that holds the notes back, so that a refusal has no notes
    before it.
    """
    task = get_task(spec.task) if spec.task else None
    read = _read_rows(spec, note)
    rows = _freeze_splits(read.examples, read.rows, read.origin, note)
    if task is not None and task.one_of:
        rows = multilabel.draw(rows, read.examples.label, task, spec.draw_seed, note)
    _require_every_class(read.examples, rows, read.classes, note)
    return LabelledData(read.examples, read.classes, rows, _digest(read.examples), spec)


class _Rows(NamedTuple):
    """All rows of the data, and the rows of each split that the data has. ``origin`` is the place of train."""

    examples: Examples
    classes: list[str]
    rows: dict[str, list[int]]
    origin: str


def _read_rows(spec: DataSpec, note: Note, *, stored: bool = False) -> _Rows:
    """Read all rows. Raises :class:`InputError`. ``stored`` rows may have what only older versions accepted."""
    parts, classes = read_parts(spec, get_task(spec.task) if spec.task else None, note, stored=stored)
    examples = Examples([], [] if parts["train"].pair is not None else None, [])
    given: dict[str, list[int]] = {}
    for name, part in parts.items():
        given[name] = list(range(len(examples), len(examples) + len(part.text)))
        examples.text.extend(part.text)
        examples.label.extend(part.label)
        if part.pair is not None:
            examples.pair.extend(part.pair)
    return _Rows(examples, classes, given, parts["train"].origin)


def digest_at(spec: DataSpec) -> str:
    """Return the digest of a run's data at the place in ``spec``. Raises :class:`InputError`."""
    return _digest(_read_rows(spec, lambda *_: None, stored=True).examples)


def save_splits(data: LabelledData, path: Path) -> None:
    """Store the splits of a run. Every stage reads them back with :func:`load_splits`."""
    tensors = {name: torch.tensor(data.rows[name], dtype=torch.int64) for name in SPLITS}
    artifacts.save(path, "splits", tensors, {"split_digest": data.digest}, classes=data.classes)


def load_splits(spec: DataSpec, path: Path) -> LabelledData:
    """Read the data again and apply the stored splits. Raises :class:`InputError` if the data has changed since."""
    stored = artifacts.load(path, "splits")
    read, wanted = _read_rows(spec, lambda *_: None, stored=True), stored.provenance.get("split_digest")
    # older versions did not read the held-out files of MNLI
    if wanted == _digest(read.examples.take(read.rows["train"])):
        read = read._replace(examples=read.examples.take(read.rows["train"]))
    digest = _digest(read.examples)
    if digest != wanted:
        raise InputError(
            f"{spec.data or spec.task}: the data has changed since {path} was made, or is another; give the run's own with "
            f"--data, or train a new run on it"
        )
    rows = {name: stored[name].tolist() for name in SPLITS}
    for name, places in rows.items():
        if not places or min(places) < 0 or max(places) >= len(read.examples):
            raise InputError(
                f"{path}: damaged (split {name} has no rows, or some that the data has not); train a new run"
            )
    return LabelledData(read.examples, read.classes, rows, digest, spec)


def without_rows(spec: DataSpec, path: Path) -> LabelledData:
    """Return what the stored splits know of the data, its classes and its digest, for stages that need no rows."""
    stored = artifacts.load(path, "splits")
    classes, digest = stored.meta.get("classes"), stored.provenance.get("split_digest")
    if not isinstance(classes, list) or not isinstance(digest, str):
        raise InputError(f"{path}: damaged (it does not say the classes of the data); train a new run")
    return LabelledData(Examples([], None, []), classes, {name: [] for name in SPLITS}, digest, spec)


def count_shared(data: LabelledData, split: str, examples: Examples) -> int:
    """Count the examples that also occur in a split of the data, compared by their texts."""
    own = {_content_key(data.examples, row) for row in data.rows[split]}
    return sum(_content_key(examples, row) in own for row in range(len(examples)))


def _freeze_splits(examples: Examples, given: dict[str, list[int]], origin: str, note: Note) -> dict[str, list[int]]:
    """Complete the splits by content hash, and make them disjoint: test wins over validation, and both over train."""
    keys = [_content_key(examples, i) for i in range(len(examples))]
    rows = {name: list(given.get(name, [])) for name in SPLITS}
    for name, (low, high) in HELD_OUT.items():
        if name not in given:
            rows[name] = [i for i in given["train"] if low <= _share(keys[i]) < high]
            assigned = set(rows[name])
            rows["train"] = [i for i in rows["train"] if i not in assigned]
    held_out: set[bytes] = set()
    for name in ("test", "validation", "train"):
        disjoint = [i for i in rows[name] if keys[i] not in held_out]
        if len(disjoint) < len(rows[name]):
            note("%s: %d rows left out, they occur in a held-out split", name, len(rows[name]) - len(disjoint))
        rows[name] = disjoint
        held_out |= {keys[i] for i in rows[name]}
    for name in SPLITS:
        if not rows[name]:
            raise InputError(
                f"{origin}: the data is too small: no rows for the {name} split; give more rows, or a folder with a file "
                f"for each split"
            )
    return rows


def _content_key(examples: Examples, row: int) -> bytes:
    pair = "" if examples.pair is None else examples.pair[row]
    return hashlib.sha256(f"{examples.text[row]}\x1f{pair}".encode()).digest()


def _share(key: bytes) -> float:
    return int.from_bytes(key[:8], "big") / 2**64


def _digest(examples: Examples) -> str:
    hasher = hashlib.sha256()
    for row, label in enumerate(examples.label):
        hasher.update(_content_key(examples, row) + label.to_bytes(4, "big"))
    return hasher.hexdigest()[:16]


def _require_every_class(examples: Examples, rows: dict[str, list[int]], classes: list[str], note: Note) -> None:
    for split in SPLITS:
        present = {examples.label[i] for i in rows[split]}
        absent = [name for i, name in enumerate(classes) if i not in present]
        if split == "train" and len(present) < 2:
            raise InputError(
                f"one class only in the train split ({classes[next(iter(present))]}); at least two are needed, "
                f"give train rows of another"
            )
        if absent:
            note("%s: no rows of class %s", split, ", ".join(absent))
