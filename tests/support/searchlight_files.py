"""Small activations and attributes in every form that ``skn rsa`` reads."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from skn.runs.sweep import Sweep
from skn.store import artifacts

SEEDS = [1, 3, 42]
CONDITIONS = ["joy", "anger", "fear", "love", "pride"]
RATED = ["pride", "love", "fear", "relief", "anger", "joy"]  # another order, and one condition more
NAMES = ["arousal", "valence"]
LAYERS, WIDTH = 2, 10
CONSTANT = (1, 4)  # the activation of this neuron never changes


def values() -> torch.Tensor:
    found = torch.randn(3, 5, LAYERS, WIDTH, generator=torch.Generator().manual_seed(0))
    found[:, :, CONSTANT[0], CONSTANT[1]] = 0.5
    return found


def ratings() -> dict[str, list[float]]:
    rng = np.random.default_rng(1)
    return {name: [float(v) for v in rng.integers(1, 9, size=2)] for name in RATED}


def write_rows(path: Path, header: list[str], rows) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


# ---- activations --------------------------------------------------------------------------------------------


def ours(folder: Path) -> Path:
    axes = {"activations": ["seed", "condition", "L", "F"]}
    meta = {"seeds": SEEDS, "conditions": CONDITIONS}
    provenance = {"backbone_digest": "abc"}
    return artifacts.save(folder / "a.safetensors", "activations", {"activations": values()}, provenance, axes, **meta)


def foreign(folder: Path, **changes) -> Path:
    metadata = {"seeds": json.dumps(SEEDS), "emotions": json.dumps(CONDITIONS), **changes}
    tensors = {"activations": metadata.pop("tensor", values()).contiguous()}
    path = folder / "foreign.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata={k: v for k, v in metadata.items() if v is not None}))
    return path


def cells(folder: Path) -> Path:
    path = folder / "cells"
    path.mkdir()
    header = [str(i) for i in range(LAYERS * WIDTH)]
    for (s, seed), (c, condition) in itertools.product(enumerate(SEEDS), enumerate(CONDITIONS)):
        write_rows(path / f"{condition}-{seed}.csv", header, [values()[s, c].flatten().tolist()])
    write_rows(path / "joy-all.csv", ["0..19"], [[7.0]])
    return path


def sweep(folder: Path) -> Path:
    path = folder / "sweep"
    path.mkdir()
    Sweep(path, [f"goemotions/{c}" for c in CONDITIONS], SEEDS, {}).save()
    ours(path).rename(path / "activations.safetensors")
    return path


# ---- attributes ---------------------------------------------------------------------------------------------


def rated(folder: Path) -> Path:
    return write_rows(folder / "ratings.csv", ["emotion", *NAMES], [[name, *row] for name, row in ratings().items()])


def _distance(one: str, other: str) -> list[float]:
    return [abs(a - b) for a, b in zip(ratings()[one], ratings()[other], strict=True)]


def paired(folder: Path) -> Path:
    pairs = [pair[::-1] for pair in itertools.combinations(RATED, 2)]
    np.random.default_rng(0).shuffle(pairs)
    rows = [[*pair, *_distance(*pair)] for pair in pairs]
    return write_rows(folder / "pairs.csv", ["condition_1", "condition_2", *NAMES], rows)


def triangle(folder: Path, conditions: list[str]) -> Path:
    rows = [_distance(*pair) for pair in itertools.combinations(conditions, 2)]
    return write_rows(folder / f"distances-{len(conditions)}.csv", NAMES, rows)
