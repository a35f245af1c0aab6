"""How well every neuron's activation predicts the label: thresholds on train, hits and accuracies on the other splits.

Source: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language Models", EMNLP 2022, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import choose_engine
from skn.inference.hf import MAX, MEAN, PROMPT
from skn.inference.loaded import LoadedRun
from skn.inference.measures import accuracy
from skn.names import one_of
from skn.neurons.probing import Hits, Moments, nan_neurons, probe_hits, probe_moments
from skn.neurons.selection import (
    MEASURES,
    Contrast,
    default_contrasts,
    predictivity,
)
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.output import refuse_existing
from skn.tables import Table, listed

log = logging.getLogger(__name__)

HELD_OUT = ("validation", "test")


@dataclass(frozen=True, repr=False)
class Probe:
    """What a probe found: ``moments`` of train by read-out, ``hits`` of the held-out splits by (split, read-out).

    ``present`` [L, F] bool says which neurons exist. ``model_accuracy`` is the model's own accuracy on a split, for the
    splits that were passed over now and not read from files. ``path`` is the run's folder, None in memory.
    """

    moments: dict[str, Moments]
    hits: dict[tuple[str, str], Hits]
    present: Tensor
    provenance: dict[str, Any]
    model_accuracy: dict[str, float]
    path: Path | None = None

    @property
    def predictivity(self) -> Tensor:
        """[L, F] float64: of the best position and contrast, on validation, at the prompt; NaN where a neuron is absent."""
        tables = self.accuracy("validation")
        return torch.stack([predictivity(table) for table in tables]).amax(dim=0)

    def accuracy(self, split: str = "validation", readout: str = PROMPT, by: str = "predictivity") -> Tensor:
        """[K, L, P, F] float64: each neuron's accuracy as a classifier, for every contrast and position.

        :param by: "predictivity" is the mean of the classes' rates, "plain" the share of right examples.
        """
        hits = self.hits_of(split, readout)
        one_of(by, MEASURES, "by")
        measure = MEASURES[by]
        tables = [measure(hits.hits, hits.count, contrast) for contrast in self.contrasts(split, readout)]
        return torch.stack(tables).masked_fill(~self.present[:, None, :], torch.nan)

    def contrasts(self, split: str = "validation", readout: str = PROMPT) -> list[Contrast]:
        """The default contrasts whose two sides both occur in the split."""
        count = self.hits_of(split, readout).count
        return [
            c
            for c in default_contrasts(count.numel())
            if count[list(c.positive)].sum() and count[list(c.negative)].sum()
        ]

    def hits_of(self, split: str, readout: str = PROMPT) -> Hits:
        """The counts of a split; raises :class:`InputError` for a read-out that was not probed."""
        if (split, readout) not in self.hits:
            there = ", ".join(f"{s} {r}" for s, r in self.hits)
            raise InputError(f"the probe has no hits of split {split} and read-out {readout}; it has {there}")
        return self.hits[split, readout]

    @property
    def where(self) -> str:
        """Where it is kept, for messages."""
        if self.path is None:
            return "the probe"
        return str(artifacts.path_in(self.path, "hits", *reversed(next(iter(self.hits)))))

    def table(self) -> Table:
        """For each split and read-out the best neuron, and how many activations lie near their threshold."""
        columns = ["split", "read-out", "model accuracy", "best neuron", "position", "predictivity", "near threshold"]
        rows = [self._row(split, readout) for split, readout in self.hits]
        title = f"Probe ({self.provenance['dtype']}, {self.provenance['backend']}, engine {self.provenance['engine']})"
        formats = {"model accuracy": ".4f", "best neuron": listed, "predictivity": ".4f", "near threshold": _near}
        return Table(title, columns, rows, formats)

    def _row(self, split: str, readout: str) -> list[Any]:
        hits = self.hits[split, readout]
        if split not in self.model_accuracy:
            return [split, readout, "done before", None, None, None, None]
        return [split, readout, self.model_accuracy[split], *_best(self.accuracy(split, readout)), _share(hits)]

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


def probe(
    run: LoadedRun,
    pool: Sequence[str] = (),
    *,
    batch_tokens: int = BATCH_TOKENS,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Probe:
    """Measure how well every neuron's activation predicts the label, in one pass over each split.

    A neuron's threshold is its mean activation over train; it says "positive" where its activation exceeds the
    threshold. Nothing is kept for each example: memory does not grow with the data.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        pool: "mean" or "max" or both: also read activations pooled over each text's own tokens.
        batch_tokens: tokens of a batch at the most, prompt and padding included.
        out: a folder for the files ``moments``, ``hits`` and ``accuracy``; the run's own makes them part of the run.
        overwrite: replace files that exist.
        resume: keep the files that an interrupted probe left, and compute the others.

    Returns:
        The statistics and the tables made of them.

    Raises:
        InputError: an unknown ``pool``, files that exist, or a forward that cannot read what is asked for.

    Example::

        >>> probe = skn.probe(run)
        >>> probe.predictivity.shape, probe.accuracy("test").shape
        (torch.Size([3, 48]), torch.Size([1, 3, 4, 48]))
    """
    pool = list(dict.fromkeys([pool] if isinstance(pool, str) else pool))
    readouts, folder = [PROMPT, *pool], None if out is None else Path(out)
    check(pool, folder, overwrite or resume)
    if pool and run.engine != "hf":  # the fast engine may not return what pooling reads
        run = replace(
            run, provenance={**run.provenance, "engine": choose_engine(run.model.backbone, readouts=readouts)}
        )
    moments = _moments(run, readouts, batch_tokens, folder, resume)
    hits: dict[tuple[str, str], Hits] = {}
    scores: dict[str, float] = {}
    for split in HELD_OUT:
        by_readout, score = _hits(run, moments, split, batch_tokens=batch_tokens, out=folder, resume=resume)
        hits |= {(split, readout): split_hits for readout, split_hits in by_readout.items()}
        scores |= {} if score is None else {split: score}
    return Probe(
        moments, hits, run.model.backbone.present, provenance=run.provenance, model_accuracy=scores, path=folder
    )


def check(pool: Sequence[str], out: Path | None, replace: bool) -> None:
    """What :func:`probe` refuses before it needs a model: an unknown read-out, files that stand there."""
    unknown = set(pool) - {MEAN, MAX}
    if unknown:
        raise InputError(f"--pool {','.join(sorted(unknown))}: expected mean, max or mean,max")
    if out is not None:
        files = [artifacts.path_in(out, "moments", readout) for readout in (PROMPT, *pool)]
        refuse_existing(files, replace, resume_option=True)


def _stored(file: Path, kind: str, run: LoadedRun) -> Artifact:
    """A file that an interrupted probe left; refused where it is of another run."""
    artifact = artifacts.load(file, kind, run.provenance)
    for name in ("seed", "split_digest", "method", "label_words"):
        theirs, ours = artifact.provenance.get(name), run.provenance[name]
        if theirs != ours:
            raise InputError(f"{file}: of another run ({name} {theirs}, this one has {ours}); --overwrite replaces it")
    return artifact


def read_probe(artifact: Artifact) -> Probe:
    """The probe of one split and read-out that a ``hits`` file keeps."""
    hits = Hits(artifact["count"], artifact["hits"], artifact["threshold"], None)
    key = artifact.meta["split"], artifact.meta["readout"]
    return Probe(
        {},
        {key: hits},
        artifact["present"],
        provenance=artifact.provenance,
        model_accuracy={},
        path=artifact.path.parent,
    )


def _moments(
    run: LoadedRun, readouts: list[str], batch_tokens: int, out: Path | None, resume: bool
) -> dict[str, Moments]:
    files = {} if out is None else {r: artifacts.path_in(out, "moments", r) for r in readouts}
    if resume and files and all(file.is_file() for file in files.values()):
        stored = {r: _stored(file, "moments", run) for r, file in files.items()}
        return {r: Moments(a["count"], a["total"], a["total_sq"]) for r, a in stored.items()}
    by_readout, _ = probe_moments(
        run.model, run.encoded("train"), batch_tokens, readouts=readouts, description="probe train", engine=run.engine
    )
    present = run.model.backbone.present
    for readout, m in by_readout.items():
        _name_nan(run, readout, m.total)
        if files:
            tensors = {"count": m.count, "total": m.total, "total_sq": m.total_sq, "present": present}
            artifacts.save(files[readout], "moments", tensors, run.provenance, split="train", readout=readout)
    return by_readout


def _hits(
    run: LoadedRun, moments: dict[str, Moments], split: str, batch_tokens: int, out: Path | None, resume: bool
) -> tuple[dict[str, Hits], float | None]:
    """The counts of a split by read-out, and the model's accuracy where they were computed now."""
    if resume and out is not None and all(artifacts.path_in(out, "accuracy", r, split).is_file() for r in moments):
        stored = {r: _stored(artifacts.path_in(out, "hits", r, split), "hits", run) for r in moments}
        return {r: Hits(a["count"], a["hits"], a["threshold"], None) for r, a in stored.items()}, None
    thresholds = {r: m.threshold() for r, m in moments.items()}
    encoded = run.encoded(split)
    by_readout, logits = probe_hits(
        run.model, encoded, batch_tokens, thresholds=thresholds, description=f"probe {split}", engine=run.engine
    )
    if out is not None:
        for readout, hits in by_readout.items():
            _save(run, out, split, readout, hits)
    return by_readout, accuracy(logits, encoded.label)


