"""A run with everything that a report shows, made without a model."""

import struct
import zlib

import torch

from skn.data.spec import DataSpec
from skn.neurons.significance import Significance
from skn.neurons.stored_tests import save_significance
from skn.runs.config import RunConfig
from skn.runs.run import Run
from skn.store import artifacts, documents

LAYERS, POSITIONS, WIDTH, EXAMPLES = 3, 4, 20, 60
BEST = (2, 7)
CHOSEN = [BEST, (1, 0), (1, 19)]  # beyond chance on validation; on test all but the last
CLASSES = ["<b>", "$_&"]
ORIGIN = {"backbone": "tiny", "backbone_digest": "d1", "task": "toy"}
PROVENANCE = {**ORIGIN, "prompt_length": POSITIONS, "dtype": "float32"}


def make_run(folder):
    """Make a finished run with its prompt and nothing else."""
    config = RunConfig(
        backbone="tiny", data=DataSpec(data="/nowhere/toy"), method="prompt", prompt_length=POSITIONS,
        label_words=CLASSES, max_length=32, device="cpu", dtype="float32", epochs=1, batch_size=8, lr=0.01,
        warmup=0.0, eval_every=5, patience=6, seed=3,
    )  # fmt: skip
    history = [{"step": 5, "eval_accuracy": 0.6}, {"step": 10, "eval_accuracy": 0.853}]
    history.insert(0, {"step": 5, "loss": 0.7})
    training = {"best_accuracy": 0.853, "best_step": 10, "history": history, "truncated": {"train": 0, "validation": 0}}
    run = Run(folder, config, training)
    run.save()
    tensors = {"prompt": torch.zeros(POSITIONS - 1, 8), "label_ids": torch.tensor([1, 2])}
    artifacts.save(run.tuned_file, "tuned", tensors, PROVENANCE, method="prompt", position_start=None)
    splits = {name: torch.tensor([row]) for row, name in enumerate(("train", "validation", "test"))}
    artifacts.save(run.splits_file, "splits", splits, {"split_digest": "s1"})
    return run


def add_activations(run):
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(EXAMPLES) % 2
    activation = torch.randn(EXAMPLES, 1, POSITIONS, 1, generator=generator)
    activation += 2.0 * label[:, None, None, None]
    meta = {"neurons": [list(BEST)], "split": "test", "position": 1, "classes": CLASSES}
    file = run.file("activations", "neuron", "test")
    artifacts.save(file, "activations", {"activations": activation, "label": label}, PROVENANCE, **meta)


def add_hits(run):
    """At position 1, the best neuron exceeds its threshold on 16 of 20 examples of class 0 and 10 of 40 of class 1."""
    hits = torch.zeros(2, LAYERS, POSITIONS, WIDTH, dtype=torch.int64)
    hits[:, BEST[0], 1, BEST[1]] = torch.tensor([16, 10])
    tensors = {
        "count": torch.tensor([20, 40]),
        "hits": hits,
        "threshold": torch.full((LAYERS, POSITIONS, WIDTH), 1.125, dtype=torch.float64),
        "present": torch.ones(LAYERS, WIDTH, dtype=torch.bool),
    }
    artifacts.save(run.file("hits", "test"), "hits", tensors, PROVENANCE, split="test", readout="prompt")


def add_neurons(run, **meta):
    generator = torch.Generator().manual_seed(1)
    score = 0.5 + torch.rand(LAYERS, WIDTH, generator=generator, dtype=torch.float64) * 0.3
    score[BEST] = 0.937
    score[0] = torch.nan
    rank = torch.where(score.isnan(), -1, score.nan_to_num(-1).argsort(descending=True).argsort())
    meta = {"split": "validation", "by": "predictivity", "aggregate": "mean", "readout": "prompt", **meta}
    tensors = {"score": score, "rank": rank}
    artifacts.save(run.file("neurons"), "neurons", tensors, PROVENANCE, **{"runs": ["a"], **meta})


def stability(pairs=3):
    """What a ranking's file says of bootstraps."""
    agreement = {of: {"mean": 0.5, "interval": [0.25, 0.75]} for of in ("index", "permuted")} | {"random": 0.125}
    said = {"fraction": 0.05, "split": "validation", "neurons": 3, "stay": 2, "bootstraps": 1000, "jaccard": agreement}
    return {**said, "pairs": pairs, "jaccard_of_runs": agreement if pairs else None}


def add_accuracy(run, split, values, contrasts=("1:0",)):
    """Write accuracies of 0.5 everywhere except at the best neuron, whose positions have these ``values``."""
    accuracy = torch.full((len(contrasts), LAYERS, POSITIONS, WIDTH), 0.5, dtype=torch.float64)
    accuracy[0, BEST[0], :, BEST[1]] = torch.tensor(values, dtype=torch.float64)
    best = torch.maximum(accuracy, 1 - accuracy).amax(2)
    tensors = {"accuracy": accuracy, "plain": accuracy.clone(), "predictivity": best}
    meta = {"split": split, "readout": "prompt", "contrasts": list(contrasts)}
    artifacts.save(run.file("accuracy", split), "accuracy", tensors, PROVENANCE, **meta)


