"""How stable the best neurons of each layer are against another draw of the examples, and from run to run."""

from __future__ import annotations

from collections.abc import Mapping
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
        return stability_claim(self.plain())

    def table(self) -> Table:
        """A table of the Jaccard index, beside its value under permuted labels and the value of random sets."""
        return stability_table(self.plain())

    def plain(self) -> dict[str, Any]:
        """Return everything but the neurons as JSON can hold it: what a ``neurons`` file says under "stability"."""
        return {
            "fraction": self.fraction,
            "split": self.split,
            "neurons": int(self.top.sum()),
            "stay": int((self.in_top[self.top] >= ALWAYS).sum()),
            "bootstraps": len(self.bootstraps.index),
            "jaccard": self.bootstraps.plain(),
            "pairs": 0 if self.runs is None else len(self.runs.index),
            "jaccard_of_runs": None if self.runs is None else self.runs.plain(),
        }

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return f"{self.table()}\n{self.claim}"


def stability_claim(said: Mapping[str, Any]) -> str:
    """Write how many of the best neurons stay, from :meth:`Stability.plain`."""
    return (
        f"{said['stay']:,} of the {said['neurons']:,} neurons in the best {_share(said)} of each layer are there in at "
        f"least {ALWAYS:.0%} of {said['bootstraps']:,} bootstraps of {said['split']}"
    )


def stability_table(said: Mapping[str, Any]) -> Table:
    """Make the table of :meth:`Stability.plain`.

    The runs have no interval, because pairs of a few runs are no sample.
    """
    columns = ["sets", "Jaccard index", "95%", "labels permuted", "labels permuted: 95%", "random sets"]
    rows = [_row(f"the ranking and {said['bootstraps']:,} bootstraps", said["jaccard"])]
    if said["jaccard_of_runs"] is not None:
        name = "two runs" if said["pairs"] == 1 else f"two runs ({said['pairs']:,} pairs)"
        rows.append(_row(name, said["jaccard_of_runs"], interval=False))
    formats = dict.fromkeys(columns, ".4f") | {"95%": span, "labels permuted: 95%": span}
    return Table(
        f"Stability of the best {_share(said)} of each layer, picked on {said['split']}", columns, rows, formats
    )


def middle(values: Tensor) -> tuple[float, float]:
    """The ends of the middle 95% of values."""
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def _share(said: Mapping[str, Any]) -> str:
    return f"{100 * said['fraction']:.3g}%"


def _row(name: str, found: Mapping[str, Any], interval: bool = True) -> list[Any]:
    index, permuted = found["index"], found["permuted"]
    ends = index["interval"] if interval else None
    return [name, index["mean"], ends, permuted["mean"], permuted["interval"], found["random"]]
