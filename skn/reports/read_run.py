"""``skn report``: figures and one self-contained HTML page from everything that a run holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skn.neurons.mask_table import read_mask
from skn.neurons.off_target_table import read_off_target
from skn.pruned.evaluation import read_evaluation
from skn.pruned.prune import read_prune
from skn.reports.read_activations import data_of, histograms_of, read_activations, texts_of
from skn.reports.read_exemplars import exemplars_of, read_exemplars
from skn.reports.read_kept import read_kept
from skn.reports.read_ranking import BEST_SHOWN, best_of, predictivity_of, read_ranking
from skn.reports.read_tests import read_tests, tests_of
from skn.reports.run_data import FileEntry, ReportData
from skn.reports.run_page import pictures_and_page
from skn.runs.run import Run
from skn.store import artifacts, folders
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance

PAGE = "index.html"

# The JSON files of stages, by the beginnings of their names; and the command that makes each.
READERS = {"mask": read_mask, "off-target": read_off_target, "evaluate": read_evaluation, "prune": read_prune}
COMMANDS = {"off-target": "mask --on"}

# The file list leaves out the report itself, and files whose size depends on when and how fast training ran.
UNLISTED = {"report", "checkpoints", "timings.json"}


def report(run_path: Path, data: str | None = None) -> Path:
    """Write ``report/*.png``, ``report/*.csv`` and the page. Returns the page. A missing stage gives no section."""
    run = Run.open(run_path)
    return write(run.path / "report", *pictures_and_page(collect(run, data)))


def write(folder: Path, pictures: dict[str, bytes], page: str) -> Path:
    """Write the pictures and the page. Returns the page."""
    folders.fill(folder, "report", {**pictures, PAGE: page.encode()})
    return folder / PAGE


def collect(run: Run, data: str | None = None, *, with_texts: bool = True) -> ReportData:
    """Read the run's files. Raises :class:`InputError` for a file that is damaged or belongs to another backbone.

    ``data`` is where the run's data is now, for the texts beside neurons. The data is read only if ``with_texts``.
    """
    identity = run.identity()
    neurons = read_ranking(run, identity)
    activations, best = read_activations(run, identity), best_of(neurons, BEST_SHOWN)
    stored = read_exemplars(run, identity) if with_texts else []
    loaded, missing = data_of(run, [*activations, *stored] if with_texts else [], data)
    texts, texts_missing = texts_of(run, activations, loaded) if loaded else ([], missing if activations else None)
    exemplars, exemplars_missing = exemplars_of(run, stored, loaded) if loaded else ([], missing if stored else None)
    harms = [_result(run, file, identity) for file in _plain_first(run, "off-target-*.json")]
    masks = [_result(run, file, identity) for file in _plain_first(run, "mask-*.json")]
    ranked_on = None if neurons is None else neurons.meta.get("split")
    splits = {a.meta["split"] for a in activations} | {mask["split"] for mask in masks} | {ranked_on or "test", "test"}
    hits = _hits(run, splits, identity)
    stored_tests = read_tests(run, identity)
    _check_neurons(neurons, *hits.values(), *stored_tests.values())
    tests = tests_of(stored_tests)
    prune = run.path / "prune.json"
    pruned = _result(run, prune, identity) if stands(prune) else None
    return ReportData(
        config=asdict(run.config),
        training=run.outcome(),
        provenance=identity,
        histograms=[h for a in activations for h in histograms_of(run, a, hits.get(a.meta["split"]), best)],
        texts=texts,
        texts_missing=texts_missing,
        exemplars=exemplars,
        exemplars_missing=exemplars_missing,
        predictivity=None if neurons is None else predictivity_of(run, neurons, identity, hits, tests),
        masks=masks,
        off_targets=harms,
        class_share={split: (h["count"] / h["count"].sum()).tolist() for split, h in hits.items()},
        prune=pruned,
        evaluations=[_result(run, file, identity) for file in _plain_first(run, "evaluate-*.json")],
        files=list(_files(run.path)),
        kept=read_kept(run.path, identity, pruned),
        readout=run.config.main_readout,
        tests=tests,
    )


def _check_neurons(*artifacts: Artifact | None) -> None:
    """Refuse files whose neurons differ in number. Raises :class:`InputError`."""
    there = [artifact for artifact in artifacts if artifact is not None]
    for other in there[1:]:
        other.fits(there[0].neurons, there[0].path.name)


def _plain_first(run: Run, pattern: str) -> list[Path]:
    """List the results of a kind.

    A result without a name of its own comes first, because the card shows the first result.
    """
    return sorted(run.path.glob(pattern), key=lambda file: file.stem)


def _result(run: Run, file: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read a JSON file of a stage in the run's folder. Raises :class:`InputError` if it belongs to another run."""
    stage = _stage_of(file)
    document = {**READERS[stage](file), "stem": file.stem}
    if isinstance(document.get("provenance"), dict):  # older files do not name their run
        way_out = f"make it again with 'skn {COMMANDS.get(stage, stage)} --overwrite'"
        compare_provenance(document["provenance"], identity, str(file), other=str(run.tuned_file), way_out=way_out)
    return document


def _stage_of(file: Path) -> str | None:
    """Return the key in :data:`READERS` of a JSON file; None if no stage has such names."""
    return next((stage for stage in READERS if file.stem == stage or file.stem.startswith(f"{stage}-")), None)


def _hits(run: Run, splits: set[str], identity: dict[str, Any]) -> dict[str, Artifact]:
    files = {split: run.file("hits", run.config.main_readout, split) for split in sorted(splits)}
    return {split: run.own(file, "hits", identity) for split, file in files.items() if stands(file)}


def _files(folder: Path) -> Iterator[FileEntry]:
    """List the run's files by name, with the kind and dtype that each states. Hidden files are half-written."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if not file.is_file() or parts[0] in UNLISTED or any(part.startswith(".") for part in parts):
            continue
        kind, dtype = describe(file)
        yield FileEntry("/".join(parts), file.stat().st_size, kind, dtype)


def describe(file: Path) -> tuple[str, str]:
    """Return kind and dtype from the header alone, because the tensors may be large and are not needed."""
    stage = _stage_of(file)
    if file.suffix == ".json" and stage is not None and stage != file.stem:
        return stage, READERS[stage](file)["dtype"]
    if file.suffix != ".safetensors":
        return "", ""
    description = artifacts.read_description(file) or {}
    said = description.get("kind"), description.get("provenance", {}).get("dtype")
    return tuple(word if isinstance(word, str) else "" for word in said)
