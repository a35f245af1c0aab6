"""One cell of ``skn mask --sweep``: its run under the masks of every attribute, and under random masks of the same
size.

Random masks that match the sets in each layer differ with the attribute. Random masks that match overall know only the
number of neurons, so all attributes share the random masks of a size, and each cell computes them once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.inference.batches import batches_by_length, collate
from skn.inference.compute import Compute
from skn.inference.engine import predict_batches
from skn.inference.loaded import LoadedRun
from skn.names import file_name
from skn.neurons.attribute_sets import AttributeSets
from skn.neurons.controls import control_sets
from skn.neurons.masking import Mask
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.seeds import generator
from skn.store import artifacts, folders
from skn.store.foreign_files import stands


@dataclass(frozen=True)
class MaskSettings:
    """The settings that all cells share. ``out`` is the folder of the cells' results."""

    sweep: Path
    sets: Path
    out: Path
    attributes: tuple[str, ...]
    top: tuple[int, ...]
    kind: str
    match: str
    draws: int
    seed: int
    split: str
    compute: Compute

    def file(self, cell: Cell, attribute: str) -> Path:
        name = f"{file_name(attribute, 'attribute')}.safetensors"
        return folders.below(self.out, cell.task, f"seed-{cell.seed}", name)

    def pending(self, cell: Cell) -> list[str]:
        """The attributes that have no file yet."""
        return [attribute for attribute in self.attributes if not stands(self.file(cell, attribute))]

    @property
    def drawn_for(self) -> str:
        """Say whether each attribute has random masks of its own, or each size has random masks for all attributes."""
        return "size" if self.match == "overall" else "attribute"

    def evaluations(self, attributes: int) -> int:
        """The evaluations of a cell for so many attributes: the unmasked model once, each set, and the random masks."""
        times_drawn = 1 if self.drawn_for == "size" else attributes
        return attributes and 1 + len(self.top) * (attributes + times_drawn * self.draws)

    def pending_evaluations(self, cell: Cell) -> int:
        """The evaluations still to compute for a cell."""
        return self.evaluations(len(self.pending(cell)))


def mask_cell(cell: Cell, settings: MaskSettings, tick: Callable[[], None] = lambda: None) -> int:
    """Write the ``masked`` file of each pending attribute, each atomically. Returns the number of evaluations.

    Each process loads the backbone once; a cell adds only its tuned tensors and its data. skn calls ``tick`` after
    every evaluation.
    """
    pending = settings.pending(cell)
    if not pending:
        return 0
    run = Sweep.open(settings.sweep).run(cell)
    loaded = load_cell(run, settings)
    sets = AttributeSets.open(settings.sets)
    right = _Right(loaded, settings, tick)
    unmasked, controls = right(None), _Controls(right)
    for attribute in pending:
        tensors = {"unmasked": unmasked, **_by_attribute(attribute, sets, right, controls)}
        meta = description(cell, attribute, sets.digest(attribute, settings.top), settings)
        classes = loaded.data.classes
        artifacts.save(settings.file(cell, attribute), "masked", tensors, loaded.provenance, classes=classes, **meta)
    return settings.evaluations(len(pending))


def description(cell: Cell, attribute: str, sets: str, settings: MaskSettings) -> dict[str, Any]:
    """Describe how a ``masked`` file is made. An existing file with another description was made with other settings.

    ``sets`` is the digest of the attribute's sets. The kind of mask is stored as "mask", because "kind" is the kind of
    the artifact.
    """
    return {
        "task": cell.task,
        "seed": cell.seed,
        "attribute": attribute,
        "top": list(settings.top),
        "mask": settings.kind,
        "split": settings.split,
        "match": settings.match,
        "draws": settings.draws,
        "draw_seed": settings.seed,
        "drawn_for": settings.drawn_for,
        "sets": sets,
    }


# The run that this process loaded last. Cells with the same key share its backbone.
_loaded: dict[tuple, LoadedRun] = {}


def load_cell(run: Run, settings: MaskSettings) -> LoadedRun:
    """Load the run, on the backbone that this process has loaded before if the backbone is the same."""
    config = run.config
    placed, dtype = config.placed(settings.compute), settings.compute.dtype or config.dtype
    key = (settings.compute.backbone or config.backbone, run.identity()["backbone_digest"], str(placed), dtype)
    before = _loaded.get(key)
    _loaded.clear()  # two backbones might not fit into memory
    _loaded[key] = run.load(settings.compute, reuse=before)
    return _loaded[key]


class _Right:
    """Say which examples of a cell's split are right under a mask, as [N] bool.

    The examples are tokenized and batched once.
    """

    def __init__(self, loaded: LoadedRun, settings: MaskSettings, tick: Callable[[], None]):
        self.model, self.engine, self.provenance = loaded.model, loaded.engine, loaded.provenance
        self.present = loaded.model.backbone.present
        self.settings, self.tick = settings, tick
        encoded = loaded.encoded(settings.split)
        rows = batches_by_length(encoded, settings.compute.batch_tokens, self.model.prompt_length)
        self.batches = [collate(encoded, part).to(self.model.backbone.device) for part in rows]
        self.label = encoded.label

    def __call__(self, chosen: Tensor | None, factor: Tensor | None = None) -> Tensor:
        mask = None if chosen is None else Mask(self.settings.kind, chosen, factor=factor)
        logits = predict_batches(self.model, self.batches, len(self.label), self.engine, mask=mask)
        self.tick()
        return logits.argmax(dim=1) == self.label


class _Controls:
    """Say how many random masks get each example right, and the accuracy under each random mask."""

    def __init__(self, right: _Right):
        self.right, self.settings = right, right.settings
        self.of_size: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, attribute: str, count: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``random`` [example] int16 and ``random_accuracy`` [draw] for the ``chosen`` neurons [L, F]."""
        if self.settings.drawn_for == "attribute":
            return self._drawn(chosen, self._keys(attribute, count))
        size = int(chosen.sum())
        if size not in self.of_size:
            self.of_size[size] = self._drawn(chosen, partial(generator, self.settings.seed, "control", size))
        return self.of_size[size]

    def _drawn(self, chosen: Tensor, keys: Callable[[int], torch.Generator]) -> tuple[Tensor, Tensor]:
        settings = self.settings
        drawn = control_sets(chosen, self.right.present, settings.match, keys=keys,
                             draws=settings.draws, factors=settings.kind == "scale")  # fmt: skip
        draws = torch.stack([self.right(*control) for control in drawn])
        return draws.sum(dim=0).to(torch.int16), draws.double().mean(dim=1)

    def _keys(self, attribute: str, count: int) -> Callable[[int], torch.Generator]:
        """Return a function from a draw to its generator.

        All cells use equal generators, so emotions are compared under equal masks.
        """
        seed, match = self.settings.seed, self.settings.match
        return lambda draw: generator(seed, "control", attribute, count, draw, match)


def _by_attribute(attribute: str, sets: AttributeSets, right: _Right, controls: _Controls) -> dict[str, Tensor]:
    """Return ``masked`` and ``random`` [top, example] and ``random_accuracy`` [top, draw] of an attribute's sets."""
    settings = right.settings
    masked, random, accuracy = [], [], []
    for count in settings.top:
        neuron_set = sets.load(attribute, count, right.provenance, right.present)
        factor = neuron_set.factor if settings.kind == "scale" else None
        masked.append(right(neuron_set.selected, factor))
        for found, of_count in zip((random, accuracy), controls(attribute, count, neuron_set.selected), strict=True):
            found.append(of_count)
    return {"masked": torch.stack(masked), "random": torch.stack(random), "random_accuracy": torch.stack(accuracy)}
