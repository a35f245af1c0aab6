"""Mean activations. A mean is the threshold of a neuron, and the value at which a removed neuron is frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import OF_GATE, is_of_gate
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.probing import Moments
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance


def mean_of(run: LoadedRun, thresholds: Path | str | Tensor | None, neurons: NeuronSets) -> Tensor:
    """Return the mean activations μ [L, F] float64.

    The means come from ``thresholds``, a file or a tensor [L, F] or [L, P, F]. Without ``thresholds``, they come from
    the probe that was ranked, if ``neurons`` was made in memory from one probe of this run; otherwise from the run's
    moments. Raises :class:`InputError` if there are no means, or if they belong to another backbone or shape.
    """
    present = run.model.backbone.present
    if isinstance(thresholds, Tensor):
        mean = thresholds.double().mean(dim=1) if thresholds.dim() == 3 else thresholds.double()
        return _fitting(mean, present, "the thresholds")
    if thresholds is None and neurons.mean is not None:
        origin, mean = neurons.mean
        if is_of_run(origin, run):
            return mean
    file = Path(thresholds or run.file("moments", run.main_readout))
    if not stands(file):
        raise InputError(f"{file}: not there; run 'skn probe --run {run.path}' or give --thresholds FILE")
    return _read_mean(file, run, neurons, use="means" if thresholds else "run")


def is_of_run(origin: Mapping[str, Any], run: LoadedRun) -> bool:
    """Whether numbers of this provenance are those of the run. The engine that read the activations may differ."""
    return {**origin, "engine": run.engine} == run.provenance


def _read_mean(path: Path, run: LoadedRun, neurons: NeuronSets, use: str) -> Tensor:
    """Read μ [L, F] float64 from a file of skn (moments, hits) or an imported file (thresholds); averaged over
    positions.

    Raises :class:`InputError` if the shape is not the shape of the run's model, or as :func:`read_means` does.
    """
    mean = threshold_of(read_means(path, run, neurons, use)).mean(dim=1)
    return _fitting(mean, run.model.backbone.present, str(path))


def read_means(
    path: Path, run: LoadedRun, neurons: NeuronSets, use: str, kinds: Sequence[str] = ("moments", "hits", "thresholds")
) -> Artifact:
    """Read a file with mean activations, of one of the ``kinds``, that belong to the run and to the neurons.

    Raises :class:`InputError` if the provenance differs in a value that ``use`` compares
    (:data:`skn.store.provenance.MATCHED_PROVENANCE`), and for means of act(gate) alone.
    """
    description, _ = artifacts.read_safetensors(path)
    kind = (description or {}).get("kind")
    if kind not in kinds:
        raise InputError(f"{path}: holds '{kind}', expected {' or '.join(kinds)}")
    artifact = artifacts.load(path, kind)
    _refuse_no_means(artifact, path)
    way_out = "make it again with 'skn probe --overwrite'" if use == "run" else None
    compare_provenance(artifact.provenance, run.provenance, str(path), use, way_out=way_out)
    if _of_one_run(artifact, neurons):  # then they must also be of one probe
        again = "'skn select --overwrite' ranks them by what was probed last"
        compare_provenance(
            neurons.provenance, artifact.provenance, neurons.name, "pass", other=str(path), way_out=again
        )
    return artifact


def _refuse_no_means(artifact: Artifact, path: Path) -> None:
    """Refuse numbers at which no neuron may be frozen: a mask changes act(gate)·up, and zero is no mean."""
    if is_of_gate(artifact.meta.get("readout") or ""):
        raise InputError(
            f"{path}: holds the means of act(gate) alone, but a neuron is act(gate)·up; give moments without '{OF_GATE}'"
        )
    if artifact.kind == "hits" and artifact.meta.get("threshold_at") == "zero":
        raise InputError(f"{path}: its thresholds are zero, not means; give the moments of the same read-out")


def _of_one_run(means: Artifact, neurons: NeuronSets) -> bool:
    """Say whether both have the same tuned prompt and the same data.

    Two untuned prompts may be equal over different data.
    """
    theirs, ours = means.provenance, neurons.provenance
    return theirs.get("tuned") is not None and all(theirs.get(k) == ours.get(k) for k in ("tuned", "split_digest"))


def threshold_of(artifact: Artifact) -> Tensor:
    """Return the threshold [L, P, F] of moments, hits or thresholds."""
    if artifact.kind == "moments":
        return Moments(artifact["count"], artifact["total"], artifact["total_sq"]).threshold()
    return artifact["threshold"]


def _fitting(mean: Tensor, present: Tensor, where: str) -> Tensor:
    if mean.shape != present.shape:
        raise InputError(
            f"{where}: thresholds of {list(mean.shape)} neurons, this backbone has {list(present.shape)}; give one made for it"
        )
    return mean
