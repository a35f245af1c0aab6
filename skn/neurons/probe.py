"""How well every neuron's activation predicts the label: thresholds on train, hits and accuracies on the other splits.

Source: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language Models", EMNLP 2022, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from skn.data.template import Template
from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import choose_engine
from skn.inference.hf import ACTIVATION, GATE, check_part
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import OF_GATE, check_readouts
from skn.int8.convert import tell_of_activations
from skn.names import one_of
from skn.neurons.auroc import AUROC, save_areas, tell_of_size
from skn.neurons.probed import Probe, confusion, stored_confusion, stored_hits
from skn.neurons.probing import Hits, Moments, nan_neurons, probe_hits, probe_moments
from skn.neurons.selection import predictivity
from skn.store import artifacts, atomic
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands
from skn.store.locks import held
from skn.store.output import refuse_existing
from skn.store.provenance import ANEW, refuse_differences, resumed

log = logging.getLogger(__name__)

HELD_OUT = ("validation", "test")
MEAN, ZERO = THRESHOLDS = ("mean", "zero")  # where a neuron's threshold lies


def probe(
    run: LoadedRun,
    at: Sequence[str] | None = None,
    *,
    neuron: str = ACTIVATION,
    threshold: str = MEAN,
    auroc: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Probe:
    """Measure how well every neuron's activation predicts the label, in one pass over each split.

    A neuron's threshold is its mean activation over train. The neuron says "positive" when its activation exceeds the threshold. Without
    ``auroc``, the probe keeps nothing for each example, so memory does not grow with the data.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        at: where activations are read, one or several read-outs in the same passes: "prompt" (each prompt position), "mask", "last" (the last
            token), "mean" or "max" over the text's own tokens, without special tokens and those of a prompt or template. By default where the
            label words are scored: "prompt"; of a template "mask" or, of a decoder, "last".
        neuron: of a gated layer. "activation" is act(gate)·up, which the down-projection reads and a mask changes. "gate" is act(gate) alone; its
            read-outs have "-gate" behind their names.
        threshold: "mean", each neuron's mean over train, or "zero", above which a neuron counts as active (Tang et al., ACL 2024).
        auroc: also compute the area under the ROC curve of every neuron and position, on validation and test, for each class against the rest:
            ``probe.area("test")``. This keeps the activations of a split until its pass ends, above 2 GiB in a temporary file beside ``out``.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        out: a folder for the files ``moments``, ``hits``, ``accuracy`` and, if asked for, ``auroc``. In the run's own folder, the files become part of the run.
        overwrite: replace files that exist.
        resume: keep the files that an interrupted probe left, and compute the others.

    Returns:
        The statistics and the tables made of them.

    Raises:
        InputError: ``at`` names a read-out that the run does not have; the files exist already; the engine cannot read the activations.

    Example::

        >>> probe = skn.probe(run)
        >>> probe.predictivity.shape, probe.accuracy("test").shape
        (torch.Size([3, 48]), torch.Size([1, 3, 4, 48]))
    """
    asked = [run.main_readout] if at is None else [at] if isinstance(at, str) else at
    folder = None if out is None else Path(out)
    if not asked:
        raise InputError("--at: no read-out; name one, or leave it out for the run's own")
    readouts = check_readouts(asked, run.template is not None, run.model.backbone.causal)
    check_part(neuron, run.model.backbone)
    one_of(threshold, THRESHOLDS, "--threshold")
    readouts = _of_part(readouts, neuron)
    refuse_stored(readouts, folder, overwrite or resume)
    with nullcontext() if folder is None else held(folder):
        files = None if folder is None else _Files(folder, readouts, threshold, auroc)
        return _probe(run, readouts, batch_tokens, files=files, threshold=threshold, resume=resume, auroc=auroc)


def _probe(
    run: LoadedRun,
    readouts: list[str],
    batch_tokens: int,
    *,
    files: _Files | None,
    threshold: str,
    resume: bool,
    auroc: bool,
) -> Probe:
    if run.engine != "hf":  # the fast engine may not return the activations of these read-outs
        run = replace(
            run, provenance={**run.provenance, "engine": choose_engine(run.model.backbone, readouts=readouts)}
        )
    if files is not None and resume:
        files.refuse_others(run)
    tell_of_activations(run.model.backbone)
    moments = _moments(run, readouts, batch_tokens, files, resume)
    thresholds = {r: _threshold(m, threshold) for r, m in moments.items()}
    hits: dict[tuple[str, str], Hits] = {}
    answers: dict[str, Tensor] = {}
    for split in HELD_OUT:
        by_readout, answered = _hits(
            run, split, moments, thresholds, batch_tokens=batch_tokens, files=files, resume=resume, auroc=auroc
        )
        hits |= {(split, readout): split_hits for readout, split_hits in by_readout.items()}
        answers |= answered
    present = run.model.backbone.present
    return Probe(moments, hits, present, provenance=run.provenance, confusion=answers, path=files and files.folder)


def checked(at: Sequence[str], neuron: str, template: Template | None) -> list[str]:
    """Return the names of the read-outs. Raises :class:`InputError` for an unknown one before :func:`probe` needs a model."""
    one_of(neuron, (ACTIVATION, GATE), "--neuron")
    return _of_part(check_readouts(at, template is not None, template is not None and template.causal), neuron)


def _of_part(readouts: list[str], neuron: str) -> list[str]:
    return [name + OF_GATE for name in readouts] if neuron == GATE else readouts


def _threshold(moments: Moments, at: str) -> Tensor:
    mean = moments.threshold()
    return torch.zeros_like(mean) if at == ZERO else mean


def refuse_stored(readouts: list[str], out: Path | None, replace: bool) -> None:
    """Refuse files that a probe with these read-outs would replace."""
    if out is not None:
        refuse_existing(_Files(out, readouts).all(), replace, resume_option=True)


@dataclass(frozen=True)
class _Files:
    """The files in which a probe with these read-outs keeps its results."""

    folder: Path
    readouts: list[str]
    threshold: str = MEAN
    auroc: bool = False

    def moments(self) -> dict[str, Path]:
        return {r: artifacts.path_in(self.folder, "moments", r) for r in self.readouts}

    def of(self, kind: str, split: str) -> dict[str, Path]:
        return {r: artifacts.path_in(self.folder, kind, r, split) for r in self.readouts}

    def made_of_moments(self, readout: str) -> list[Path]:
        return [self.of(kind, split)[readout] for split in HELD_OUT for kind in ("hits", AUROC, "accuracy")]

    def all(self) -> list[Path]:
        return [*self.moments().values(), *(file for r in self.readouts for file in self.made_of_moments(r))]

    def drop(self, readout: str) -> None:
        """Remove the files that were made beside earlier moments, so that an interruption cannot leave them beside new
        moments.
        """
        for file in self.made_of_moments(readout):
            atomic.remove(file)

    def done(self, split: str, moments: dict[str, Moments]) -> dict[str, Artifact] | None:
        """Return the hits of a split if they are complete and were counted over the thresholds of these moments."""
        kinds = ("hits", "accuracy", *((AUROC,) if self.auroc else ()))
        if not all(stands(file) for kind in kinds for file in self.of(kind, split).values()):
            return None
        hits = {r: artifacts.load(file, "hits") for r, file in self.of("hits", split).items()}
        made = {r: _threshold(m, self.threshold).nan_to_num() for r, m in moments.items()}
        alike = [torch.equal(hits[r]["threshold"].nan_to_num(), threshold) for r, threshold in made.items()]
        return hits if all(alike) else None

    def refuse_others(self, run: LoadedRun) -> None:
        """Raises :class:`InputError` if an existing file was made with settings other than those of this run."""
        for file in filter(stands, self.all()):
            found = artifacts.load(file, file.name.partition("-")[0].partition(".")[0]).provenance
            refuse_differences(file, found, resumed(run.provenance), ANEW)


def _moments(
    run: LoadedRun, readouts: list[str], batch_tokens: int, files: _Files | None, resume: bool
) -> dict[str, Moments]:
    kept = {} if files is None else files.moments()
    if resume and kept and all(file.is_file() for file in kept.values()):
        stored = {r: artifacts.load(file, "moments") for r, file in kept.items()}
        return {r: Moments(a["count"], a["total"], a["total_sq"]) for r, a in stored.items()}
    by_readout, _ = probe_moments(
        run.model, run.encoded("train"), batch_tokens, readouts=readouts, description="probe train", engine=run.engine
    )
    present = run.model.backbone.present
    for readout, m in by_readout.items():
        _name_nan(run, readout, m.total)
        if files is not None:
            tensors = {"count": m.count, "total": m.total, "total_sq": m.total_sq, "present": present}
            artifacts.save(kept[readout], "moments", tensors, run.provenance, split="train", readout=readout)
            files.drop(readout)
    return by_readout


def _hits(
    run: LoadedRun,
    split: str,
    moments: dict[str, Moments],
    thresholds: dict[str, Tensor],
    *,
    batch_tokens: int,
    files: _Files | None,
    resume: bool,
    auroc: bool,
) -> tuple[dict[str, Hits], dict[str, Tensor]]:
    """Return the counts of a split by read-out, and the model's own answers by split."""
    stored = files.done(split, moments) if resume and files is not None else None
    if stored is not None:
        answers = stored_confusion(next(iter(stored.values())), split)
        areas = files.of(AUROC, split) if auroc else {}
        return {r: stored_hits(artifact, areas.get(r)) for r, artifact in stored.items()}, answers
    encoded = run.encoded(split)
    kept = {"auroc": auroc, "folder": files and files.folder}
    if auroc:
        tell_of_size(run, split, thresholds, files and files.folder)
    by_readout, logits = probe_hits(
        run.model, encoded, batch_tokens, thresholds=thresholds, description=f"probe {split}", engine=run.engine, **kept
    )
    answers = confusion(logits, encoded.label)
    if files is not None:
        for readout, hits in by_readout.items():
            _save(run, files, split, readout, hits=hits, answers=answers)
    return by_readout, {split: answers}


