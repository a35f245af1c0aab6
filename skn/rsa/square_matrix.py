"""A square matrix of distances with the names of its conditions in the first row and the first column: one attribute."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError
from skn.names import did_you_mean
from skn.rsa.conditions import refuse_repeated
from skn.store.csv_tables import Table

NAMED = ("condition", "emotion")  # the names of a first column of conditions
TOLERANCE = 1e-6  # relative to the largest distance: the error of a file with six digits


def is_square(table: Table) -> bool:
    """Whether the first column holds names of the header.

    If the first column has the name of a column of conditions, the file may hold ratings, and an attribute may have the
    name of a condition: how much joy is in each emotion. Such a file is a matrix only if every condition has a column.
    """
    across = {name.strip() for name in table.header[1:]}
    down = {row[0].strip() for row in table.rows}
    return down <= across if table.header[0].strip().lower() in NAMED else bool(down & across)


def read_square(table: Table) -> tuple[list[str], Tensor]:
    """Return the conditions, and the distances of their pairs, float64 in the order of :mod:`skn.rsa.conditions`.

    Raises :class:`InputError` for a matrix that lacks a condition, is not symmetric, or has a diagonal other than zero.
    """
    across = [name.strip() for name in table.header[1:]]
    down = [row[0].strip() for row in table.rows]
    refuse_repeated(down, f"{table.path}: first column")
    for one, other, where in ((down, across, "first row"), (across, down, "first column")):
        lacking = next((name for name in one if name not in other), None)
        if lacking is not None:
            near = did_you_mean(lacking, other)
            raise InputError(
                f"{table.path}: '{lacking}' is not in the {where}{near}; a matrix names each condition in both"
            )
    columns = [table.numbers(name) for name in table.header[1:]]
    matrix = np.stack([columns[across.index(name)] for name in down], axis=1)
    _check(table, matrix, down)
    return down, torch.from_numpy(matrix[np.triu_indices(len(down), 1)])


def _check(table: Table, matrix: np.ndarray, names: list[str]) -> None:
    allowed = TOLERANCE * np.abs(matrix).max()
    for i, name in enumerate(names):
        where = f"{table.path}: line {table.lines[i]}"
        if abs(matrix[i, i]) > allowed:
            raise InputError(
                f"{where}: '{name}' is {matrix[i, i]:g} from itself, expected 0: give distances, not similarities"
            )
        unequal = np.flatnonzero(np.abs(matrix[i] - matrix[:, i]) > allowed)
        if len(unequal):
            other = names[unequal[0]]
            there, back = matrix[i, unequal[0]], matrix[unequal[0], i]
            raise InputError(
                f"{where}: '{name}' to '{other}' is {there:g}, '{other}' to '{name}' is {back:g}; make the matrix symmetric"
            )
