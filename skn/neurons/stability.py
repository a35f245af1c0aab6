"""How stable the best neurons of each layer are against another draw of the examples, and from run to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skn.tables import Table, span

ALWAYS = 0.95  # a neuron in as many of the bootstraps counts as one that stays


@dataclass(frozen=True)
class Agreement:
    """The Jaccard index, shared neurons over all neurons, of several pairs of sets.

    ``index`` [pairs] float64. ``permuted`` [relabellings] float64 is what the same comparison gives where the labels of the
    examples are permuted. ``random`` is the expected index of two random sets with as many neurons in each layer.
    """

    index: Tensor
    permuted: Tensor
    random: float

    def plain(self) -> dict[str, Any]:
        """Return means, and the middle 95% of ``index`` and ``permuted``, as JSON can hold them."""
        both = {"index": self.index, "permuted": self.permuted}
        return {name: {"mean": of.mean().item(), "interval": list(middle(of))} for name, of in both.items()} | {
            "random": self.random
        }


@dataclass(frozen=True, repr=False)
class Stability:
    """The stability of a ranking's best neurons.

    ``top`` [L, F] bool is the ranking's cut at ``fraction``. ``in_top`` [L, F] float64 is the share of bootstraps in which a
    neuron is in this cut; NaN for absent neurons. ``bootstraps`` compares ``top`` with the same cut of every bootstrap, and
    ``runs`` the cuts of every two runs; None for a single run.
    """

    fraction: float
    split: str
    top: Tensor
    in_top: Tensor
    bootstraps: Agreement
    runs: Agreement | None = None

    @property
    def claim(self) -> str:
        """How many of the best neurons stay, in a sentence."""
        stay = int((self.in_top[self.top] >= ALWAYS).sum())
        return (
            f"{stay:,} of the {int(self.top.sum()):,} neurons in the best {100 * self.fraction:.3g}% of each layer are there in at "
            f"least {ALWAYS:.0%} of {len(self.bootstraps.index):,} bootstraps of {self.split}"
        )

    def table(self) -> Table:
        """A table of the Jaccard index, beside its value under permuted labels and the value of random sets.

        The runs have no interval, because pairs of a few runs are no sample.
        """
        columns = ["sets", "Jaccard index", "95%", "labels permuted", "labels permuted: 95%", "random sets"]
        rows = [_row(f"the ranking and {len(self.bootstraps.index):,} bootstraps", self.bootstraps)]
        if self.runs is not None:
            pairs = len(self.runs.index)
            name = "two runs" if pairs == 1 else f"two runs ({pairs:,} pairs)"
            rows.append(_row(name, self.runs, interval=False))
        formats = dict.fromkeys(columns, ".4f") | {"95%": span, "labels permuted: 95%": span}
        title = f"Stability of the best {100 * self.fraction:.3g}% of each layer, picked on {self.split}"
        return Table(title, columns, rows, formats)

    def plain(self) -> dict[str, Any]:
        """Return everything but the neurons as JSON can hold it."""
        said = {"fraction": self.fraction, "bootstraps": len(self.bootstraps.index), "jaccard": self.bootstraps.plain()}
        return said | {"jaccard_of_runs": None if self.runs is None else self.runs.plain()}

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return f"{self.table()}\n{self.claim}"


def middle(values: Tensor) -> tuple[float, float]:
    """The ends of the middle 95% of values."""
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def _row(name: str, found: Agreement, interval: bool = True) -> list[Any]:
    ends = middle(found.index) if interval else None
    return [name, found.index.mean().item(), ends, found.permuted.mean().item(), middle(found.permuted), found.random]
