"""A ``neurons`` file cut where it is used: fractions and counts of a ranking, or a fixed set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons.selection import cut
from skn.store import artifacts
from skn.store.artifacts import Artifact


@dataclass(frozen=True)
class NeuronSets:
    """A ranking [L, F] (−1 where absent) or a fixed set [L, F] bool, checked against the model at hand.

    A fixed set may have a ``factor`` [L, F] float32 for each neuron, for a mask of kind "scale".
    """

    path: Path
    rank: Tensor | None
    selected: Tensor | None
    factor: Tensor | None

    @classmethod
    def load(cls, path: Path, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """Raises :class:`InputError` for a file of another backbone or shape."""
        if not path.is_file():
            raise InputError(f"{path}: not there; run 'skn select' first, or name a file with --neurons")
        found = artifacts.load(path, "neurons", {"backbone_digest": provenance["backbone_digest"]})
        rank, selected = found.get("rank"), found.get("selected")
        table = rank if selected is None else selected
        if table is None or table.shape != present.shape:
            shape = None if table is None else list(table.shape)
            raise InputError(f"{path}: neurons {shape}, this backbone has {list(present.shape)}; give one made for it")
        if rank is not None:
            rank = torch.where(present, rank, -1)
        return cls(path, rank, None if selected is None else selected & present, found.get("factor"))

    def fraction(self, fraction: float, layers: range) -> Tensor:
        """[L, F] bool: the best share of each layer in ``layers``."""
        return cut(self._ranking("--fraction"), fraction, layers)

    def count(self, counts: dict[int, int]) -> Tensor:
        """[L, F] bool: the best ``counts[layer]`` neurons of each layer named."""
        rank = self._ranking("--count")
        chosen = torch.zeros_like(rank, dtype=torch.bool)
        for layer, wanted in counts.items():
            available = int((rank[layer] >= 0).sum())
            if not 1 <= wanted <= available:
                raise InputError(f"--count {wanted}: layer {layer} has {available} neurons; keep 1 to {available}")
            chosen[layer] = (rank[layer] >= 0) & (rank[layer] < wanted)
        return chosen

    def fixed(self, layers: range) -> Tensor:
        """[L, F] bool: the fixed set, within ``layers``."""
        if self.selected is None:
            raise InputError(f"{self.path}: a ranking; say where to cut it with --fraction")
        chosen = torch.zeros_like(self.selected)
        chosen[layers.start : layers.stop] = self.selected[layers.start : layers.stop]
        return chosen

    def _ranking(self, option: str) -> Tensor:
        if self.rank is None:
            raise InputError(f"{self.path}: a fixed set of neurons; {option} needs a ranking ('skn select')")
        return self.rank


def load_mean(path: Path, match: dict, present: torch.Tensor) -> torch.Tensor:
    """μ [L, F] float64 from a file with thresholds: ours (moments, hits) or imported; averaged over positions.

    Refused where it is of another backbone, prompt length or shape than ``match`` and ``present`` [L, F] say.
    """
    description, _ = artifacts.read_safetensors(path)
    kind = (description or {}).get("kind")
    if kind not in ("moments", "hits", "thresholds"):
        raise InputError(f"{path}: holds '{kind}', expected moments, hits or thresholds")
    found = artifacts.load(path, kind, match)
    mean = threshold_of(found).mean(dim=1)
    if mean.shape != present.shape:
        raise InputError(
            f"{path}: thresholds of {list(mean.shape)} neurons, this backbone has {list(present.shape)}; give one made for it"
        )
    return mean


def threshold_of(found: Artifact) -> torch.Tensor:
    """The threshold [L, P, F] of moments, hits or thresholds."""
    if found.kind == "moments":
        return found["total"].sum(dim=0) / found["count"].sum()
    return found["threshold"]
