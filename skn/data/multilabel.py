"""Turn rows with several labels into a task of two classes: the rows with one label, and as many rows without it.

The run's seed draws the negatives without replacement from the rows of the same split. (The original of the emotion
tasks drew them with replacement from all rows, held-out rows included.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from skn.data.labels import NO_LABEL, are_numbers, spelling
from skn.data.rows import Rows
from skn.data.tasks import Task
from skn.errors import InputError
from skn.names import did_you_mean
from skn.seeds import generator

log = logging.getLogger(__name__)


def membership(rows: Rows, task: Task, label_column: str | None) -> list[Any]:
    """Return 1 for each row with the task's label, 0 for a row without it, None if the cell holds no label.

    skn reads the column of labels, whose cells hold indices or names ("2,17", 2, 2.0, [2, 17], "[2, 17]", ["anger",
    "joy"]). If there is no such column, skn reads a column of zeros and ones with the name of the task's label. Raises
    :class:`InputError`.
    """
    label_name = task.classes[1]
    column = label_column or (task.label if task.label in rows.columns else label_name)
    if column not in rows.columns and label_column is None:
        raise InputError(
            f"{rows.origin}: no column '{task.label}' and no column '{label_name}' "
            f"(it has {', '.join(rows.columns)}); see --label-column"
        )
    cells = rows.column(column, "--label-column")
    if column == label_name:
        return cells
    index = {name: i for i, name in enumerate(task.one_of)} | {str(i): i for i in range(len(task.one_of))}
    number = index[label_name]
    labels: list[int | None] = []
    for row, cell in enumerate(cells):
        if _is_empty(cell):
            labels.append(None)
        else:
            where = f"{rows.origin}: {rows.places([row])}: column '{column}'"
            labels.append(int(number in [_label(item, index, where) for item in _items(cell)]))
    return labels


def _is_empty(cell: Any) -> bool:
    """Whether a cell holds no label. A cell with -1 alone holds no label, as on the Hugging Face hub."""
    if isinstance(cell, list):
        return not cell
    if isinstance(cell, str) and cell.strip().startswith("["):
        return not _items(cell)
    return isinstance(cell, str | int | float | None) and spelling(cell) in (None, NO_LABEL)


def _items(cell: Any) -> list[Any]:
    """Return the labels of a cell. A text may be a list as Python or NumPy prints it, "[2, 27]" or "['joy' 'love']"."""
    if not isinstance(cell, str):
        return cell if isinstance(cell, list) else [cell]
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return text.split(",")
    inside = text[1:-1]
    return [item.strip().strip("'\"") for item in (inside.split(",") if "," in inside else inside.split())]


def _label(item: Any, index: dict[str, int], where: str) -> int:
    """Return the number of one label of a cell. 2.0 is 2, as in every column of labels."""
    if isinstance(item, bool) or not isinstance(item, int | str | float) or item != item:
        kind = type(item).__name__
        raise InputError(f"{where} holds {kind}; write the labels as indices or names, such as 2,17")
    key = spelling(item) or str(item).strip()
    if key not in index:
        last = len(index) // 2 - 1
        near = "" if are_numbers([key]) else did_you_mean(key, index)
        raise InputError(f"{where}: '{key}' is no label of this task{near or f'; give 0 to {last} or names'}")
    return index[key]


def draw(
    rows: dict[str, list[int]], labels: list[int], task: Task, seed: int, note: Callable[..., None]
) -> dict[str, list[int]]:
    """Return the rows of each split: all rows of class 1, and as many of class 0 that the seed draws, in the order of
    the data.

    Raises :class:`InputError` for a split without rows of class 1 or of class 0.
    """
    label_name, chosen = task.classes[1], {}
    for split, members in rows.items():
        positive = [i for i in members if labels[i] == 1]
        negative = [i for i in members if labels[i] == 0]
        if not positive or not negative:
            raise InputError(
                f"--task {task.name}: of {len(members)} rows of the {split} split {len(positive)} have '{label_name}'; "
                f"give rows with and without it, or leave the task out"
            )
        if len(negative) < len(positive):
            counts = len(negative), label_name, len(positive)
            note("%s: %d rows without '%s' to %d with it; all are taken", split, *counts)
        order = torch.randperm(len(negative), generator=generator(seed, task.name, split))
        chosen[split] = sorted(positive + [negative[i] for i in order[: len(positive)].tolist()])
    return chosen
