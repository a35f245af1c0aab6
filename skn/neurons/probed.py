"""The results of a probe: thresholds, hits, and the accuracies computed from them, each beside the model's own
accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.readouts import OF_GATE, READOUTS
from skn.intervals import balanced_interval, share_interval
from skn.names import one_of
from skn.neurons.auroc import AUROC, known, read_areas
from skn.neurons.bits import Bits
from skn.neurons.claims import beyond_chance
from skn.neurons.probing import Hits, Moments
from skn.neurons.selection import (
    MEASURES,
    Contrast,
    accuracy_interval,
    best_neurons,
    best_place,
    default_contrasts,
    ends_alike,
    has_both_sides,
    predictivity,
    read_alike,
)
from skn.neurons.significance import Significance
from skn.neurons.stored_tests import load_bits, load_significance
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.tables import Table, listed, span


@dataclass(frozen=True, repr=False)
class Probe:
    """The results of a probe: ``moments`` of train by read-out, ``hits`` of the held-out splits by (split, read-out).

    ``present`` [L, F] bool says which neurons exist. ``confusion`` maps a split to [C, C] int64: how many examples of
    each class (rows) the model itself answered with each class (columns). ``path`` is the run's folder, None in memory.
    ``bits`` and ``significance`` are those in memory, by (split, read-out); :meth:`bits_of` and :meth:`significance_of` also find those
    of the folder.
    """

    moments: dict[str, Moments]
    hits: dict[tuple[str, str], Hits]
    present: Tensor
    provenance: dict[str, Any]
    confusion: dict[str, Tensor]
    path: Path | None = None
    bits: dict[tuple[str, str], Bits] = field(default_factory=dict)
    significance: dict[tuple[str, str], Significance] = field(default_factory=dict)

    def joined(self, other: Probe) -> Probe:
        """This probe with the splits of another part of it."""
        parts = ("hits", "confusion", "bits", "significance")
        return replace(self, **{name: getattr(self, name) | getattr(other, name) for name in parts})

    @property
    def predictivity(self) -> Tensor:
        """[L, F] float64: each neuron's predictivity on validation, at the main read-out, at its best position and contrast.

        NaN where a neuron is absent. A contrast is left out if one of its sides has no example in the split.
        """
        best = torch.stack([predictivity(table) for table in self.accuracy("validation")])
        return best.nan_to_num(-torch.inf).amax(dim=0).masked_fill(best.isnan().all(dim=0), torch.nan)

    @property
    def main(self) -> str:
        """The read-out that is meant when none is named: where the label words are scored, if it was read."""
        read = {readout for _, readout in self.hits} | set(self.moments)
        named = [name + part for part in ("", OF_GATE) for name in READOUTS]
        return next(readout for readout in named if readout in read)

    def accuracy(self, split: str = "validation", readout: str | None = None, by: str = "predictivity") -> Tensor:
        """[K, L, P, F] float64: each neuron's accuracy as a classifier, for every contrast and position.

        The accuracy is NaN where a neuron is absent, and for a contrast if one of its sides has no example in the
        split.

        :param by: "predictivity" is the mean of the classes' rates, "plain" the share of right examples.
        """
        hits = self.hits_of(split, readout)
        tables = [accuracy_table(hits, contrast, by) for contrast in default_contrasts(hits.count.numel())]
        return torch.stack(tables).masked_fill(~self.present[:, None, :], torch.nan)

    def area(self, split: str = "validation", readout: str | None = None) -> Tensor:
        """[C, L, P, F] float64: the area under the ROC curve of every neuron and position, for each class against the
        rest; NaN where a neuron is absent.

        Raises :class:`InputError` if the probe has no areas.
        """
        return known(self.hits_of(split, readout).areas, self.where).area

    def model_accuracy(
        self, split: str = "validation", by: str = "predictivity", contrast: Contrast | None = None
    ) -> float | None:
        """The model's own accuracy, by the same measure as a neuron's accuracy; None if it is not known.

        :param by: "predictivity" is the mean of the classes' rates, "plain" the share of right examples.
        :param contrast: measure how the model tells the positive classes from the negative classes, which is a neuron's
            task, too.
        """
        one_of(by, MEASURES, "by")
        if split not in self.confusion:
            return None
        answers = self.confusion[split]
        count = answers.sum(dim=1)
        if contrast is not None:
            says_positive = answers[:, list(contrast.positive)].sum(dim=1)
            return MEASURES[by](says_positive, count, contrast).item() if has_both_sides(count, contrast) else None
        right = answers.diagonal().double()
        if by == "plain":
            return (right.sum() / count.sum()).item()
        return (right / count).mean().item() if count.all() else None

    def model_interval(
        self, split: str = "validation", by: str = "predictivity", contrast: Contrast | None = None
    ) -> tuple[float, float] | None:
        """The 95% interval of :meth:`model_accuracy`."""
        accuracy = self.model_accuracy(split, by, contrast)
        if accuracy is None:
            return None
        answers = self.confusion[split]
        count = answers.sum(dim=1)
        if contrast is not None:
            return accuracy_interval(answers[:, list(contrast.positive)].sum(dim=1), count, contrast, by)
        if by == "plain":
            return share_interval(accuracy, count.sum().item())
        return balanced_interval((answers.diagonal().double() / count).tolist(), count.tolist())

    def contrasts(self, split: str = "validation", readout: str | None = None) -> list[Contrast]:
        """The default contrasts of the task's classes."""
        return default_contrasts(self.hits_of(split, readout).count.numel())

    def hits_of(self, split: str, readout: str | None = None) -> Hits:
        """The counts of a split, at a read-out or at the main one. Raises :class:`InputError` if the probe did not read this read-out."""
        readout = readout or self.main
        if (split, readout) not in self.hits:
            there = ", ".join(f"{s} {r}" for s, r in self.hits)
            raise InputError(f"the probe has no hits of split {split} and read-out {readout}; it has {there}")
        return self.hits[split, readout]

    def bits_of(self, split: str, readout: str | None = None) -> Bits | None:
        """The bits of a split at a read-out or at the main one, from memory or from the run's folder; None if none were kept."""
        place = split, readout or self.main
        if place in self.bits or self.path is None:
            return self.bits.get(place)
        return load_bits(self.path, *place, self.provenance)

    def significance_of(self, split: str, readout: str | None = None) -> Significance | None:
        """The permutation tests of a split, as :meth:`bits_of` finds bits. On validation p is optimistic, because validation
        chose the prompt and chooses the neurons; a claim quotes test.
        """
        place = split, readout or self.main
        if place in self.significance or self.path is None:
            return self.significance.get(place)
        return load_significance(self.path, *place, self.provenance)

    def claim(self, readout: str | None = None) -> str | None:
        """How many neurons predict beyond chance, in a sentence; None without permutation tests."""
        validation = self.significance_of("validation", readout)
        return None if validation is None else beyond_chance(validation, self.significance_of("test", readout))

    @property
    def where(self) -> str:
        """The path of a hits file, for messages; "the probe" in memory."""
        if self.path is None:
            return "the probe"
        return str(artifacts.path_in(self.path, "hits", *reversed(next(iter(self.hits)))))

    def table(self) -> Table:
        """A table of the best neuron on validation and of the model: their accuracy on each split by the same measure.

        Each accuracy has its 95% interval, except the neuron's accuracy on validation, which is the best of many. The neuron's p is by itself and
        among all neurons. What the best neuron reaches by chance is the mean over relabelled examples, and its interval the middle 95% of
        them. The last column says how many activations lie near their threshold.
        """
        columns = ["split", "read-out", "measure", "accuracy", "95% interval", "p", "family-wise p"]
        columns += ["neuron", "position", "contrast", "near threshold"]
        rows = [row for split, readout in self.hits for row in self._rows(split, readout)]
        how = f"{self.provenance['dtype']}, {self.provenance['backend']}, engine {self.provenance['engine']}"
        formats = {"accuracy": ".4f", "95% interval": span, "neuron": listed, "near threshold": _near}
        formats |= {"p": ".4f", "family-wise p": ".4f"}
        title = f"Probe ({how}): accuracy of the neuron that is best on validation, and of the model"
        return Table(title, columns, rows, formats)

    def _rows(self, split: str, readout: str) -> list[list[Any]]:
        hits, picked = self.hits[split, readout], self._picked(readout)
        place, contrast, reached = [None, None], None, (None, None)
        if picked is not None:
            k, layer, position, neuron = picked
            place, contrast = [[layer, neuron], position], self.contrasts(split, readout)[k]
            reached = self._reached(split, readout, picked, contrast)
        said = None if contrast is None else str(contrast)
        model = [f(split, contrast=contrast) for f in (self.model_accuracy, self.model_interval)]
        plain = [f(split, "plain") for f in (self.model_accuracy, self.model_interval)]
        tests, p, by_chance = self.significance_of(split, readout), [None, None], []
        if tests is not None:
            by_chance = [[split, readout, "best neuron by chance", *tests.best_by_chance, *[None] * 6]]
            if picked is not None:
                p = [table[picked[1], picked[3]].item() for table in (tests.p, tests.p_family)]
        return [
            [split, readout, "neuron, balanced", *reached, *p, *place, said, _share(hits)],
            *by_chance,
            [split, readout, "model, balanced", *model, None, None, None, None, said, None],
            [split, readout, "model, plain", *plain, *[None] * 6],
        ]

    def _reached(
        self, split: str, readout: str, picked: tuple[int, int, int, int], contrast: Contrast
    ) -> tuple[float | None, tuple[float, float] | None]:
        """The picked neuron's balanced accuracy in the direction that was better on validation, and its interval.

        The interval is None on validation, which picked the neuron.
        """
        hits, (_, layer, position, neuron) = self.hits[split, readout], picked
        if not has_both_sides(hits.count, contrast):
            return None, None
        before, after = (self.accuracy(name, readout)[picked] for name in ("validation", split))
        own = accuracy_interval(hits.hits[:, layer, position, neuron], hits.count, contrast, "predictivity")
        ends = None if split == "validation" else ends_alike(before.item(), own)
        return read_alike(before, after).item(), ends

    def _picked(self, readout: str) -> tuple[int, int, int, int] | None:
        """The best (contrast, layer, position, neuron) on validation, which a ranking names first. None without any
        accuracy on validation."""
        if ("validation", readout) not in self.hits:
            return None
        tables = self.accuracy("validation", readout)
        score = torch.stack([predictivity(table) for table in tables]).nan_to_num(-torch.inf).amax(dim=0)
        best = best_neurons(score.masked_fill(score.isinf(), torch.nan), 1)
        return best_place(tables, *best[0]) if best else None

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


