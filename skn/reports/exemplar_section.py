"""The section of a run's report with the texts at the ends of neurons' ranges, each token shaded by its activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skn.neurons.exemplars import ENDS
from skn.reports.numbers import Numbers
from skn.reports.page import Section
from skn.reports.run_data import Exemplar, ExemplarsOfSplit, NeuronExemplars, Piece, ReportData

STEPS = 4  # of each colour

TITLE = "Texts at the ends of neurons' ranges"


@dataclass(frozen=True)
class ShadedTable:
    """The shaded texts of one neuron: rows of end, activation, class and (text, class of its colour, title, peak) pieces."""

    caption: str
    rows: Sequence[tuple[str, str, str, Sequence[tuple[str, str, str, bool]]]]


@dataclass(frozen=True)
class ShadedTexts:
    """Shaded texts in the page, a table for each neuron, and ``name``.csv beside it with the numbers."""

    name: str
    tables: Sequence[ShadedTable]
    numbers: Numbers


def exemplars(data: ReportData) -> Section | None:
    """The texts on which the stored neurons are most and least active, token by token."""
    if data.exemplars_missing is not None:
        return Section("exemplars", TITLE, [f"The texts cannot be shown: {data.exemplars_missing}"])
    if not data.exemplars:
        return None
    words = [_counted(of) for of in data.exemplars]
    if not any(piece.peak for of in data.exemplars for neuron in of.neurons for piece in _all_pieces(neuron)):
        words.append("This run's tokenizer does not tell which characters a token stands for, so no token is shaded.")
    return Section("exemplars", TITLE, words, shaded=[_shaded(of) for of in data.exemplars])


def _counted(of: ExemplarsOfSplit) -> str:
    first, several = of.neurons[0].highest, len(of.neurons)
    neurons = f"the first {several} stored neurons" if several > 1 else "the stored neuron"
    shown = sum(bool(one.pieces) for one in first)
    return f"Of the {of.split} split and {neurons}: the {shown} texts of each end that are shown. The csv file has all {len(first)}."


def _all_pieces(neuron: NeuronExemplars) -> list[Piece]:
    return [piece for text in (*neuron.highest, *neuron.lowest) for piece in text.pieces]


def _shaded(of: ExemplarsOfSplit) -> ShadedTexts:
    header = ["layer", "neuron", "end", "place", "activation", "row", "token", "class", "text"]
    rows = [
        [neuron.layer, neuron.neuron, end, place, one.activation, one.row, one.token, _label(of, one), one.text]
        for neuron in of.neurons
        for end in ENDS
        for place, one in enumerate(getattr(neuron, end), start=1)
    ]
    return ShadedTexts(f"exemplars-{of.split}", [_table(of, neuron) for neuron in of.neurons], Numbers(header, rows))


def _table(of: ExemplarsOfSplit, neuron: NeuronExemplars) -> ShadedTable:
    values = [abs(piece.activation) for piece in _all_pieces(neuron) if piece.activation is not None]
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    rows = [
        (end, f"{one.activation:.3f}", _label(of, one), [_cell(piece, most) for piece in one.pieces])
        for end in ENDS
        for one in getattr(neuron, end)
        if one.pieces
    ]
    return ShadedTable(f"Neuron {neuron.neuron} of layer {neuron.layer}, {of.split} split", rows)


def _label(of: ExemplarsOfSplit, one: Exemplar) -> str:
    return of.classes[of.label[one.row]]


def _cell(piece: Piece, most: float) -> tuple[str, str, str, bool]:
    """Return a piece's text, the CSS class of its colour, its title, and whether it is the token of the text's value."""
    value = piece.activation
    if value is None:
        return piece.text, "", "", False
    share = abs(value) / most if most > 0 and math.isfinite(value) else 0.0
    step = round(min(share, 1.0) * STEPS)
    return piece.text, f"{'above' if value > 0 else 'below'}-{step}" if step else "", f"{value:.3f}", piece.peak
