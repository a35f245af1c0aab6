"""A ranking of neurons, cut where it is used, or a fixed set of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons.selection import best_neurons, cut
from skn.store import artifacts
from skn.store.digests import identity_of
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance
from skn.tables import Table, listed, span

# How the measures that neurons are ranked by are called beside others.
MEASURED = {"predictivity": "balanced", "plain": "plain"}

# A neuron's accuracy on a split that did not choose it, and the 95% interval; None where it has none.
Reached = tuple[float | None, tuple[float, float] | None]


@dataclass(frozen=True, kw_only=True)
class SetIdentity:
    """Which set something was made with, as files say it."""

    name: str
    task: str | None
    digest: str


def whose(identity: Mapping[str, Any] | str | None) -> str:
    """A neuron set in words, by its ``identity`` in a file; files of older versions hold its name, or nothing."""
    if not isinstance(identity, Mapping):
        return identity or "neurons that the file does not name"
    return f"{identity['name']} (of {identity['task'] or 'an unknown task'}, {identity['digest']})"


@dataclass(frozen=True, repr=False)
class NeuronSets:
    """A ranking of each layer's neurons or a fixed set of them; :func:`skn.rank` and a ``neurons`` file give one.

    ``rank`` [L, F] int64: 0 is the best of its layer, −1 is absent. ``score`` [L, F] float64 is what was ranked.
    ``selected`` [L, F] bool is a fixed set, with a ``factor`` [L, F] float32 for each neuron where a mask of kind "scale"
    wants its own. ``meta`` says how it was made, ``provenance`` of which backbone, ``path`` where it is kept.
    ``mean``: the provenance of the one probe that was ranked in memory, and its mean activations [L, F] float64.
    ``position``: the same provenance, and the position [L, F] int64 at which each neuron predicts best on validation.
    """

    rank: Tensor | None = None
    selected: Tensor | None = None
    factor: Tensor | None = None
    score: Tensor | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    mean: tuple[dict[str, Any], Tensor] | None = None
    position: tuple[dict[str, Any], Tensor] | None = None

    @classmethod
    def load(cls, path: Path, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """A file, checked as :meth:`checked` does."""
        if not stands(path):
            raise InputError(f"{path}: not there; run 'skn select' first, or name a file with --neurons")
        artifact = artifacts.load(path, "neurons")
        tensors = {name: artifact.get(name) for name in ("rank", "selected", "factor", "score")}
        return cls(**tensors, provenance=artifact.provenance, meta=artifact.meta, path=path).checked(
            provenance, present
        )

    def save(self, path: Path) -> None:
        """Write a ``neurons`` file."""
        named = {"rank": self.rank, "selected": self.selected, "factor": self.factor, "score": self.score}
        tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
        artifacts.save(path, "neurons", tensors, self.provenance, **self.meta)

    def checked(self, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """The same for the model at hand; raises :class:`InputError` where it is of another backbone or shape."""
        compare_provenance(self.provenance, provenance, self.name, use="neurons")
        table = self.rank if self.selected is None else self.selected
        if table is None or table.shape != present.shape:
            shape = None if table is None else list(table.shape)
            raise InputError(
                f"{self.name}: neurons {shape}, this backbone has {list(present.shape)}; give one made for it"
            )
        rank = None if self.rank is None else torch.where(present, self.rank, -1)
        return replace(self, rank=rank, selected=None if self.selected is None else self.selected & present)

    @property
    def name(self) -> str:
        """Where it is kept, for messages and tables."""
        return "the neurons" if self.path is None else str(self.path)

    @property
    def task(self) -> str | None:
        """Whose neurons they are: the task that they were ranked by, or the attribute that they carry; None if unsaid."""
        return self.provenance.get("task") or self.meta.get("attribute")

    @property
    def digest(self) -> str:
        """Which neurons, in which order and by which factors: the same of every copy, wherever it stands."""
        return identity_of({"rank": self.rank, "selected": self.selected, "factor": self.factor})

    @property
    def identity(self) -> dict[str, str | None]:
        """Which set it is, for files that were made with it: name, task and digest."""
        return {"name": self.name, "task": self.task, "digest": self.digest}

    def cut(self, fraction: float, layers: range | None = None) -> Tensor:
        """[L, F] bool: the best share of each layer, of all or of those in ``layers``."""
        rank = self._ranking("--fraction")
        if not 0 <= fraction <= 1:
            raise InputError(f"--fraction {fraction:g}: outside 0 to 1, of which it is a share")
        return cut(rank, fraction, check_layers(layers, len(rank)))

    def count(self, counts: SupportsIndex | Iterable[int], layers: range | None = None) -> Tensor:
        """[L, F] bool: that many of the best of each layer, one number for all or one for each of ``layers``."""
        rank = self._ranking("--count")
        span = check_layers(layers, len(rank))
        wanted = [int(counts)] * len(span) if isinstance(counts, SupportsIndex) else [int(one) for one in counts]
        if len(wanted) != len(span):
            raise InputError(f"--count {','.join(map(str, wanted))}: {len(wanted)} numbers for {len(span)} layers")
        chosen = torch.zeros_like(rank, dtype=torch.bool)
        for layer, most in zip(span, wanted, strict=True):
            available = int((rank[layer] >= 0).sum())
            if not 1 <= most <= available:
                raise InputError(f"--count {most}: layer {layer} has {available} neurons; keep 1 to {available}")
            chosen[layer] = (rank[layer] >= 0) & (rank[layer] < most)
        return chosen

    def fixed(self, layers: range | None = None) -> Tensor:
        """[L, F] bool: the fixed set, within ``layers``."""
        if self.selected is None:
            raise InputError(f"{self.name}: a ranking; say where to cut it with --fraction")
        span = check_layers(layers, len(self.selected))
        chosen = torch.zeros_like(self.selected)
        chosen[span.start : span.stop] = self.selected[span.start : span.stop]
        return chosen

    def best(self, count: int = 10) -> list[tuple[int, int]]:
        """(layer, neuron) of the highest scores over all layers (:func:`best_neurons`); raises :class:`InputError` without scores."""
        if self.score is None:
            raise InputError(f"{self.name}: a fixed set without scores; 'skn select' makes a ranking with them")
        if count < 0:
            raise InputError(f"best: {count} neurons; give 0 or more")
        return best_neurons(self.score, count)

    def table(self, count: int = 10, on_test: Sequence[Reached] | None = None, title: str | None = None) -> Table:
        """The best neurons with their scores and, where it is known, their accuracy on test and its 95% interval.

        Both are of the measure that the column names, and both are of the choice made on the split of the first. The scores
        have no interval: each is the best of many on that split.
        """
        best = self.best(count)
        rows = [[[layer, neuron], self.score[layer, neuron].item()] for layer, neuron in best]
        measure, split = MEASURED[self.meta.get("by", "predictivity")], self.meta.get("split")
        columns = ["layer,neuron", f"{measure} accuracy" + ("" if split is None else f" on {split}")]
        if on_test is not None:
            rows = [[*row, *reached] for row, reached in zip(rows, on_test, strict=True)]
            columns += ["on test", "on test: 95%"]
        formats = dict.fromkeys(columns, ".4f") | {"layer,neuron": listed, "on test: 95%": span}
        picked = "" if split is None else f", picked on {split}"
        return Table(f"{title or f'Best neurons ({self.name})'}{picked}", columns, rows, formats)

    def _repr_html_(self) -> str:
        kept = None if self.selected is None else int(self.selected.sum())
        return self.table()._repr_html_() if self.score is not None else f"a fixed set of {kept} neurons"

    def __repr__(self) -> str:
        if self.score is not None:
            return str(self.table())
        kept = "a ranking without scores" if self.selected is None else f"a fixed set of {int(self.selected.sum())}"
        return f"<{self.name}: {kept}>"

    def _ranking(self, option: str) -> Tensor:
        if self.rank is None:
            raise InputError(f"{self.name}: a fixed set of neurons; {option} needs a ranking ('skn select')")
        return self.rank


def check_layers(layers: range | None, count: int) -> range:
    """The layers meant, all of ``count`` unless said; raises :class:`InputError` where there are no such layers."""
    if layers is None:
        return range(count)
    if not isinstance(layers, range):
        raise InputError(f"--layers {layers}: expected a range, such as range(3, {count})")
    if not 0 <= layers.start < layers.stop <= count or layers.step != 1:
        raise InputError(
            f"--layers {layers.start}:{layers.stop}: empty or out of range; this model has layers 0:{count}"
        )
    return layers