def accuracy_table(hits: Hits, contrast: Contrast, by: str) -> Tensor:
    """[L, P, F] float64: each neuron's accuracy for one contrast; NaN if one of the contrast's sides has no example.

    :param by: "auroc" gives the area for the contrast's positive class.
    """
    one_of(by, (*MEASURES, AUROC), "by")
    if by == AUROC:
        return known(hits.areas, "the probe").area[contrast.positive[0]]
    if not has_both_sides(hits.count, contrast):
        return torch.full(hits.hits.shape[1:], torch.nan, dtype=torch.float64)
    return MEASURES[by](hits.hits, hits.count, contrast)


def confusion(logits: Tensor, label: Tensor) -> Tensor:
    """Count in [C, C] int64 how many examples of each class (rows) have their highest score at each class (columns)."""
    classes = logits.shape[1]
    return torch.bincount(label * classes + logits.argmax(dim=1), minlength=classes**2).view(classes, classes)


def read_probe(artifact: Artifact, areas: Path | None = None) -> Probe:
    """Return the probe of the one split and read-out that a ``hits`` file keeps, with those of an ``auroc`` file."""
    split = artifact.meta["split"]
    return Probe(
        {},
        {(split, artifact.meta["readout"]): stored_hits(artifact, areas)},
        artifact["present"],
        provenance=artifact.provenance,
        confusion=stored_confusion(artifact, split),
        path=artifact.path.parent,
    )


def stored_hits(artifact: Artifact, areas: Path | None = None) -> Hits:
    """Return the counts of a ``hits`` file, which keeps only the sum of ``near``, and the ``areas`` of the file beside it."""
    near = artifact.meta.get("near")
    return Hits(
        artifact["count"],
        artifact["hits"],
        artifact["threshold"],
        None if near is None else torch.tensor(near),
        None if areas is None else read_areas(areas, artifact),
    )


def stored_confusion(artifact: Artifact, split: str) -> dict[str, Tensor]:
    """Return the model's own answers from a ``hits`` file. Files of older versions hold none."""
    answers = artifact.meta.get("confusion")
    return {} if answers is None else {split: torch.tensor(answers)}


def _share(hits: Hits) -> list[int] | None:
    """Return how many activations lie near their threshold, and how many were compared."""
    if hits.near is None:
        return None
    compared = hits.count.sum().item() * hits.threshold.isfinite().sum().item()
    return [hits.near.sum().item(), compared]


def _near(share: list[int]) -> str:
    near, compared = share
    return f"{near:,} of {compared:,}"
