"""Read the cells of a label column: one spelling for each class, and None for a cell without a label.

A label means the same however a file stores it. csv and tsv know only texts; jsonl and parquet also know numbers and
truth values. pandas turns whole numbers into 0.0 and 1.0 if a cell of the column is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

# pandas, NumPy and R write missing values in these ways. "none", "None" and "null" are names of classes in published
# data sets (stance "NONE", relation "none"), so they stay classes.
MISSING = frozenset(("", "nan", "NaN", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaT"))
TRUTH = {"False": "0", "True": "1"}
NO_LABEL = "-1"

_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ORDERED = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LISTED = re.compile(r"'[^']*'|\"[^\"]*\"|[+-]?[0-9][0-9.eE+-]*")
_LONGEST_NUMBER = 40  # a longer number is a name: nobody counts that far, and its conversion takes long


def over_all_splits(
    keys: Mapping[str, Sequence[str | None]], known: Collection[str] | None = None
) -> tuple[dict[str, list[str | None]], str | None]:
    """Decide over the column of all splits what the spelled labels ``keys`` mean. Also says in words what -1 means.

    Truth values become 0 and 1 if the column holds nothing else. -1 means "no label", as on the Hugging Face hub, in
    two cases: the task's labels are ``known`` and -1 is none of them, or the other labels are 0 to C−1. Otherwise -1 is
    a class.

    Example::

        >>> over_all_splits({"train": ["0", "1"], "test": ["True", None, "-1"]})
        ({'train': ['0', '1'], 'test': ['1', None, None]}, '-1 beside 0 to 1 is no label')
    """
    found = {key for column in keys.values() for key in column if key is not None} - {NO_LABEL}
    truth = TRUTH if found <= {*TRUTH, *TRUTH.values()} else {}
    found = {truth.get(key, key) for key in found}
    if known is None:
        unlabelled, beside = len(found) > 1 and found == {str(i) for i in range(len(found))}, f"0 to {len(found) - 1}"
    else:
        unlabelled, beside = NO_LABEL not in known, "the task's labels"
    read = {split: [truth.get(key, key) for key in column] for split, column in keys.items()}
    if not unlabelled or not any(NO_LABEL in column for column in read.values()):
        return read, None
    read = {split: [None if key == NO_LABEL else key for key in column] for split, column in read.items()}
    return read, f"-1 beside {beside} is no label"


def spelling(cell: Any) -> str | None:
    """Return a label as text; None if the cell holds no label.

    A whole number has no decimal point. A list of one label counts as that label. Raises ``TypeError`` for a list of
    several labels and for values of other types.
    """
    if isinstance(cell, str):
        items = _listed(cell.strip())
        cell = cell if items is None else items
    if isinstance(cell, list):
        if len(cell) > 1:
            raise TypeError(f"a list of {len(cell)}, expected a text or a number")
        cell = cell[0] if cell else None
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if not isinstance(cell, str | int | float | Decimal):  # a truth value is an int
        raise TypeError(f"a {type(cell).__name__}, expected a text or a number")
    text = str(cell).strip()
    return None if text in MISSING else _number(text)


def are_numbers(keys: Collection[str]) -> bool:
    """Whether all labels are bare numbers."""
    return all(_ORDERED.fullmatch(key) for key in keys)


def in_order(keys: Collection[str]) -> list[str]:
    """Sort labels into the order of classes: by value if all are numbers, otherwise by the alphabet."""
    if are_numbers(keys):
        return sorted(keys, key=lambda key: (float(key), len(key), key))
    return sorted(keys)


def _listed(text: str) -> list[str] | None:
    """The items of a list as Python, NumPy or JSON prints it, which is how csv files hold one; None for another text.

    Items are numbers or quoted: "[2, 27]", "['joy' 'love']"; "[joy]" may be the name of a class.
    """
    if not (text.startswith("[") and text.endswith("]")):
        return None
    between = _LISTED.sub("", text[1:-1])
    return None if between.strip(" ,\n") else [item.strip("'\"") for item in _LISTED.findall(text[1:-1])]


def _number(text: str) -> str:
    """Write 1.0, +1 and 1e0 as 1, and 0.50 as 0.5. Other texts stay. 01 stays, too, because it may be a code."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return text
    whole, _, fraction = text.partition(".")
    if not fraction.strip("0") and "e" not in text.lower():
        return str(int(whole))
    value = float(text)
    if not math.isfinite(value):
        return text
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
