"""A run in memory: a prompt over its backbone, with its tokenizer and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.data.splits import LabelledData
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.reader import TextReader
from skn.inference.readouts import PROMPT, main_readout
from skn.intervals import share_interval
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.store import artifacts
from skn.tables import span


@dataclass(frozen=True)
class LoadedRun:
    """A run for probe, rank, mask, prune and evaluate; ``skn.tune`` and ``skn.open_run`` give one.

    ``provenance`` says where the run's numbers come from; every file stores it. ``class_names`` are the names of the
    classes for people; ``data.classes`` are their labels in the data. ``path`` is the run's folder, or None in memory.
    ``validation_accuracy`` is the accuracy of the checkpoint that training kept.
    """

    model: TunedModel | TemplatedModel
    tokenizer: Any
    data: LabelledData
    provenance: dict[str, Any]
    label_words: list[str]
    class_names: list[str]
    max_length: int
    template: Template | None = None
    path: Path | None = None
    validation_accuracy: float | None = None

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        origin, score = self.provenance, self.validation_accuracy
        reached = ""
        if score is not None:
            interval = share_interval(score, len(self.data.rows["validation"]))
            reached = f", validation accuracy {score:.4f}, 95%: {span(interval)}"
        how = f"{origin['method']}, {origin['dtype']}{reached}"
        return f"<run of {origin['backbone']} on {origin['task']} ({how}), {where}>"

    @property
    def engine(self) -> str:
        """ "hf" or "fast": the engine that runs this run's model."""
        return self.provenance["engine"]

    def encoded(self, split: str) -> Encoded:
        """Return a split's texts as tokens: "train", "validation" or "test"."""
        return self.reader.encoded(self.data.split(split))

    @property
    def reader(self) -> TextReader:
        """The tokenizer, length, classes and columns with which this run reads texts."""
        return TextReader(
            self.tokenizer,
            self.max_length,
            classes=self.class_names,
            labels=self.data.classes,
            spec=self.data.spec,
            template=self.template,
        )

    @property
    def main_readout(self) -> str:
        """The read-out at which later stages read the neurons: "prompt"; of a template "mask" or, of a decoder, "last"."""
        return main_readout(self.template is not None, self.model.backbone.causal)

    def positions(self, readout: str) -> int:
        """P, the number of positions of a read-out."""
        return self.model.prompt_length if readout == PROMPT else 1

    def file(self, kind: str, *parts: str) -> Path:
        """Return the path of an artifact of the run. Raises :class:`InputError` if the run is in memory."""
        if self.path is None:
            raise InputError(f"this run is in memory alone and has no file of {kind}; give it, or tune with out=FOLDER")
        return artifacts.path_in(self.path, kind, *parts)