def _save(run: LoadedRun, out: Path, split: str, readout: str, hits: Hits) -> None:
    """The counts and, last, the accuracies made of them: where those stand, a resumed probe has nothing left to do."""
    present, meta = run.model.backbone.present, {"split": split, "readout": readout}
    near = None if hits.near is None else hits.near.sum().item()
    tensors = {"count": hits.count, "hits": hits.hits, "threshold": hits.threshold, "present": present}
    artifacts.save(artifacts.path_in(out, "hits", readout, split), "hits", tensors, run.provenance, near=near, **meta)
    split_probe = Probe({}, {(split, readout): hits}, present, run.provenance, {})
    balanced = split_probe.accuracy(split, readout)
    tables = {
        "accuracy": balanced,
        "plain": split_probe.accuracy(split, readout, "plain"),
        "predictivity": torch.stack([predictivity(table) for table in balanced]),
    }
    contrasts = [str(c) for c in split_probe.contrasts(split, readout)]
    file = artifacts.path_in(out, "accuracy", readout, split)
    artifacts.save(file, "accuracy", tables, run.provenance, contrasts=contrasts, **meta)


def _best(tables: Tensor) -> tuple[list[int], int, float]:
    """The best neuron, its best position and its predictivity, over all contrasts of [K, L, P, F]."""
    value = torch.maximum(tables, 1 - tables).nan_to_num(-1.0)
    _, layer, position, neuron = torch.unravel_index(value.argmax(), value.shape)
    return [layer.item(), neuron.item()], position.item(), value.max().item()


def _share(hits: Hits) -> list[int] | None:
    """How many activations lie near their threshold, and how many were compared."""
    if hits.near is None:
        return None
    compared = hits.count.sum().item() * hits.threshold.isfinite().sum().item()
    return [hits.near.sum().item(), compared]


def _near(share: list[int]) -> str:
    near, compared = share
    return f"{near:,} of {compared:,}"


def _name_nan(run: LoadedRun, readout: str, total: Tensor) -> None:
    bad = nan_neurons(run.model.backbone, total)
    if bad:
        names = " ".join(f"{layer},{neuron}" for layer, neuron in bad[:20]) + (" …" if len(bad) > 20 else "")
        log.warning(
            "%s: the activation total of %d neurons is NaN; they count as never exceeding: %s", readout, len(bad), names
        )
