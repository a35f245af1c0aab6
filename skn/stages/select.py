"""``skn select``: one ranking of the neurons of each layer, from one or many runs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from skn.console import listed, print_table
from skn.errors import InputError
from skn.neurons.selection import (
    Contrast,
    aggregate,
    balanced_accuracy,
    carried_over,
    default_contrasts,
    parse_contrast,
    plain_accuracy,
    predictivity,
    rank,
    unite,
)
from skn.runs.run import Run
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.output import refuse_existing


def select(
    runs: list[Path],
    with_runs: list[list[Path]],
    how: str = "mean",
    split: str = "validation",
    by: str = "predictivity",
    readout: str = "prompt",
    contrasts: list[str] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the ``neurons`` file.

    ``runs`` are seeds of one task, aggregated by ``how``. Each of ``with_runs`` is a further (auxiliary) binary task,
    again one or more seeds; the tasks' rankings, and those of a multi-class task's contrasts, are united in equal
    shares.
    """
    if contrasts and with_runs:
        raise InputError("--contrast and --with exclude each other: a contrast is read from one task's classes")
    out = out or runs[0] / "neurons.safetensors"
    refuse_existing([out], overwrite)
    groups = [[_hits(Run.open(path), readout, split) for path in group] for group in [runs, *with_runs]]
    first = groups[0][0]
    for found in (hits for group in groups for hits in group):
        _same_backbone(first, found)
    scores = [score for group in groups for score in _scores(group, contrasts, how, by)]
    present = first["present"]
    ranks = [rank(score, present) for score in scores]
    score = torch.stack(scores).amax(dim=0).masked_fill(~present, torch.nan)
    artifacts.save(
        out,
        "neurons",
        {"score": score, "rank": unite(ranks) if len(ranks) > 1 else ranks[0]},
        {**first.provenance, "seed": [hits.provenance["seed"] for hits in groups[0]]},
        split=split,
        by=by,
        aggregate=how,
        readout=readout,
        runs=[path.resolve().name for path in runs],
        with_runs=[[path.resolve().name for path in group] for group in with_runs],
        rankings=len(ranks),
    )
    _show(out, score, None if contrasts or with_runs else _on_test(runs, readout, split, by))
    return out


def _hits(run: Run, readout: str, split: str) -> Artifact:
    hint = "skn probe" if readout == "prompt" else f"skn probe --pool {readout}"
    return run.load_artifact("hits", readout, split, hint=hint)


def _same_backbone(first: Artifact, other: Artifact) -> None:
    if other["present"].shape != first["present"].shape or not torch.equal(other["present"], first["present"]):
        raise InputError(f"{other.path}: has other neurons than {first.path}")
    artifacts.check_provenance(other, {"backbone_digest": first.provenance["backbone_digest"]})


def _scores(seeds: list[Artifact], contrasts: list[str] | None, how: str, by: str) -> list[Tensor]:
    """The aggregated predictivity [L, F] of each contrast of one task."""
    classes = seeds[0]["count"].numel()
    for hits in seeds:
        if hits["count"].numel() != classes:
            raise InputError(
                f"{hits.path}: {hits['count'].numel()} classes, {seeds[0].path} has {classes}; seeds share a task"
            )
    chosen = [parse_contrast(text, classes) for text in contrasts] if contrasts else default_contrasts(classes)
    return [aggregate([_score(hits, contrast, by) for hits in seeds], how) for contrast in chosen]


def _score(hits: Artifact, contrast: Contrast, by: str) -> Tensor:
    measure = balanced_accuracy if by == "predictivity" else plain_accuracy
    bad = torch.isnan(hits["threshold"]).any(dim=1)  # a NaN neuron predicts nothing
    return predictivity(measure(hits["hits"], hits["count"], contrast)).masked_fill(bad, torch.nan)


def _on_test(runs: list[Path], readout: str, split: str, by: str) -> tuple[Tensor, Tensor] | None:
    """Accuracies [K, L, P, F] on the deciding split and on test, where one run makes the comparison plain."""
    if len(runs) > 1 or split == "test":
        return None
    run = Run.open(runs[0])
    chosen, test = (run.load_artifact("accuracy", readout, part, hint="skn probe") for part in (split, "test"))
    measure = "accuracy" if by == "predictivity" else "plain"
    return chosen[measure], test[measure]


def _show(out: Path, score: Tensor, accuracies: tuple[Tensor, Tensor] | None) -> None:
    """The ten best neurons; on test each is read at the position and in the direction chosen before."""
    values, indices = score.nan_to_num(-1.0).flatten().topk(min(10, score.numel()))
    neurons = [divmod(index, score.shape[1]) for index in indices.tolist()]
    on_test = carried_over(*accuracies, neurons) if accuracies else [None] * len(neurons)
    rows = list(zip(neurons, values.tolist(), on_test, strict=True))
    formats = {"layer,neuron": listed, "score": ".4f", "on test": ".4f"}
    print_table(f"Best neurons ({out})", list(formats), rows, formats)
