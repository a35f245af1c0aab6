"""How texts become a model's input, and its scores become names: tokenizer, length, classes, columns of a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skn.data.files import SAYABLE
from skn.data.labelled_rows import Note
from skn.data.new_texts import NewTexts, read_new
from skn.data.spec import DataSpec
from skn.data.splits import Examples
from skn.data.tasks import get_task
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.batches import Encoded, tokenize
from skn.inference.spans import Span, own_spans

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextReader:
    """Everything besides the weights that a model needs to answer for texts.

    ``classes`` are the names of the classes, and ``labels`` are their spellings in the run's data. ``spec`` names the
    columns of that data.
    """

    tokenizer: Any
    max_length: int
    classes: list[str]
    labels: list[str]
    spec: DataSpec
    template: Template | None = None

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.labels):
            raise InputError(
                f"{len(self.classes)} names of classes for {len(self.labels)} labels; they must be as many"
            )

    @property
    def reads_pairs(self) -> bool:
        """Whether the run's data has a second text."""
        return bool(self.spec.pair_column or (self.spec.task and get_task(self.spec.task).pair))

    def encoded(self, examples: Examples) -> Encoded:
        return tokenize(examples, self.tokenizer, self.max_length, self.template)

    def spans(self, examples: Examples) -> list[list[Span | None]] | None:
        """Return the characters of each token of :meth:`encoded` (:func:`skn.inference.spans.own_spans`)."""
        return own_spans(examples, self.tokenizer, self.max_length, self.template)

    def read(
        self,
        file: Path | str,
        columns: Mapping[str, Any] | None = None,
        *,
        labelled: bool = False,
        note: Note = log.info,
    ) -> NewTexts:
        """Read the rows of a file. ``columns``, by the names of :class:`DataSpec`, override the run's own.

        The run's quoting, encoding and column names apply to this file, too, if its kind has them. With ``labelled``,
        every row must have a label; otherwise no row needs one. Raises :class:`InputError`.
        """
        said = {name: value for name, value in (columns or {}).items() if value}
        wanted = True if labelled else False if "label_column" in said else None
        sayable = SAYABLE.get(Path(file).suffix.lower(), ())
        written = {name: getattr(self.spec, name) for name in sayable}
        unsaid = dict.fromkeys(("quoting", "encoding", "columns"))
        spec = replace(self.spec, data=str(file), **(unsaid | written | said))
        return read_new(spec, self.labels, self.classes, labelled=wanted, note=note)
