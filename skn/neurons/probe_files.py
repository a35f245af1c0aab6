"""The files of a probe: where each lies, which are complete, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.neurons.auroc import AUROC, save_areas
from skn.neurons.probed import Probe, stored_confusion, stored_hits
from skn.neurons.probing import Moments
from skn.neurons.selection import default_contrasts, has_both_sides, predictivity
from skn.neurons.significance import PERMUTATIONS, Significance
from skn.neurons.stored_tests import load_significance, save_bits, save_significance
from skn.store import artifacts, atomic
from skn.store.foreign_files import stands
from skn.store.provenance import ANEW, refuse_differences, resumed

HELD_OUT = ("validation", "test")
MEAN, ZERO = THRESHOLDS = ("mean", "zero")  # where a neuron's threshold lies


@dataclass(frozen=True)
class Plan:
    """What a probe measures."""

    readouts: list[str]
    threshold: str = MEAN
    permutations: int = PERMUTATIONS
    keep_bits: bool = True
    auroc: bool = False

    def thresholds(self, moments: Mapping[str, Moments]) -> dict[str, Tensor]:
        """The threshold [L, P, F] of every read-out."""
        means = {readout: m.threshold() for readout, m in moments.items()}
        return {r: torch.zeros_like(mean) for r, mean in means.items()} if self.threshold == ZERO else means


@dataclass(frozen=True)
class ProbeFiles:
    """The files in which a probe keeps its results."""

    folder: Path
    plan: Plan

    def moments(self) -> dict[str, Path]:
        return {r: artifacts.path_in(self.folder, "moments", r) for r in self.plan.readouts}

    def of(self, kind: str, split: str) -> dict[str, Path]:
        return {r: artifacts.path_in(self.folder, kind, r, split) for r in self.plan.readouts}

    def made_of_moments(self, readout: str) -> list[Path]:
        kinds = ("bits", "significance", AUROC, "hits", "accuracy")  # in the order in which they are written
        return [self.of(kind, split)[readout] for split in HELD_OUT for kind in kinds]

    def all(self) -> list[Path]:
        return [*self.moments().values(), *(file for r in self.plan.readouts for file in self.made_of_moments(r))]

    def refuse_others(self, provenance: Mapping[str, Any]) -> None:
        """Raises :class:`InputError` if an existing file was made with settings other than those of this run."""
        for file in filter(stands, self.all()):
            found = artifacts.load(file, file.name.partition("-")[0].partition(".")[0]).provenance
            refuse_differences(file, found, resumed(provenance), ANEW)

    def stored_moments(self) -> dict[str, Moments] | None:
        """The moments of every read-out, if all are there."""
        files = self.moments()
        if not all(file.is_file() for file in files.values()):
            return None
        stored = {r: artifacts.load(file, "moments") for r, file in files.items()}
        return {r: Moments(a["count"], a["total"], a["total_sq"]) for r, a in stored.items()}

    def save_moments(self, readout: str, m: Moments, present: Tensor, provenance: Mapping[str, Any]) -> None:
        """Save the moments, and remove the files that were made beside earlier moments, so that an interruption cannot
        leave them beside the new moments.
        """
        tensors = {"count": m.count, "total": m.total, "total_sq": m.total_sq, "present": present}
        artifacts.save(self.moments()[readout], "moments", tensors, provenance, split="train", readout=readout)
        for file in self.made_of_moments(readout):
            atomic.remove(file)

    def done(self, split: str, before: Probe) -> Probe | None:
        """The results of a split, if they are complete and were counted over the thresholds of the moments in ``before``."""
        kinds = ("hits", "accuracy", *((AUROC,) if self.plan.auroc else ()))
        if not all(stands(file) for kind in kinds for file in self.of(kind, split).values()):
            return None
        hits = {r: artifacts.load(file, "hits") for r, file in self.of("hits", split).items()}
        for readout, threshold in self.plan.thresholds(before.moments).items():
            if not torch.equal(hits[readout]["threshold"].nan_to_num(), threshold.nan_to_num()):
                return None
        found = {r: load_significance(self.folder, split, r) for r in self.plan.readouts}
        if not all(self._tested(split, r, artifact["count"], found[r]) for r, artifact in hits.items()):
            return None
        first = next(iter(hits.values()))
        areas = self.of(AUROC, split) if self.plan.auroc else {}
        return replace(
            before,
            hits={(split, r): stored_hits(artifact, areas.get(r)) for r, artifact in hits.items()},
            confusion=stored_confusion(first, split),
            significance={(split, r): tests for r, tests in found.items() if tests is not None},
        )

    def _tested(self, split: str, readout: str, count: Tensor, tests: Significance | None) -> bool:
        """Whether the files of the permutation tests are there as they were asked for."""
        plan = self.plan
        if not plan.permutations or not any(has_both_sides(count, c) for c in default_contrasts(count.numel())):
            return True
        bits = not plan.keep_bits or stands(self.of("bits", split)[readout])
        return bits and tests is not None and len(tests.chance) == plan.permutations

    def save(self, split: str, found: Probe) -> None:
        """Save the results of a split: the accuracies last. If they are there, a resumed probe knows that all is."""
        for readout in self.plan.readouts:
            tests, bits = found.significance.get((split, readout)), found.bits.get((split, readout))
            if bits is not None and self.plan.keep_bits:
                save_bits(self.folder, split, readout, bits, found.provenance)
            if tests is not None:
                save_significance(self.folder, split, readout, tests, found.provenance)
            self._save_counts(split, readout, found)

    def _save_counts(self, split: str, readout: str, found: Probe) -> None:
        hits, meta = found.hits[split, readout], {"split": split, "readout": readout}
        near = None if hits.near is None else hits.near.sum().item()
        tensors = {"count": hits.count, "hits": hits.hits, "threshold": hits.threshold, "present": found.present}
        said = {"threshold_at": self.plan.threshold, "near": near, "confusion": found.confusion[split].tolist()}
        if hits.areas is not None:
            save_areas(self.of(AUROC, split)[readout], hits.areas, found.provenance, **meta)
        artifacts.save(self.of("hits", split)[readout], "hits", tensors, found.provenance, **meta, **said)
        balanced = found.accuracy(split, readout)
        tables = {
            "accuracy": balanced,
            "plain": found.accuracy(split, readout, "plain"),
            "predictivity": torch.stack([predictivity(table) for table in balanced]),
        }
        contrasts = [str(c) for c in found.contrasts(split, readout)]
        file = self.of("accuracy", split)[readout]
        artifacts.save(file, "accuracy", tables, found.provenance, contrasts=contrasts, **meta)
