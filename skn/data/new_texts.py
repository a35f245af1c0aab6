"""Texts that a run was not trained on: given as texts, or read from one file, with each class if it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skn.data.labelled_rows import UNKNOWN, Note, read_unseen
from skn.data.spec import DataSpec
from skn.data.splits import Examples
from skn.errors import InputError


@dataclass(frozen=True)
class NewTexts:
    """Examples with the label :data:`UNKNOWN` if the class is not known. ``rows`` are their numbers, counted from 1.

    ``name`` says where the examples come from.
    """

    name: str
    examples: Examples
    rows: list[int]

    def __len__(self) -> int:
        return len(self.rows)


def given_texts(texts: str | Sequence[str] | Sequence[tuple[str, str]]) -> NewTexts:
    """Take the user's texts, or pairs of texts. Raises :class:`InputError` for anything else."""
    several = [texts] if isinstance(texts, str) else list(texts)
    if not several:
        raise InputError("--text: no text is given; give at least one")
    pairs = [isinstance(text, tuple | list) and len(text) == 2 for text in several]
    parts = list(zip(*several, strict=True)) if all(pairs) else [tuple(several)]
    if any(not isinstance(text, str) for part in parts for text in part):
        raise InputError("texts: expected texts, or pairs of texts for a task on pairs, all of one kind")
    for number, together in enumerate(zip(*parts, strict=True), start=1):
        if not all(map(str.strip, together)):
            raise InputError(f"--text: text {number} is empty; give each a word at least")
    text, pair = list(parts[0]), (list(parts[1]) if len(parts) == 2 else None)
    return NewTexts("given texts", Examples(text, pair, [UNKNOWN] * len(text)), list(range(1, len(text) + 1)))


def read_new(
    spec: DataSpec, labels: Sequence[str], names: Sequence[str], *, labelled: bool | None, note: Note
) -> NewTexts:
    """Read the rows of the file ``spec.data`` with :func:`skn.data.labelled_rows.read_unseen`."""
    part, kept = read_unseen(spec, labels, names, labelled=labelled, note=note)
    return NewTexts(part.origin, Examples(part.text, part.pair, part.label), [row + 1 for row in kept])
