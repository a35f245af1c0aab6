"""The rank table of Li et al. (2023): a column for each attribute, a row for each neuron, layer-major, no index.

Rank 1 is the best neuron. Equal taus share their average rank. NA is a neuron without a tau. The masking step of Li et
al. reads such a file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from skn.errors import InputError
from skn.names import did_you_mean
from skn.neurons.foreign import MODEL_EMOTION, Foreign
from skn.rsa.conditions import refuse_repeated
from skn.store import atomic
from skn.store.csv_tables import Table, csv_text, neuron_shape, read_table

MISSING = "NA"


def read_ranks(path: Path, columns: list[str] | None = None, shape: tuple[int, int] | None = None) -> Foreign:
    """Read ``columns``, by default all, as an artifact ``rsa`` that holds only ``rank`` [attribute, L, F].

    ``shape`` (L, F) is needed if the number of neurons is not that of the published model. Raises :class:`InputError`.
    """
    table = read_table(path)
    names = columns or table.header
    refuse_repeated(names, "--column", "column")
    for name in names:
        if name not in table.header:
            raise InputError(f"{path}: no column '{name}'{did_you_mean(name, table.header) or _has(table)}")
        if not name.strip():
            raise InputError(f"{path}: a column without a name, as an index has; name those wanted with --column")
    sizes = neuron_shape(shape, len(table.rows), path)
    rank = np.stack([_rank(table, name) for name in names]).reshape(-1, *sizes)
    meta = {"attributes": names}
    return Foreign("rsa", "ranks", MODEL_EMOTION, {"rank": torch.from_numpy(rank)}, meta=meta)


def write_ranks(path: Path, names: list[str], rank: np.ndarray) -> None:
    """Write ranks [attribute, N] float64 as such a file. A rank between two neurons keeps its half."""
    rows = ([MISSING if value != value else f"{value:.12g}" for value in row] for row in rank.T.tolist())
    atomic.write_text(path, csv_text(names, rows))


def _rank(table: Table, name: str) -> np.ndarray:
    values = table.numbers(name, MISSING)
    if np.isnan(values).all():
        raise InputError(f"{table.path}: column '{name}' is {MISSING} in every row; it ranks nothing")
    outside = np.flatnonzero((values < 1) | (values > len(values)))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            f"{table.path}: line {table.lines[row]}, column '{name}': rank {values[row]:g} is outside 1 to {len(values)}"
        )
    return values


def _has(table: Table) -> str:
    return f" (it has {', '.join(table.header)})"
