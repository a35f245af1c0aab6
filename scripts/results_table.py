"""The figures of docs/results.md, read from run folders: one row of Markdown for each run.

python scripts/results_table.py RUN...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from skn.neurons.selection import carried_over
from skn.runs.run import Run
from skn.store import artifacts

COLUMNS = (
    "run", "train, s", "validation, plain", "test, plain", "model, balanced: validation → test",
    "best neuron, balanced: validation → test",
    "zero 20%: accuracy (random mean; draws)", "zero 20%: AUC (random mean; draws)",
)  # fmt: skip
INTERVALS = (("mean_low", "mean_high"), ("low", "high"))


def row(path: Path) -> list[str]:
    run = Run.open(path)
    seconds = json.loads((path / "timings.json").read_text())["train"]
    masks = json.loads((path / "mask-zero.json").read_text())["rows"] if (path / "mask-zero.json").is_file() else []
    full = next((r["accuracy"] for r in masks if r["fraction"] == 0), None)
    last = masks[-1] if masks else None
    return [
        path.name,
        f"{seconds:.0f}",
        f"{run.training['best_accuracy']:.3f}",
        "–" if full is None else f"{full:.3f}",
        " → ".join(f"{run.probe(split).model_accuracy(split):.3f}" for split in ("validation", "test")),
        best_neuron(run),
        *(masked(last, measure) for measure in ("accuracy", "auc")),
    ]


def masked(row: dict | None, measure: str) -> str:
    """Write a measure while the best neurons are masked, with 95% intervals of the random sets' mean and of a single
    set.
    """
    if row is None:
        return "–"
    control = row["controls"][measure]
    mean, draws = (f"{control[low]:.3f} – {control[high]:.3f}" for low, high in INTERVALS)
    return f"{row[measure]:.3f} ({mean}; {draws})"


def best_neuron(run: Run) -> str:
    """Write the neuron that predicts best on validation, and its accuracy on test at that position and direction."""
    chosen, test = (artifacts.load(run.file("accuracy", split), "accuracy") for split in ("validation", "test"))
    score = chosen["predictivity"].nan_to_num(-1.0).amax(dim=0)
    layer, neuron = (int(i) for i in torch.unravel_index(score.argmax(), score.shape))
    on_test = carried_over(chosen["accuracy"], test["accuracy"], [(layer, neuron)])[0]
    return f"{layer},{neuron}: {score.max():.3f} → {on_test:.3f}"


def main(paths: list[Path]) -> None:
    for line in (COLUMNS, ["---"] * len(COLUMNS), *map(row, paths)):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