def _save(run: LoadedRun, files: _Files, split: str, readout: str, *, hits: Hits, answers: Tensor) -> None:
    """Save the counts and then the accuracies.

    If the accuracies exist, a resumed probe knows that the split is done.
    """
    present, meta = run.model.backbone.present, {"split": split, "readout": readout}
    near = None if hits.near is None else hits.near.sum().item()
    tensors = {"count": hits.count, "hits": hits.hits, "threshold": hits.threshold, "present": present}
    said = {**meta, "threshold_at": files.threshold, "near": near, "confusion": answers.tolist()}
    artifacts.save(files.of("hits", split)[readout], "hits", tensors, run.provenance, **said)
    if hits.areas is not None:
        save_areas(files.of(AUROC, split)[readout], hits.areas, run.provenance, **meta)
    split_probe = Probe({}, {(split, readout): hits}, present, run.provenance, {})
    balanced = split_probe.accuracy(split, readout)
    tables = {
        "accuracy": balanced,
        "plain": split_probe.accuracy(split, readout, "plain"),
        "predictivity": torch.stack([predictivity(table) for table in balanced]),
    }
    contrasts = [str(c) for c in split_probe.contrasts(split, readout)]
    artifacts.save(
        files.of("accuracy", split)[readout], "accuracy", tables, run.provenance, contrasts=contrasts, **meta
    )


def _name_nan(run: LoadedRun, readout: str, total: Tensor) -> None:
    bad = nan_neurons(run.model.backbone, total)
    if bad:
        names = " ".join(f"{layer},{neuron}" for layer, neuron in bad[:20]) + (" …" if len(bad) > 20 else "")
        log.warning(
            "%s: the activation total of %d neurons is NaN; they count as never exceeding: %s", readout, len(bad), names
        )
