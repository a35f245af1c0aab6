"""The results of a searchlight, and their files: rsa.safetensors, rank.csv, rsa.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import skn
from skn.rsa.attributes import Attributes
from skn.rsa.foreign_ranks import write_ranks
from skn.rsa.patterns import Patterns
from skn.rsa.searchlight import ALPHA, MEANING, places
from skn.rsa.stability import Stability
from skn.store import artifacts, documents
from skn.tables import Table, listed

BEST = 10  # the number of neurons that rsa.json names for an attribute


@dataclass(frozen=True, kw_only=True)
class AttributeSummary:
    """An attribute: its neurons without a tau, its significant neurons by each test, its best neurons as [layer,
    neuron, tau].
    """

    name: str
    constant: int
    significant: dict[str, int]
    best: list[list[float]]


@dataclass(frozen=True, kw_only=True)
class DroppedDocument:
    """The seeds or conditions that were left out, and Jaccard [dropped][attribute] by k."""

    names: list[str | int]
    jaccard: dict[str, list[list[float | None]]]


@dataclass(frozen=True, kw_only=True)
class RsaDocument:
    """The content of ``rsa.json``."""

    attributes: list[AttributeSummary]
    alpha: float
    stability: dict[str, DroppedDocument | None] | None


def read_rsa(file: Path) -> dict[str, Any]:
    """Read ``rsa.json`` of a searchlight. Raises :class:`InputError` for a damaged file."""
    return documents.read(file, "rsa", RsaDocument, "run 'skn rsa --overwrite' again")


@dataclass(repr=False)
class Results:
    """The results of a searchlight. ``values``: float64 [A, N] by their names in the artifact ``rsa``.

    ``stability`` has one entry for left-out seeds and one for left-out conditions. ``left_out`` says if the attributes
    have more conditions than the activations. ``seconds`` says how long each part took.
    """

    patterns: Patterns
    attributes: Attributes
    permutations: int
    seed: int
    tops: list[int]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    stability: dict[str, Stability | None] | None = None
    left_out: str | None = None
    seconds: str = ""

    def tests(self) -> list[str]:
        """The names of the p and q values that were computed."""
        return [name for name in MEANING if name in self.values]

    def summaries(self) -> list[dict[str, Any]]:
        """Return for each attribute the fields of :class:`AttributeSummary`."""
        width = self.patterns.values.shape[3]
        order = np.argsort(places(self.values["tau"]), axis=1, kind="stable")[:, :BEST]
        return [
            {
                "name": name,
                "constant": int(np.isnan(tau).sum()),
                "significant": {test: int((self.values[test][i] <= ALPHA).sum()) for test in self.tests()},
                "best": [[*divmod(n, width), float(tau[n])] for n in order[i].tolist() if not np.isnan(tau[n])],
            }
            for i, (name, tau) in enumerate(zip(self.attributes.names, self.values["tau"], strict=True))
        ]

    def table(self, where: str = "in memory") -> Table:
        """A table of how many neurons of each attribute are significant by each test, with the best neuron."""
        rows = []
        for summary in self.summaries():
            layer, neuron, tau = summary["best"][0] if summary["best"] else (None, None, None)
            best = [None, None] if tau is None else [[layer, neuron], tau]
            rows.append([summary["name"], *summary["significant"].values(), *best])
        layers, width = self.patterns.values.shape[2:]
        title = f"Of {layers * width} neurons, significant at {ALPHA} ({where})"
        columns = ["attribute", *self.tests(), "best neuron", "tau"]
        return Table(title, columns, rows, {"best neuron": listed, "tau": ".3f"})

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())

    def write(self, folder: Path, inputs: Mapping[str, str]) -> None:
        """Write the three files. ``inputs`` are the names of the input files."""
        names = self.attributes.names
        shape = (len(names), *self.patterns.values.shape[2:])
        tensors = {name: torch.from_numpy(values).reshape(shape) for name, values in self.values.items()}
        stability = self._stability()
        artifacts.save(
            folder / "rsa.safetensors",
            "rsa",
            {**tensors, "distance": self.attributes.distance.T},
            {**self.patterns.provenance, **inputs, "skn_version": skn.__version__},
            attributes=names,
            conditions=self.patterns.conditions,
            seeds=self.patterns.seeds,
            permutations=self.permutations,
            seed=self.seed,
            top=self.tops,
            stability=stability,
        )
        write_ranks(folder / "rank.csv", names, self.values["rank"])
        document = {"attributes": self.summaries(), "alpha": ALPHA, "stability": stability}
        documents.write(folder / "rsa.json", "rsa", document)

    def _stability(self) -> dict[str, Any] | None:
        """Jaccard [dropped][attribute] by k, as JSON. None stands for NaN, and for a test that was not done."""
        if self.stability is None:
            return None
        return {what: stability and _stability_json(stability, self.tops) for what, stability in self.stability.items()}


def _stability_json(stability: Stability, tops: list[int]) -> dict[str, Any]:
    tables = {
        str(k): [[None if np.isnan(v) else float(v) for v in row] for row in stability.jaccard[:, :, i]]
        for i, k in enumerate(tops)
    }
    return {"names": stability.names, "jaccard": tables}
