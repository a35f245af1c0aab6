"""Attributes of conditions as distances between the conditions: from ratings, or from measured distances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skn.data.emotions import PUBLISHED_ORDER
from skn.errors import InputError
from skn.names import did_you_mean
from skn.rsa.conditions import condition_count, listed, pair_count, pair_numbers, pairs_of, refuse_repeated
from skn.rsa.square_matrix import NAMED, is_square, read_square
from skn.store.csv_tables import Table, read_table

_PAIRED = ("condition_1", "condition_2")


@dataclass(frozen=True)
class Attributes:
    """``distance`` float64 [pairs, attribute], with pairs of ``conditions`` in the order of :mod:`skn.rsa.conditions`.

    ``origin`` says in words how skn read the rows of the file.
    """

    names: list[str]
    conditions: list[str]
    distance: Tensor
    origin: str

    def among(self, chosen: list[str], path: Path) -> Attributes:
        """Return the distances between the ``chosen`` conditions, in their order. Raises :class:`InputError`."""
        unknown = next((name for name in chosen if name not in self.conditions), None)
        if unknown is not None:
            raise InputError(
                f"{path}: the activations have condition '{unknown}', which these attributes have not"
                f"{did_you_mean(unknown, self.conditions) or ' (they have ' + listed(self.conditions) + ')'}"
            )
        rows = pairs_of([self.conditions.index(name) for name in chosen], len(self.conditions))
        return Attributes(self.names, chosen, self.distance[rows], self.origin)


def read_attributes(path: Path, conditions: list[str] | None, ours: list[str]) -> Attributes:
    """Read ratings or distances from a csv file, or from a folder of matrices. Raises :class:`InputError`.

    - A square matrix with names in the first row and the first column: the distances of one attribute, named after the
      file. A folder of such files: one attribute for each file.
    - A first column "condition" or "emotion": ratings by name; the distance of two conditions is the difference. -
      First columns "condition_1", "condition_2": distances by name. - Otherwise: distances in the order of the strict
      lower triangle, column by column, of ``conditions``. Without ``conditions``: of
      the published order if there are as many pairs as the 27 emotions have, otherwise of ``ours``.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv")
        if not files:
            raise InputError(
                f"{path}: no csv file in this folder; give a file, or a folder of square matrices of distances"
            )
        return _matrices([read_table(file) for file in files], conditions)
    table = read_table(path)
    if is_square(table):
        return _matrices([table], conditions)
    first = [name.strip().lower() for name in table.header[:2]]
    if first[0] in NAMED or tuple(first) == _PAIRED:
        if conditions is not None:
            raise InputError(f"--conditions: {path} names its conditions itself")
        return _ratings(table) if first[0] in NAMED else _named_distances(table)
    return _distances(table, conditions, ours)


def _matrices(tables: list[Table], conditions: list[str] | None) -> Attributes:
    """Read one attribute from each matrix, over the conditions of the first matrix."""
    if conditions is not None:
        raise InputError(f"--conditions: {tables[0].path} names its conditions itself")
    names: list[str] = []
    distances = []
    for table in tables:
        if not is_square(table):
            raise InputError(
                f"{table.path}: no square matrix with names in the first row and the first column; take it out"
            )
        own, distance = read_square(table)
        names = names or own
        if sorted(own) != sorted(names):
            odd = next(iter({*own} ^ {*names}))
            raise InputError(
                f"{table.path}: not of the conditions of {tables[0].path}: '{odd}' is in one of them alone"
            )
        distances.append(distance[pairs_of([own.index(name) for name in names], len(names))])
    attributes = [table.path.stem for table in tables]
    origin = f"square matrices of {len(names)} conditions by name, {len(tables)} of them"
    return Attributes(attributes, names, torch.stack(distances, dim=1), origin)


def _ratings(table: Table) -> Attributes:
    names = [name.strip() for name in table.column(table.header[0])]
    refuse_repeated(names, str(table.path))
    attributes, values = _columns(table, 1)
    first, second = np.triu_indices(len(names), 1)
    distance = torch.from_numpy(np.abs(values[first] - values[second]))
    return Attributes(attributes, names, distance, f"ratings of {len(names)} conditions by name")


def _named_distances(table: Table) -> Attributes:
    pairs = [(one.strip(), other.strip()) for one, other in zip(*map(table.column, table.header[:2]), strict=True)]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    numbers = pair_numbers(len(names))
    row_of: dict[int, int] = {}
    for row, pair in enumerate(pairs):
        number = int(numbers[names.index(pair[0]), names.index(pair[1])])
        if number < 0 or number in row_of:
            what = "a condition with itself" if number < 0 else f"the pair of line {table.lines[row_of[number]]} again"
            raise InputError(f"{table.path}: line {table.lines[row]}: '{pair[0]}' and '{pair[1]}' is {what}")
        row_of[number] = row
    if len(row_of) < pair_count(len(names)):
        missing = next(n for n in range(pair_count(len(names))) if n not in row_of)
        one, other = (names[int(i)] for i in (numbers == missing).nonzero()[0])
        raise InputError(
            f"{table.path}: no row for '{one}' and '{other}'; {len(names)} conditions have {pair_count(len(names))} pairs"
        )
    attributes, values = _columns(table, 2)
    distance = torch.from_numpy(values[[row_of[number] for number in range(len(row_of))]])
    return Attributes(attributes, names, distance, f"distances of {len(pairs)} pairs by name")


def _distances(table: Table, conditions: list[str] | None, ours: list[str]) -> Attributes:
    pairs = len(table.rows)
    count = condition_count(pairs)
    if count is None:
        near = next(n for n in range(2, pairs + 3) if pair_count(n) > pairs)
        raise InputError(
            f"{table.path}: {pairs} rows are the pairs of no number of conditions ({near - 1} have "
            f"{pair_count(near - 1)}, {near} have {pair_count(near)}); ratings need a first column 'condition'"
        )
    attributes, values = _columns(table, 0)
    names, whose = _order(table.path, conditions, ours, count)
    origin = (
        f"distances of {pairs} pairs without names, taken as the strict lower triangle column by column; "
        f"conditions in {whose}: {', '.join(names)}"
    )
    return Attributes(attributes, names, torch.from_numpy(values), origin)


def _order(path: Path, conditions: list[str] | None, ours: list[str], count: int) -> tuple[list[str], str]:
    """Return the conditions whose pairs are the rows, and say how they are known."""
    if conditions is not None:
        refuse_repeated(conditions, "--conditions")
        if len(conditions) != count:
            raise InputError(f"--conditions: {len(conditions)} names, {path} holds the pairs of {count} conditions")
        return conditions, "the order of --conditions"
    if count == len(PUBLISHED_ORDER) and set(ours) <= set(PUBLISHED_ORDER):
        return list(PUBLISHED_ORDER), "the published order"
    if count == len(ours):
        return ours, "the order of the activations"
    raise InputError(
        f"{path}: the pairs of {count} conditions, the activations have {len(ours)}; name them with --conditions"
    )


def _columns(table: Table, skipped: int) -> tuple[list[str], np.ndarray]:
    """Return names and values [rows, attribute] of the columns after the first ``skipped``."""
    header = table.header[skipped:]
    if not header or not all(name.strip() for name in header):
        what = "a column without a name" if header else "no column of an attribute"
        raise InputError(f"{table.path}: {what}; every attribute is a named column")
    return [name.strip() for name in header], np.stack([table.numbers(name) for name in header], axis=1)
