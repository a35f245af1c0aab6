"""A ranking of neurons, which the caller cuts, or a fixed set of neurons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons.selection import best_neurons, cut
from skn.neurons.significance import Significance
from skn.neurons.stability import Stability
from skn.store import artifacts
from skn.store.digests import identity_of
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance
from skn.tables import Table, listed, span

# The names, in tables, of the measures that rank neurons.
MEASURED = {
    "predictivity": "balanced accuracy",
    "plain": "plain accuracy",
    "auroc": "area under the ROC curve",
}

# A neuron's accuracy on a split that did not choose the neuron, and its 95% interval; None if a value does not exist.
Reached = tuple[float | None, tuple[float, float] | None]


@dataclass(frozen=True, kw_only=True)
class SetIdentity:
    """Identifies the neuron set that a file was made with."""

    name: str
    task: str | None
    digest: str


def whose(identity: Mapping[str, Any] | str | None) -> str:
    """Describe a neuron set by its ``identity`` in a file.

    Files of older versions hold only the set's name, or nothing.
    """
    if not isinstance(identity, Mapping):
        return identity or "neurons that the file does not name"
    return f"{identity['name']} (of {identity['task'] or 'an unknown task'}, {identity['digest']})"


@dataclass(frozen=True, repr=False)
class NeuronSets:
    """A ranking of each layer's neurons, or a fixed set of neurons. :func:`skn.rank` and ``neurons`` files give one.

    ``rank`` [L, F] int64: 0 is the best neuron of its layer, −1 is an absent neuron. ``score`` [L, F] float64 holds the
    ranked scores. ``selected`` [L, F] bool is a fixed set. ``factor`` [L, F] float32 gives each neuron its own factor
    for a mask of kind "scale". ``meta`` says how the set was made, ``provenance`` which backbone it belongs to, and
    ``path`` which file holds it. ``mean``: the provenance of the one probe that was ranked in memory, and its mean
    activations [L, F] float64. ``square``: its mean squared activations, and ``variance``: the variance at a position,
    both [L, F] float64. ``position``: the same provenance, and the position [L, F] int64 at which each neuron predicts
    best on validation. ``tests``: the permutation tests by split, of a ranking that was made in memory. ``stability``:
    how stable its best neurons are, if the ranking was made with bootstraps.
    """

    rank: Tensor | None = None
    selected: Tensor | None = None
    factor: Tensor | None = None
    score: Tensor | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    mean: tuple[dict[str, Any], Tensor] | None = None
    square: Tensor | None = None
    variance: Tensor | None = None
    position: tuple[dict[str, Any], Tensor] | None = None
    tests: dict[str, Significance] = field(default_factory=dict)
    stability: Stability | None = None

    @classmethod
    def load(cls, path: Path, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """Load a file, and check it as :meth:`checked` does."""
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
        for split, tests in self.tests.items():
            named |= {f"p_{split}": tests.p, f"p_family_{split}": tests.p_family}
            named |= {} if tests.p_chosen is None else {"p_chosen": tests.p_chosen}
        named |= {} if self.stability is None else {"in_top": self.stability.in_top}
        tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
        said = {"by_chance": {split: tests.best_by_chance for split, tests in self.tests.items()}} if self.tests else {}
        said |= {} if self.stability is None else {"stability": self.stability.plain()}
        artifacts.save(path, "neurons", tensors, self.provenance, **self.meta, **said)

    def checked(self, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """Return these sets for the given model.

        Raises :class:`InputError` if they belong to another backbone or shape.
        """
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
        """The path of the file, for messages and tables; "the neurons" in memory."""
        return "the neurons" if self.path is None else str(self.path)

    @property
    def task(self) -> str | None:
        """The task that ranked the neurons, or the attribute that they carry; None if the file names neither."""
        return self.provenance.get("task") or self.meta.get("attribute")

    @property
    def digest(self) -> str:
        """A digest of the neurons, their order and their factors. Every copy has the same digest, whatever its path."""
        return identity_of({"rank": self.rank, "selected": self.selected, "factor": self.factor})

    @property
    def identity(self) -> dict[str, str | None]:
        """Identifies this set in files that were made with it: name, task and digest."""
        return {"name": self.name, "task": self.task, "digest": self.digest}

    def cut(self, fraction: float, layers: range | None = None) -> Tensor:
        """Return [L, F] bool: the best share of each layer, for all layers or for ``layers``."""
        rank = self._ranking("--fraction")
        if not 0 <= fraction <= 1:
            raise InputError(f"--fraction {fraction:g}: outside 0 to 1, of which it is a share")
        return cut(rank, fraction, check_layers(layers, len(rank)))

    def count(self, counts: SupportsIndex | Iterable[int], layers: range | None = None) -> Tensor:
        """Return [L, F] bool: the best ``counts`` neurons of each layer.

        ``counts`` is one number for all layers, or one number for each of ``layers``.
        """
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
        """Return [L, F] bool: the fixed set, within ``layers``."""
        if self.selected is None:
            raise InputError(f"{self.name}: a ranking; say where to cut it with --fraction")
        span = check_layers(layers, len(self.selected))
        chosen = torch.zeros_like(self.selected)
        chosen[span.start : span.stop] = self.selected[span.start : span.stop]
        return chosen

    def best(self, count: int = 10) -> list[tuple[int, int]]:
        """Return the (layer, neuron) pairs of the highest scores over all layers, best first (:func:`best_neurons`).

        Raises :class:`InputError` without scores.
        """
        if self.score is None:
            raise InputError(f"{self.name}: a fixed set without scores; 'skn select' makes a ranking with them")
        if count < 0:
            raise InputError(f"best: {count} neurons; give 0 or more")
        return best_neurons(self.score, count)

    def table(self, count: int = 10, on_test: Sequence[Reached] | None = None, title: str | None = None) -> Table:
        """A table of the best neurons with their scores and, if known, their accuracy on test, its 95% interval, and p on test.

        The family-wise p is among the neurons that are beyond chance on the split that chose them; others have none.

        "kept in bootstraps" is the share of bootstraps in which a neuron is among the best of its layer.

        Scores and accuracies are of the measure that the column names. The split of the scores chose the neurons,
        positions and directions. The scores have no interval, because each score is the best of many on that split.
        """
        best = self.best(count)
        rows = [[[layer, neuron], self.score[layer, neuron].item()] for layer, neuron in best]
        measure, split = MEASURED[self.meta.get("by", "predictivity")], self.meta.get("split")
        columns = ["layer,neuron", measure + ("" if split is None else f" on {split}")]
        if on_test is not None:
            rows = [[*row, *reached] for row, reached in zip(rows, on_test, strict=True)]
            columns += ["on test", "on test: 95%"]
        if "test" in self.tests and split != "test":
            tests = self.tests["test"]
            families = tests.p_family if tests.p_chosen is None else tests.p_chosen
            for row, place in zip(rows, best, strict=True):
                row += [tests.p[place].item(), _known(families[place].item())]
            columns += ["p on test", "family-wise p on test"]
        if self.stability is not None:
            for row, place in zip(rows, best, strict=True):
                row.append(self.stability.in_top[place].item())
            columns.append("kept in bootstraps")
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


def _known(p: float) -> float | None:
    return None if math.isnan(p) else p


def check_layers(layers: range | None, count: int) -> range:
    """Check ``layers``; without ``layers``, return all ``count`` layers.

    Raises :class:`InputError` for layers that do not exist.
    """
    if layers is None:
        return range(count)
    if not isinstance(layers, range):
        raise InputError(f"--layers {layers}: expected a range, such as range(3, {count})")
    if not 0 <= layers.start < layers.stop <= count or layers.step != 1:
        raise InputError(
            f"--layers {layers.start}:{layers.stop}: empty or out of range; this model has layers 0:{count}"
        )
    return layers
