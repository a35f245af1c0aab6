"""``skn report``: figures and one self-contained HTML page from whatever a run holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from skn.errors import InputError
from skn.inference.hf import PROMPT
from skn.neurons.selection import carried_over
from skn.pruned.evaluation import read_evaluation
from skn.pruned.prune import read_prune
from skn.reports.run_data import FileEntry, Histogram, Predictivity, ReportData
from skn.reports.run_page import pictures_and_page
from skn.runs.run import Run
from skn.store import artifacts, atomic
from skn.store.artifacts import Artifact
from skn.store.folders import below

BEST_SHOWN = 10

# What a JSON file of a run must say to be reported on; under "rows" and "models", of each entry.
JSON_KEYS = {
    "mask": {"kind", "alpha", "layers", "split", "dtype", "rows"},
    "rows": {"fraction", "neurons", "accuracy", "auc", "controls"},
}

# Not listed: the report itself, and files whose size depends on when and how fast training ran.
UNLISTED = {"report", "checkpoints", "timings.json"}


def report(run_path: Path) -> Path:
    """Write ``report/*.png`` and the page, which it returns; a missing stage is a missing section."""
    run = Run.open(run_path)
    return write(run.path / "report", *pictures_and_page(collect(run)))


def write(folder: Path, pictures: dict[str, bytes], page: str) -> Path:
    """The pictures and the page, which it returns."""
    for name, png in pictures.items():
        atomic.write_bytes(below(folder, name), png)
    atomic.write_text(folder / "index.html", page)
    return folder / "index.html"


def collect(run: Run) -> ReportData:
    """What the run's files say; raises :class:`InputError` for one that is damaged or of another backbone."""
    identity = run.identity()
    neurons = _neurons(run, identity)
    files = sorted(run.path.glob("activations-neuron-*.safetensors"))
    activations = [artifacts.load(file, "activations", identity) for file in files]
    masks = [_read_json(file, "mask") for file in sorted(run.path.glob("mask-*.json"))]
    hits = _hits(run, {a.meta["split"] for a in activations} | {mask["split"] for mask in masks}, identity)
    prune = run.path / "prune.json"
    return ReportData(
        config=asdict(run.config),
        training=run.training,
        provenance=identity,
        histograms=[_histogram(a, hits.get(a.meta["split"]), _best(neurons)) for a in activations],
        predictivity=None if neurons is None else _predictivity(run, neurons, identity),
        masks=masks,
        class_share={split: (h["count"] / h["count"].sum()).tolist() for split, h in hits.items()},
        prune=read_prune(prune) if prune.is_file() else None,
        evaluations=[_evaluation(file) for file in sorted(run.path.glob("evaluate-*.json"))],
        files=list(_files(run.path)),
    )


def _neurons(run: Run, identity: dict[str, Any]) -> Artifact | None:
    """The run's ranking; a fixed set has no scores to show and counts as none."""
    file = run.file("neurons")
    if not file.is_file():
        return None
    # Other tasks of the same backbone may have another prompt length, as everywhere neurons are read.
    ranking = artifacts.load(file, "neurons", {"backbone_digest": identity.get("backbone_digest")})
    return None if ranking.get("score") is None else ranking


def _best(neurons: Artifact | None) -> list[tuple[int, int]]:
    """(layer, neuron) of the highest scores, best first; ties go to the lower layer and index."""
    if neurons is None:
        return []
    score = neurons["score"]
    order = score.nan_to_num(-torch.inf).flatten().argsort(descending=True, stable=True)
    order = order[: min(BEST_SHOWN, int((~score.isnan()).sum()))]
    return [divmod(index, score.shape[1]) for index in order.tolist()]


def _hits(run: Run, splits: set[str], identity: dict[str, Any]) -> dict[str, Artifact]:
    files = {split: run.file("hits", split) for split in sorted(splits)}
    return {split: artifacts.load(file, "hits", identity) for split, file in files.items() if file.is_file()}


def _histogram(activations: Artifact, hits: Artifact | None, best: list[tuple[int, int]]) -> Histogram:
    """The first neuron of the file at the position stored for it."""
    (layer, neuron), position = activations.meta["neurons"][0], activations.meta["position"]
    threshold = None
    if hits is not None and not torch.isnan(hits["threshold"][layer, position, neuron]):
        threshold = hits["threshold"][layer, position, neuron].item()
    return Histogram(
        split=activations.meta["split"],
        layer=layer,
        neuron=neuron,
        position=position,
        best=best[:1] == [(layer, neuron)],
        activation=activations["activations"][:, 0, position, 0].double().numpy(),
        label=activations["label"].numpy(),
        classes=activations.meta["classes"],
        threshold=threshold,
    )


def _predictivity(run: Run, neurons: Artifact, identity: dict[str, Any]) -> Predictivity:
    meta, best = neurons.meta, _best(neurons)
    split, readout = meta.get("split"), meta.get("readout", PROMPT)
    parts = [f"measured on the {split} split" if split else "imported"]
    if len(meta.get("runs", [])) > 1:
        parts.append(f"{meta['aggregate']} over {len(meta['runs'])} runs")
    if meta.get("with_runs"):
        parts.append(f"the best of this task and of {len(meta['with_runs'])} more")
    test = None
    files = [run.file("accuracy", readout, name) for name in (split or "", "test")]
    if split != "test" and all(file.is_file() for file in files):
        measure = "plain" if meta.get("by") == "plain" else "accuracy"
        test = _test_accuracy(*(artifacts.load(file, "accuracy", identity) for file in files), measure, best)
    return Predictivity(neurons["score"].numpy(), ", ".join(parts), best, test)


def _test_accuracy(chosen: Artifact, test: Artifact, measure: str, best: list[tuple[int, int]]) -> list[float] | None:
    """The best neurons' accuracy on test; None where the choice made on ``chosen`` cannot be repeated there."""
    contrasts = [artifact.meta.get("contrasts") for artifact in (chosen, test)]
    if contrasts[0] != contrasts[1] or chosen[measure].shape != test[measure].shape:
        return None
    return carried_over(chosen[measure], test[measure], best)


def _read_json(file: Path, kind: str) -> dict[str, Any]:
    """A JSON file with the keys that its kind needs, and its ``name``; raises :class:`InputError`."""
    try:
        document = json.loads(file.read_text())
        entries = [(kind, document), *((key, e) for key in ("rows", "models") for e in document.get(key, []))]
        missing = {key for name, entry in entries for key in JSON_KEYS[name] - entry.keys()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file}: damaged ({error}); run 'skn {kind} --overwrite' again") from error
    if missing:
        raise InputError(f"{file}: lacks {', '.join(sorted(missing))}; run 'skn {kind} --overwrite' again")
    return {**document, "name": file.stem}


def _evaluation(file: Path) -> dict[str, Any]:
    return {**read_evaluation(file), "name": file.stem}


def _files(folder: Path) -> Iterator[FileEntry]:
    """The run's files by name, with what each says about itself. Hidden ones are half-written."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if not file.is_file() or parts[0] in UNLISTED or any(part.startswith(".") for part in parts):
            continue
        kind, dtype = describe(file)
        yield FileEntry("/".join(parts), file.stat().st_size, kind, dtype)


def describe(file: Path) -> tuple[str, str]:
    """Kind and dtype, from the header alone: the tensors of a file may be many and are not needed."""
    if file.suffix == ".json" and file.stem.startswith(("mask-", "evaluate-")):
        kind = file.stem.split("-")[0]
        return kind, (_read_json(file, "mask") if kind == "mask" else read_evaluation(file))["dtype"]
    if file.suffix != ".safetensors":
        return "", ""
    description = artifacts.read_description(file) or {}
    return description.get("kind", ""), description.get("provenance", {}).get("dtype", "")
