"""The area under the ROC curve of every neuron and position: how well an activation tells a class from the others,
whatever the threshold.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn import ops
from skn.errors import InputError
from skn.inference.batches import Batch
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import MAX, MEAN, OF_GATE
from skn.model.backbone import Backbone, FfnSite
from skn.neurons.held_out import IN_MEMORY, HeldOut, size_of
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.provenance import compare_provenance

log = logging.getLogger(__name__)

AUROC = "auroc"  # the kind of the files, and the measure that ranks neurons by their areas


@dataclass(frozen=True)
class Areas:
    """Areas of one read-out on a split: ``area`` [C, L, P, F] float64 of each class against the others; NaN where a
    neuron is absent, or a class or its rest has no example.

    ``nan`` [L, P, F] int64 counts the activations that are NaN and left out, ``count`` [C] int64 the examples.
    """

    area: Tensor
    nan: Tensor
    count: Tensor


class HeldOutAreas:
    """Gathers the activations of a pass over a split, and computes the areas after it.

    Args:
        backbone: the model that makes the pass.
        label: the class of each row of the split, [N] int64.
        classes: C.
        positions: P of each read-out.
        folder: where a temporary file goes if the activations take more than 2 GiB; None for the system's own folder.
    """

    def __init__(
        self, backbone: Backbone, label: Tensor, classes: int, positions: Mapping[str, int], folder: Path | None
    ):
        self._backbone, self._label, self._classes = backbone, label, classes
        sites, examples = backbone.ffn_sites, len(label)
        place = file_place(backbone, examples, positions, folder)
        self._stores = {
            readout: HeldOut(sites, examples, count, _dtype(backbone, readout), place)
            for readout, count in positions.items()
        }

    def add(self, site: FfnSite, readout: str, act: Tensor, batch: Batch) -> None:
        self._stores[readout].add(site, act, batch.rows)

    def areas(self, readout: str) -> Areas:
        """Compute the areas of a read-out, and forget its activations."""
        store, present = self._stores.pop(readout), self._backbone.present
        store.join()
        positions = store.layer(0).shape[1]
        layers, width = present.shape
        area = torch.full((self._classes, layers, positions, width), torch.nan, dtype=torch.float64)
        nan = torch.zeros(layers, positions, width, dtype=torch.int64)
        for site in self._backbone.ffn_sites:
            found, missing = ops.auroc(store.layer(site.layer).flatten(1), self._label, self._classes)
            neurons = site.neurons.cpu()
            area[:, site.layer, :, neurons] = found.unflatten(1, (positions, site.width))
            nan[site.layer, :, neurons] = missing.unflatten(0, (positions, site.width))
        return Areas(area, nan, torch.bincount(self._label, minlength=self._classes))


def file_place(backbone: Backbone, examples: int, positions: Mapping[str, int], folder: Path | None) -> Path | None:
    """Return the folder of the temporary file of a pass; None if its activations stay in memory."""
    if _size(backbone, examples, positions) <= IN_MEMORY:
        return None
    return folder if folder is not None and folder.is_dir() else Path(tempfile.gettempdir())


def tell_of_size(run: LoadedRun, split: str, thresholds: Mapping[str, Tensor], folder: Path | None) -> None:
    """Say how much space the activations of a pass take, and where. ``thresholds`` are [L, P, F] of each read-out."""
    backbone, examples = run.model.backbone, len(run.data.rows[split])
    positions = {readout: threshold.shape[1] for readout, threshold in thresholds.items()}
    place = file_place(backbone, examples, positions, folder)
    where = "in memory" if place is None else f"in a temporary file in {place}"
    size = _size(backbone, examples, positions) / 1e6
    log.info("the areas need the activations of all %d texts of %s: %.1f MB %s", examples, split, size, where)


def save_areas(path: Path, areas: Areas, provenance: Mapping[str, Any], **meta: str) -> None:
    """Write an ``auroc`` file."""
    artifacts.save(path, AUROC, {"area": areas.area, "nan": areas.nan, "count": areas.count}, provenance, **meta)


def read_areas(path: Path, hits: Artifact) -> Areas:
    """Return the areas of an ``auroc`` file. Raises :class:`InputError` if it is not of the pass of ``hits``."""
    found = artifacts.load(path, AUROC)
    again = "'skn probe --auroc --overwrite' makes both alike"
    compare_provenance(found.provenance, hits.provenance, str(path), "pass", other=str(hits.path), way_out=again)
    if found["area"].shape != hits["hits"].shape:
        shapes = f"{list(found['area'].shape)}, {hits.path.name} has {list(hits['hits'].shape)}"
        raise InputError(f"{path}: classes, layers, positions and neurons {shapes}; {again}")
    return Areas(found["area"], found["nan"], found["count"])


def known(areas: Areas | None, where: str) -> Areas:
    """Return the areas of a probe. Raises :class:`InputError` if it has none; ``where`` names the probe."""
    if areas is None:
        raise InputError(f"{where}: no areas there; probe the run again with --auroc --resume")
    return areas


def _size(backbone: Backbone, examples: int, positions: Mapping[str, int]) -> int:
    return sum(
        size_of(backbone.ffn_sites, examples, count, _dtype(backbone, readout)) for readout, count in positions.items()
    )


def _dtype(backbone: Backbone, readout: str) -> torch.dtype:
    """The dtype of a read-out's activations. A pooled one is at least float32."""
    if readout.removesuffix(OF_GATE) in (MEAN, MAX) and backbone.dtype != torch.float64:
        return torch.float32
    return backbone.dtype
