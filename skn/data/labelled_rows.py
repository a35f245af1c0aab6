"""Read the labelled rows of each split: the texts, and for each text the index of its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skn.data import labels, multilabel, sources
from skn.data.row_texts import TAKE_OUT, RowTexts
from skn.data.rows import Rows
from skn.data.spec import DataSpec
from skn.data.split_roles import split_roles
from skn.data.tasks import Task, get_task
from skn.errors import InputError

# A function for notes on the data. It takes a format and its values, as a logger does.
Note = Callable[..., None]

UNKNOWN = -1  # the label of a text whose class is not known, as on the Hugging Face hub


@dataclass(frozen=True)
class Part:
    """The labelled rows of one split. In a file of new texts, a label may be :data:`UNKNOWN`."""

    origin: str
    text: list[str]
    pair: list[str] | None
    label: list[int]


def read_parts(
    spec: DataSpec, task: Task | None, note: Note, *, stored: bool = False
) -> tuple[dict[str, Part], list[str]]:
    """Return the labelled rows of each split in the data, and the classes. Raises :class:`InputError`.

    :param stored: the rows belong to a run; runs of older versions have rows without a text.
    """
    found = _locate(spec, task)
    found_texts = {name: RowTexts.of(rows, spec, task) for name, rows in found.items()}
    found_keys, hidden = _labels(found, spec, task, note)
    roles = split_roles({name: rows.origin for name, rows in found.items()}, hidden, task, note)
    split_rows, texts, keys = (
        {ours: of[theirs] for ours, theirs in roles.items()} for of in (found, found_texts, found_keys)
    )
    for name in split_rows:
        keys[name] = _with_text(texts[name], keys[name], spec, note, stored)
    classes = _infer_classes(keys["train"], split_rows["train"]) if task is None else list(task.classes)
    index = {name: i for i, name in enumerate(classes)} if task is None else _index(task)
    parts = {}
    for name, rows in split_rows.items():
        kept = _labelled(rows, keys[name], index, classes, task=task)
        parts[name] = Part(rows.origin, *texts[name].take(kept), [index[keys[name][row]] for row in kept])
        _note_blank(rows, note)
    return parts, classes


def read_unseen(
    spec: DataSpec, labels_of_run: Sequence[str], names: Sequence[str], *, labelled: bool | None, note: Note
) -> tuple[Part, list[int]]:
    """Read the rows of a file that no run was trained on, and the kept rows' numbers in the file, counted from 0.

    A label may be written as in the run's data, or be the name of a class. A row without a text is refused.

    :param labelled: True refuses rows without a label, unless ``spec`` drops rows without a label or a text. False
        needs a column of labels, whose cells may be empty. None uses the column if it exists.

    Raises :class:`InputError`.
    """
    task = get_task(spec.task) if spec.task else None
    rows = sources.read_one(spec.data, spec.dialect)
    texts = RowTexts.of(rows, spec, task)
    if not labelled:
        # the message names no option to drop rows, because the user wants an answer for each row
        texts.refuse_missing(TAKE_OUT)
    if labelled is None and not _has_labels(rows, spec, task):
        _note_blank(rows, note)
        return Part(rows.origin, texts.text, texts.pair, [UNKNOWN] * len(rows)), list(range(len(rows)))
    own = {name: i for i, name in enumerate(labels_of_run)} if task is None else _index(task)
    index = {name: i for i, name in enumerate(names)} | own
    found, minus_one = labels.over_all_splits({"": _spelled(rows, _cells(rows, spec, task))}, index)
    keys = found[""]
    if labelled:
        _refuse_unlabelled(rows, keys, minus_one, spec, note)
        keys = _with_text(texts, keys, spec, note)
    known = set(_labelled(rows, keys, index, list(names), task=task))
    kept = [row for row in range(len(rows)) if row in known or not labelled]
    _note_blank(rows, note)
    label = [index[keys[row]] if row in known else UNKNOWN for row in kept]
    return Part(rows.origin, *texts.take(kept), label), kept


def _with_text(
    texts: RowTexts, keys: list[str | None], spec: DataSpec, note: Note, stored: bool = False
) -> list[str | None]:
    """Return the labels of the rows, with None for a row without a text that is left out.

    Raises :class:`InputError` if such rows may not be left out. Rows of a run keep their labels.
    """
    if not spec.drop_unlabelled:
        if not stored:
            texts.refuse_missing()
        return keys
    texts.note_missing(note)
    without = set(texts.without)
    return [None if row in without else key for row, key in enumerate(keys)]


def _note_blank(rows: Rows, note: Note) -> None:
    if rows.blank:
        note("%s: %d blank lines passed by", rows.origin, rows.blank)


def _has_labels(rows: Rows, spec: DataSpec, task: Task | None) -> bool:
    column = spec.label_column or (task.label if task else "label")
    return column in rows.columns or bool(task and task.one_of and task.classes[1] in rows.columns)


def _locate(spec: DataSpec, task: Task | None) -> dict[str, Rows]:
    if spec.data:
        return sources.read(spec.data, spec.dialect)
    if task is None:
        raise InputError("no data: give --task NAME (see 'skn tasks') or --data FILE|DIR|HUB_ID")
    if task.binarized_from:
        parent = task.binarized_from
        raise InputError(
            f"--task {task.name}: made from {parent}; run 'skn binarize --task {parent} --out DIR', then --data DIR/{task.name}"
        )
    if task.hub is None:
        raise InputError(f"--task {task.name}: has no data of its own; give --data")
    return sources.read_hub(task.hub, dict(task.splits) or None)


def _labels(
    split_rows: dict[str, Rows], spec: DataSpec, task: Task | None, note: Note
) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    """Return the label of every row of each split, and the held-out splits without any label.

    A label is None if a row has none and ``spec`` allows this. A split without any label, such as GLUE's test, is left
    out; its entry says in words why it counts as unlabelled.
    """
    bare = {name for name, rows in split_rows.items() if name != "train" and not _has_labels(rows, spec, task)}
    cells = {
        name: [None] * len(rows) if name in bare else _spelled(rows, _cells(rows, spec, task))
        for name, rows in split_rows.items()
    }
    keys, minus_one = labels.over_all_splits(cells, None if task is None else _index(task))
    nothing = {None} if labels.NO_LABEL in keys["train"] else {None, labels.NO_LABEL}
    hidden = {}
    for name, rows in split_rows.items():
        if name != "train" and nothing.issuperset(keys[name]):
            said = f" ({minus_one})" if minus_one else ""
            hidden[name] = f" (it has columns {', '.join(rows.columns)})" if name in bare else said
        else:
            _refuse_unlabelled(rows, keys[name], minus_one, spec, note)
    return keys, hidden


def _refuse_unlabelled(rows: Rows, keys: list[str | None], minus_one: str | None, spec: DataSpec, note: Note) -> None:
    """Raises :class:`InputError` for rows without a label.

    If ``spec`` allows such rows, notes how many are left out.
    """
    missing = [row for row, key in enumerate(keys) if key is None]
    why = "" if minus_one is None else f" ({minus_one})"
    if missing and not spec.drop_unlabelled:
        raise InputError(
            f"{rows.origin}: {len(missing)} rows without a label ({rows.places(missing)}){why}; "
            f"--drop-unlabelled leaves them out"
        )
    if missing:
        note("%s: %d rows without a label left out%s", rows.origin, len(missing), why)


def _cells(rows: Rows, spec: DataSpec, task: Task | None) -> list[Any]:
    if task is not None and task.one_of:
        return multilabel.membership(rows, task, spec.label_column)
    return rows.column(spec.label_column or (task.label if task else "label"), "--label-column")


def _spelled(rows: Rows, cells: list[Any]) -> list[str | None]:
    spelled = []
    for row, cell in enumerate(cells):
        try:
            spelled.append(labels.spelling(cell))
        except TypeError as error:
            where = f"{rows.origin}: {rows.places([row])}"
            raise InputError(f"{where}: the label is {error}; see --label-column") from None
    return spelled


def _labelled(
    rows: Rows, keys: list[str | None], index: dict[str, int], classes: list[str], *, task: Task | None
) -> list[int]:
    """Return the rows whose label is a class. If the task picks some labels, rows with other labels are left out."""
    picks = task is not None and task.labels is not None
    for row, key in enumerate(keys):
        if not (picks or key is None or key in index):
            raise InputError(
                f"{rows.origin}: {rows.places([row])}: label '{key}' is outside the classes ({', '.join(classes)}); "
                f"correct the row, or see {'--task' if task else '--label-column'}"
            )
    return [row for row, key in enumerate(keys) if key in index]


def _infer_classes(keys: list[str | None], rows: Rows) -> list[str]:
    """Return the distinct labels of train in order."""
    found = {key for key in keys if key is not None}
    if len(found) < 2:
        what = ", ".join(found) or "no label"
        raise InputError(f"{rows.origin}: one class only ({what}); at least two are needed, see --label-column")
    return labels.in_order(found)


def _index(task: Task) -> dict[str, int]:
    """Map every spelling of a label of the task, its name or its number in the data, to the class. Names come first."""
    wanted = task.labels or range(len(task.classes))
    return {name: i for i, name in enumerate(task.classes)} | {str(raw): i for i, raw in enumerate(wanted)}
