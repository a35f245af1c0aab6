"""Two tasks over one model that holds a plant for each: the words and the units of one are not those of the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from planted import BAD, GOOD, LAYERS, MASK, READOUT, SIGNAL, WIDTH, WORD_BAD, WORD_GOOD, Plant, planted_encoder
from planted import planted_split as texts_of_plant

from skn.inference.batches import Encoded
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel

OTHER_GOOD, OTHER_BAD = 60, 61
PLANTS = {
    "first": Plant(GOOD, BAD, SIGNAL, {1: (2, 11), 2: (5, 17)}),
    "second": Plant(OTHER_GOOD, OTHER_BAD, (4, 5), {1: (3, 7, 19), 2: (9,)}),
}


@dataclass(frozen=True)
class PlantedRun(LoadedRun):
    """A run whose texts are tokens already."""

    texts: Encoded = field(kw_only=True)

    def encoded(self, split: str) -> Encoded:
        return self.texts


def units(name: str) -> torch.Tensor:
    """[L, F] bool: the units of a plant."""
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    for layer, neurons in PLANTS[name].units.items():
        chosen[layer, list(neurons)] = True
    return chosen


def planted_runs(rows: int = 60) -> dict[str, LoadedRun]:
    """A run for each plant, over one backbone: the model solves both tasks."""
    backbone = Backbone(planted_encoder(list(PLANTS.values())).requires_grad_(False), headless=True)
    return {name: _run(name, backbone, rows) for name in PLANTS}


@torch.no_grad()
def _run(name: str, backbone: Backbone, rows: int) -> LoadedRun:
    tuned = TunedModel.fresh(backbone, [WORD_BAD, WORD_GOOD], MASK, 4)
    tuned.prompt[:, [dim for plant in PLANTS.values() for dim in plant.signal]] = 0
    tuned.prompt[:, list(READOUT)] = 0
    plant, texts = PLANTS[name], texts_of_plant(rows, seed=3)
    words = {GOOD: plant.good, BAD: plant.bad}
    texts.input_ids[:] = [[words.get(token, token) for token in text] for text in texts.input_ids]
    origin = {"backbone": "planted", "backbone_digest": "p", "task": name, "tuned": name, "dtype": "float32"}
    origin |= {"engine": "hf", "seed": 0, "split_digest": name}
    how = {"provenance": origin, "label_words": ["bad", "good"], "class_names": ["bad", "good"], "max_length": 40}
    return PlantedRun(tuned.requires_grad_(False), None, None, texts=texts, **how)
