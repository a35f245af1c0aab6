"""A model's answer for each text: the class by name, the probability of every class, and the true class if it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skn.data.labelled_rows import UNKNOWN
from skn.data.new_texts import NewTexts
from skn.inference.measures import Score, majority
from skn.store.csv_tables import csv_text
from skn.tables import Table, span

SHORT_ROWS = 20  # rows in a table for people
SHORT_TEXT = 60  # characters
SHORT_CLASSES = 6  # with more classes, the table for people shows only the probability of the predicted class


@dataclass(frozen=True, repr=False)
class Predictions:
    """The answers of one model, named ``model``, for texts. ``logits`` [N, C] are its class scores."""

    model: str
    classes: list[str]
    texts: NewTexts
    logits: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def probabilities(self) -> Tensor:
        """[N, C] float64. Each row adds up to 1."""
        return self.logits.double().softmax(dim=1)

    @property
    def predicted(self) -> list[str]:
        """The predicted class of each text, by name."""
        return [self.classes[c] for c in self.logits.argmax(dim=1).tolist()]

    @property
    def truth(self) -> list[str | None] | None:
        """The true class of each text in the data, None for a text without one; None if no text has one."""
        label = self.texts.examples.label
        if all(c == UNKNOWN for c in label):
            return None
        return [None if c == UNKNOWN else self.classes[c] for c in label]

    @property
    def score(self) -> Score | None:
        """Accuracy, its 95% interval and AUC, over the texts with a known class."""
        label, known = self._known()
        return Score.of(self.logits[known], label[known]) if known.any() else None

    @property
    def majority(self) -> float | None:
        """The accuracy of always giving the larger class, over the texts with a known class."""
        label, known = self._known()
        return majority(label[known]) if known.any() else None

    def _known(self) -> tuple[Tensor, Tensor]:
        label = torch.tensor(self.texts.examples.label)
        return label, label != UNKNOWN

    def table(self) -> Table:
        """A table with one row for each text, uncut."""
        columns, rows = table_of([self])
        return Table(self._title(), columns, rows, {name: ".4f" for name in columns if name.startswith("P(")})

    def short(self) -> Table:
        """The first rows of the table, with shortened texts."""
        whole = self.table()
        columns, rows = list(whole.columns), [list(row) for row in whole.rows[:SHORT_ROWS]]
        if len(self.classes) > SHORT_CLASSES:
            best = self.probabilities.max(dim=1).values.tolist()
            rows = [[*row[: -len(self.classes)], p] for row, p in zip(rows, best, strict=False)]
            columns = [*columns[: -len(self.classes)], "probability"]
        texts = [columns.index(name) for name in ("text", "pair") if name in columns]
        for row in rows:
            for place in texts:
                row[place] = _shortened(row[place])
        return Table(whole.title, columns, rows, {**whole.formats, "probability": ".4f"})

    def to_pandas(self) -> Any:
        """The table as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def _title(self) -> str:
        title, score = f"Predictions of {self.model} for {self.texts.name} ({counted(len(self), 'text')}", self.score
        if score is None:
            return title + ")"
        known = int(self._known()[1].sum())
        of = "" if known == len(self) else f", {known:,} with a label"
        area = "" if score.auc is None else f"; AUC {score.auc:.4f}"
        return (
            f"{title}{of}; accuracy {score.accuracy:.4f}, 95%: {span(score.interval)}{area}; "
            f"the larger class alone: {self.majority:.4f})"
        )

    def _repr_html_(self) -> str:
        return self.short()._repr_html_()

    def __repr__(self) -> str:
        return str(self.short())


def table_of(models: Sequence[Predictions]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of the answers of one or several models for the same texts.

    Several models have their names in the header.
    """
    first = models[0]
    texts, truth = first.texts, first.truth
    shared = {"row": texts.rows, "text": texts.examples.text}
    if texts.examples.pair is not None:
        shared["pair"] = texts.examples.pair
    if truth is not None:
        shared["truth"] = truth
    header, columns = list(shared), list(shared.values())
    for one in models:
        of = f"{one.model}: " if len(models) > 1 else ""
        header += [f"{of}predicted", *(f"{of}P({name})" for name in one.classes)]
        columns += [one.predicted, *one.probabilities.T.tolist()]
    return header, [list(row) for row in zip(*columns, strict=True)]


def csv_of(models: Sequence[Predictions]) -> str:
    """The same table as the text of a csv file. An unknown true class is an empty cell."""
    return csv_text(*table_of(models))


def counted(number: int, what: str) -> str:
    """ "1 text", "1,000 texts"."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT_TEXT else line[: SHORT_TEXT - 1] + "…"
