"""A sweep with everything that a report shows, made without a model: cells, searchlight, masks, and their tests."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import torch
from filled_run import PROVENANCE, make_run

from skn.names import file_name
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.store import artifacts, atomic, documents

TASKS = [f"goemotions/{name}" for name in ("joy", "anger", "fear", "<b>grief")]
SEEDS = [1, 3, 5]
ATTRIBUTES = ["valence", "$_arousal", "<i>fair"]
LAYERS, WIDTH = 3, 20
TOPS = [4, 8]
FAILED, UNFINISHED, MISSING = Cell(TASKS[1], 3), Cell(TASKS[2], 5), Cell(TASKS[3], 1)
ERROR = "out of <memory>"
CONSTANT = (1, 4)  # a neuron without a tau
MANTEL = ("p_mantel", "q_mantel", "p_family")


def make_sweep(folder, tasks=TASKS, seeds=SEEDS):
    """Make the grid alone: one cell has failed, one is unfinished and one is missing; all others are done."""
    sweep = Sweep(folder, list(tasks), list(seeds), {"backbone": "tiny", "epochs": 1})
    sweep.save()
    for index, cell in enumerate(sweep.cells):
        if cell in (FAILED, MISSING):
            continue
        run = make_run(sweep.folder(cell))
        done = None if cell == UNFINISHED else {**run.training, "best_accuracy": accuracy_of(index)}
        Run(run.path, replace(run.config, seed=cell.seed), done).save()
        atomic.write_json(run.path / "timings.json", {"train": 10.0 + index})
    if FAILED in sweep.cells:
        documents.write(sweep.path / "failed.json", "failed", {str(FAILED): ERROR})
    return sweep


def accuracy_of(index):
    return 0.6 + 0.3 * ((index * 7) % 11) / 11


def searchlight_values(attributes, layers, width, names, seed=0):
    """Make tau, ranks, and p of every name. The parametric p are smaller than the p of permutations."""
    generator = np.random.default_rng(seed)
    tau = np.clip(generator.normal(0.1, 0.15, (attributes, layers, width)), -1, 1)
    common = generator.normal(0, 0.1, (layers, width))
    tau = tau + common
    tau[(slice(None), *CONSTANT)] = np.nan
    small = {"p": 40, "q": 25, "q_all": 20, "p_mantel": 15, "q_mantel": 8, "p_family": 5}
    values = {"tau": tau, "rank": ranks(tau)}
    for name in names:
        base = name.removeprefix("partial_")
        values[name] = tau / 2 if base == "tau" else np.clip(np.exp(-small[base] * tau), 0, 1)
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}


def ranks(tau):
    flat = np.where(np.isnan(tau), np.inf, -tau).reshape(len(tau), -1)
    rank = flat.argsort(axis=1).argsort(axis=1) + 1.0
    return np.where(np.isnan(tau), np.nan, rank.reshape(tau.shape))


def add_searchlight(folder, names=("p", "q", "q_all"), attributes=ATTRIBUTES, size=(LAYERS, WIDTH), **meta):
    """Write rsa.safetensors and rsa.json with the values in ``names``."""
    conditions = [task.rpartition("/")[2] for task in TASKS]
    said = {"attributes": list(attributes), "conditions": conditions, "seeds": SEEDS, "top": TOPS, "permutations": 0}
    if MANTEL[0] in names:
        said |= {"permutations": 500, "seed": 7}
    tensors = searchlight_values(len(attributes), *size, names)
    artifacts.save(folder / "rsa.safetensors", "rsa", tensors, PROVENANCE, **{**said, **meta})
    documents.write(folder / "rsa.json", "rsa", {"alpha": 0.05, "attributes": [], "stability": None})
    return tensors


def stability_of(names, attributes=3, tops=TOPS, seed=0):
    generator = np.random.default_rng(seed)
    return {"names": names, "jaccard": {str(k): generator.random((len(names), attributes)).tolist() for k in tops}}


def add_stability(folder, **changes):
    found = {"seeds": stability_of(["1", "3", "5"]), "conditions": stability_of(["joy", "anger"], seed=1)}
    documents.write(folder / "rsa.json", "rsa", {"alpha": 0.05, "attributes": [], "stability": {**found, **changes}})


def add_masks(sweep, name="sets", attributes=ATTRIBUTES, tops=TOPS, draws=20):
    """Write accuracy.csv and the masked files of the cells that are done. Returns the rows of accuracy.csv."""
    folder, rows = sweep.path / "masked" / name, []
    generator = np.random.default_rng(3)
    for cell in sweep.cells:
        if cell in (FAILED, UNFINISHED, MISSING):
            continue
        for attribute in attributes:
            level = 0.85 - 0.05 * np.array(tops) / max(tops)
            random = level[:, None] + generator.uniform(-0.02, 0.02, (len(tops), draws))
            accuracy = level - generator.uniform(-0.05, 0.2, len(tops))
            add_masked(folder, cell, attribute, tops, random)
            for top, value, drawn in zip(tops, accuracy, random, strict=True):
                ends = (drawn.mean(), drawn.min(), drawn.max())
                rows.append([cell.condition, cell.seed, attribute, top, value, 0.9, *ends, draws])
    write_accuracy(folder, rows)
    return rows


def add_masked(folder, cell, attribute, tops, random):
    file = folder / str(cell) / f"{file_name(attribute, 'attribute')}.safetensors"
    examples = 4
    tensors = {
        "unmasked": torch.ones(examples, dtype=torch.bool),
        "masked": torch.ones(len(tops), examples, dtype=torch.bool),
        "random": torch.zeros(len(tops), examples, dtype=torch.int16),
        "random_accuracy": torch.from_numpy(random),
    }
    meta = {"task": cell.task, "seed": cell.seed, "attribute": attribute, "top": list(tops)}
    asked = {"mask": "zero", "split": "test", "match": "layer", "draws": random.shape[1]}
    artifacts.save(file, "masked", tensors, PROVENANCE, **meta, **asked)


COLUMNS = ("emotion,seed,attribute,top,accuracy,unmasked,random_mean,random_low,random_high,draws").split(",")


def write_accuracy(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "accuracy.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def tests_on(mean, p, q, **more):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "p": p, "q": q, **more}


def specificity_table(attributes=ATTRIBUTES, tops=TOPS, emotions=None):
    """Make damage and specificity of every attribute and k. The last attribute could not be contrasted."""
    emotions = emotions or [task.rpartition("/")[2] for task in TASKS]
    third = max(1, len(emotions) // 3)
    rows, by_emotion = [], []
    generator = np.random.default_rng(5)
    for index, attribute in enumerate(attributes):
        for top in tops:
            shuffled = [emotions[i] for i in generator.permutation(len(emotions))]
            parts = {"top_third": shuffled[:third], "bottom_third": shuffled[-third:]}
            contrast = tests_on(0.0123, 0.2, 0.4, **parts) if index < len(attributes) - 1 else None
            drop = tests_on(0.0371 + index / 100, 0.00001, 0.0004, seeds=3)
            test = {"b": 1200, "c": 34, "p": 1e-30}
            rows.append({"attribute": attribute, "top": top, "drop": drop, "mcnemar": test, "specificity": contrast})
            values = generator.normal(0.03, 0.05, len(emotions))
            by_emotion += [
                {"attribute": attribute, "top": top, "emotion": name, "drop": float(value)}
                for name, value in zip(emotions, values, strict=True)
            ]
    return {"alpha": 0.05, "rows": rows, "by_emotion": by_emotion, "notes": ["a note & more"]}


def fill(sweep):
    add_searchlight(sweep.path / "rsa", ("p", "q", "q_all", *MANTEL, "partial_tau", "partial_p", "partial_q"))
    add_stability(sweep.path / "rsa")
    add_masks(sweep)
    documents.write(sweep.path / "masked" / "sets" / "specificity.json", "specificity", specificity_table())
    return sweep
