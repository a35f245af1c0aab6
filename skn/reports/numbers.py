"""The numbers in a figure, for a csv file beside the figure. A missing number is an empty cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skn.neurons.mask_table import WORDS, controls_of
from skn.reports.run_data import FamilyWise
from skn.store.csv_tables import csv_text


@dataclass(frozen=True)
class Numbers:
    """Columns by name, and a row for each drawn thing."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def csv(self) -> bytes:
        return csv_text(self.header, ([_cell(value) for value in row] for row in self.rows)).encode()


def _cell(value: Any) -> Any:
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if absent else value


def of_training(history: Sequence[dict[str, float]]) -> Numbers:
    """A row for each step that has a measurement."""
    steps: dict[float, dict[str, float]] = {}
    for entry in history:
        steps.setdefault(entry["step"], {}).update(entry)
    rows = [[step, entry.get("eval_accuracy"), entry.get("loss")] for step, entry in sorted(steps.items())]
    return Numbers(["step", "validation_accuracy", "training_loss"], rows)


def of_histogram(activation: np.ndarray, label: np.ndarray, classes: Sequence[str], bins: int) -> Numbers:
    """A row for each bar: its ends, and the share of each class in it. Values that are not finite are left out."""
    finite = np.isfinite(activation)
    activation, label = activation[finite].astype(np.float64), label[finite]
    edges = np.histogram_bin_edges(activation, bins=bins)
    counts = [np.histogram(activation[label == c], edges)[0] for c in range(len(classes))]
    shares = [count / max(count.sum(), 1) for count in counts]
    rows = [[*pair, *bar] for pair, bar in zip(_pairs(edges), np.transpose(shares).tolist(), strict=True)]
    return Numbers(["from", "to", *classes], rows)


def _pairs(edges: np.ndarray) -> Iterator[tuple[float, float]]:
    return zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def of_neurons(score: np.ndarray, family: FamilyWise | None = None) -> Numbers:
    """A row for each neuron: its place and its score, from [L, F] with NaN without a neuron, and its family-wise p."""
    layers, neurons = np.nonzero(~np.isnan(score))
    columns = [layers, neurons, score[layers, neurons], *([] if family is None else [family.p[layers, neurons]])]
    header = ["layer", "neuron", "predictivity", *([] if family is None else [f"p_family_{family.split}"])]
    return Numbers(header, list(zip(*(column.tolist() for column in columns), strict=True)))


def of_mask(mask: Mapping[str, Any]) -> Numbers:
    """A row for each set, measure and match, with its random sets."""
    header = ["fraction", "neurons", "measure", "chosen", "chosen_low", "chosen_high"]
    header += ["random_mean", "random_low", "random_high", "random_sets", "match"]
    cells = []
    for row in mask["rows"]:
        for measure in WORDS:
            own = row.get("interval") if measure == "accuracy" else None
            chosen = [row["fraction"], row["neurons"], measure, row[measure], *(own or (None, None))]
            for match, controls in controls_of(mask, row).items():
                control = (controls or {}).get(measure)
                ends = [control[key] for key in ("mean", "low", "high")] if control else [None] * 3
                sets = [len(control["draws"]), match] if control else [0, None]
                cells.append([*chosen, *ends, *sets])
    return Numbers(header, cells)


def of_models(models: Sequence[dict[str, Any]]) -> Numbers:
    """A row for each model with its evaluation."""
    header = ["model", "parameters", "accuracy", "accuracy_low", "accuracy_high", "auc"]
    speeds = ["median", "low", "high", "repeats"]
    rows = []
    for model in models:
        ends, speed = model.get("interval") or (None, None), model.get("examples_per_second") or {}
        measured = [model.get(key) for key in ("name", "parameters", "accuracy")]
        rows.append([*measured, *ends, model.get("auc"), *(speed.get(key) for key in speeds)])
    return Numbers([*header, *(f"examples_per_second_{key}" for key in speeds)], rows)