def tests_of_split(split, permutations=99):
    """Tests of the neurons of layers 1 and 2. The best by chance reaches 60% to 80%."""
    p = torch.full((LAYERS, WIDTH), 0.5, dtype=torch.float64)
    p[0] = torch.nan
    family, chosen = p.clone(), torch.full_like(p, torch.nan)
    for place in CHOSEN:
        p[place], family[place], chosen[place] = 0.01, 0.03 if split == "validation" else 0.2, 0.04
    chosen[CHOSEN[-1]] = 0.06
    chance = torch.linspace(0.6, 0.8, permutations, dtype=torch.float64)
    return Significance(p, family, chance, None if split == "validation" else chosen)


def add_significance(run, split, readout="prompt", permutations=99, **provenance):
    tests = tests_of_split(split, permutations)
    save_significance(run.path, split, readout, tests, {**PROVENANCE, **provenance})


def mask_control(mean):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "draws": [mean - 0.01, mean + 0.01]}


def mask_table(kind="zero", **changes):
    rows = [
        {"fraction": f, "neurons": int(60 * f), "accuracy": 0.9 - f, "auc": 0.95 - f,
         "controls": {"accuracy": mask_control(0.9 - f / 4), "auc": mask_control(0.95 - f)}}
        for f in (0.1, 0.2)
    ]  # fmt: skip
    rows.insert(0, {"fraction": 0.0, "neurons": 0, "accuracy": 0.9, "auc": 0.95, "controls": None})
    table = {"kind": kind, "alpha": None, "layers": [1, 3], "split": "test", "dtype": "float32", "rows": rows}
    return {**table, **changes}


def two_matches(**changes):
    """A mask table with overall controls, five points below those of each layer."""
    table = mask_table(match="layer,overall", **changes)
    for row in table["rows"]:
        by = {"layer": row["controls"], "overall": None}
        if row["controls"]:
            by["overall"] = {name: mask_control(of["mean"] - 0.05) for name, of in row["controls"].items()}
        row["controls_by_match"] = by
    return table


def add_mask(run, name="mask-zero", **changes):
    documents.write(run.path / f"{name}.json", "mask", mask_table(**changes))


def add_prune(run):
    table = {"parameters_before": 2_000_000, "parameters_after": 1_500_000, "kept_fraction": 0.2}
    documents.write(run.path / "prune.json", "prune", {**table, "widths": [20, 4, 4], "layers": [1, 3]})


def add_evaluation(run):
    speed = {"median": 410.0, "low": 400.0, "high": 425.5, "repeats": 5}
    models = [
        {"name": "full", "engine": "hf", "parameters": 2_000_000, "accuracy": 0.9, "examples_per_second": speed},
        {"name": "pruned", "engine": "hf", "parameters": 1_500_000, "accuracy": 0.88, "examples_per_second": None},
    ]
    table = {"split": "test", "dtype": "float32", "device": "cpu", "batch_tokens": 4096, "threads": 2, "examples": 60}
    table |= {"truncated": 0, "tokenization_seconds": 0.1, "models": models}
    documents.write(run.path / "evaluate-test.json", "evaluate", table)


def fill(run):
    add_activations(run)
    add_hits(run)
    add_neurons(run)
    add_accuracy(run, "validation", [0.6, 0.1, 0.7, 0.5])
    add_accuracy(run, "test", [0.99, 0.225, 0.6, 0.5])  # position 1 agrees with the hits
    add_significance(run, "validation")
    add_significance(run, "test")
    add_mask(run)
    add_prune(run)
    add_evaluation(run)
    return run


def png_size(payload):
    """Return (width, height) after a check of every chunk's checksum."""
    assert payload[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds = 8, []
    while at < len(payload):
        (length,), kind = struct.unpack(">I", payload[at : at + 4]), payload[at + 4 : at + 8]
        body = payload[at + 8 : at + 8 + length]
        assert struct.unpack(">I", payload[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        at += 12 + length
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"
    assert not {b"tIME", b"tEXt"} & set(kinds)
    return struct.unpack(">II", payload[16:24])


def harm_row(fraction, accuracy, excess, neurons=12):
    ends = [excess - 0.05, excess + 0.05]
    row = {"fraction": fraction, "neurons": neurons, "accuracy": accuracy, "excess": excess, "interval": ends}
    return {**row, "draws": [accuracy + excess] * 2}


def add_off_target(run, name="off-target-zero", **changes):
    runs = [
        {"run": name, "examples": 60, "accuracy": 0.9, "interval": [0.8, 0.95], "majority": 0.5, "mean": None,
         "engine": "hf", "provenance": PROVENANCE, "rows": [harm_row(0.1, 0.8, 0.02, 6), harm_row(0.2, 0.7, excess)]}
        for name, excess in (("own", 0.15), ("imdb", -0.01), ("mnli", 0.03))
    ]  # fmt: skip
    tests = [{"fraction": 0.2, "run": "imdb", "difference": 0.4, "p": 1 / 3}]
    neurons = {"name": "neurons", "digest": "d", "task": "toy"}
    table = {"kind": "zero", "alpha": None, "controls": 2, "match": "layer", "layers": [1, 3], "split": "test", "seed": 0,
             "fractions": [0.1, 0.2], "on": ["imdb", "mnli"], "neurons": neurons, "dtype": "float32",
             "provenance": PROVENANCE, "runs": runs, "tests": tests, "notes": []}  # fmt: skip
    documents.write(run.path / f"{name}.json", "off-target", {**table, **changes})
