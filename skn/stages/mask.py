"""``skn mask``: accuracy and AUC with the skill neurons masked, beside matched random controls."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skn.commands.parse import parse_fractions, parse_layers
from skn.console import interval, print_table
from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.defaults import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.measures import accuracy, auc
from skn.intervals import mean_interval
from skn.neurons.masking import KINDS, Mask
from skn.neurons.neuron_sets import NeuronSets, load_mean
from skn.neurons.selection import random_factors, random_like
from skn.runs.run import LoadedRun, Run, timed
from skn.seeds import generator
from skn.store import atomic
from skn.store.output import refuse_existing

log = logging.getLogger(__name__)

# Zeroing many neurons also shifts the class scores, for random ones as well: accuracy shows that, AUC does not.
MEASURES = {"accuracy": accuracy, "auc": auc}


@dataclass(frozen=True, kw_only=True)
class MaskChoices:
    """What ``skn mask`` is asked for whether of a run or of a sweep."""

    controls: int = 20
    match: str = "layer"
    split: str = "test"
    seed: int = 0
    batch_tokens: int = BATCH_TOKENS
    device: str | None = None
    dtype: str | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class MaskRequest(MaskChoices):
    """The options of ``skn mask --run``."""

    kind: str = "zero"
    neurons: Path | None = None
    alpha: float | None = None
    layers: str | None = None
    fraction: str | None = None
    thresholds: Path | None = None


def mask(run_path: Path, request: MaskRequest, overwrite: bool = False, resume: bool = False) -> Path:
    """Write ``mask-<kind>.json`` and print it: fraction, accuracy and AUC, each with the controls' mean and 95% interval."""
    run = Run.open(run_path)
    if request.kind not in KINDS:
        raise InputError(f"--kind {request.kind}: expected {', '.join(KINDS)}")
    if request.controls < 0:
        raise InputError(f"--controls {request.controls}: a number of draws, 0 or more")
    if request.alpha is not None and not math.isfinite(request.alpha):
        raise InputError(f"--alpha {request.alpha}: a finite number")
    fractions = parse_fractions(request.fraction) if request.fraction is not None else None
    out = run.path / f"mask-{request.kind}.json"
    if not resume:
        refuse_existing([out], overwrite, resume_option=True)
    loaded = run.load(request.device, request.dtype, request.engine)
    present = loaded.model.backbone.present
    layers = parse_layers(request.layers, present.shape[0])
    sets = NeuronSets.load(request.neurons or run.path / "neurons.safetensors", loaded.provenance, present)
    chosen = {f: sets.fraction(f, layers) for f in fractions} if fractions else {None: sets.fixed(layers)}
    candidates = present if request.match == "layer" else _within(layers, present)
    mean = _mean(loaded, request)
    if mean is not None:
        _refuse_nan(mean, chosen.values(), candidates, request)
    factor = sets.factor if request.kind == "scale" else None
    alpha = _alpha(request, factor, sets.path)
    encoded = loaded.encoded(request.split)
    table = {
        "kind": request.kind,
        "alpha": alpha if request.kind in ("gaussian", "scale") else None,
        "match": request.match,
        "layers": [layers.start, layers.stop],
        "split": request.split,
        "seed": request.seed,
        "neurons": str(sets.path),
        "dtype": loaded.provenance["dtype"],
        "engine": loaded.engine,
        "rows": [],
    }
    done = _done_before(out, table) if resume else {}
    with timed(run_path, f"mask-{request.kind}"):
        measure = _Measure(loaded, encoded, request, mean, alpha)
        for fraction, neurons in chosen.items():
            row = done.get(fraction) or _row(fraction, neurons, factor, candidates, measure)
            table["rows"].append(row)
            atomic.write_json(out, table)  # after every row: an interrupted sweep goes on from here
            log.info("%s: accuracy %.4f", _label(fraction), row["accuracy"])
    _show(table)
    return out


@dataclass(frozen=True)
class _Measure:
    """Accuracy and AUC under a mask on given neurons."""

    loaded: LoadedRun
    encoded: Encoded
    request: MaskRequest
    mean: Tensor | None
    alpha: float | None

    def __call__(self, neurons: Tensor, factor: Tensor | None, description: str) -> dict[str, float | None]:
        mask = Mask(self.request.kind, neurons, self.mean, self.alpha, self.request.seed, factor)
        logits = predict(
            self.loaded.model, self.encoded, self.request.batch_tokens, description, self.loaded.engine, mask=mask
        )
        return {name: measure(logits, self.encoded.label) for name, measure in MEASURES.items()}


def _row(fraction: float | None, neurons: Tensor, factor: Tensor | None, candidates: Tensor, measure: _Measure) -> dict:
    """One line of the table. An empty set has nothing to control for."""
    request, label, controls = measure.request, _label(fraction), []
    for draw in range(request.controls if neurons.any() else 0):
        key = generator(request.seed, "control", int(neurons.sum()), draw)
        random_set = random_like(neurons, candidates, key, request.match)
        own = None if factor is None else random_factors(random_set, key)
        controls.append(measure(random_set, own, f"{label} control {draw + 1}/{request.controls}"))
    return {
        "fraction": fraction,
        "neurons": int(neurons.sum()),
        **measure(neurons, factor, label),
        "controls": {name: _summary([draw[name] for draw in controls]) for name in MEASURES} if controls else None,
    }


def _summary(draws: list[float | None]) -> dict | None:
    """The mean with its 95% confidence interval and the central 95% of the draws; nothing where the measure is undefined.

    ``mean_low`` to ``mean_high`` (Student's t; None for a single draw) says where the average random set lies,
    ``low`` to ``high`` where a single one does.
    """
    if None in draws:
        return None
    mean, mean_low, mean_high = mean_interval(draws)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "mean": mean,
        "mean_low": mean_low,
        "mean_high": mean_high,
        "low": float(low),
        "high": float(high),
        "draws": draws,
    }


def _label(fraction: float | None) -> str:
    return "mask" if fraction is None else f"mask {fraction:g}"


def _mean(loaded: LoadedRun, request: MaskRequest) -> Tensor | None:
    if request.kind != "mean":
        return None
    file = request.thresholds or loaded.run.file("moments")
    if not file.is_file():
        raise InputError(f"{file}: not there; run 'skn probe --run {loaded.run.path}' or give --thresholds FILE")
    return load_mean(file, loaded.provenance, loaded.model.backbone.present)


def _within(layers: range, present: Tensor) -> Tensor:
    """[L, F] bool: what is present in ``layers``."""
    within = torch.zeros_like(present)
    within[layers.start : layers.stop] = present[layers.start : layers.stop]
    return within


def _alpha(request: MaskRequest, factor: Tensor | None, neurons: Path) -> float | None:
    """One number for all neurons, unless each has a ``factor`` of its own."""
    if factor is None:
        return request.alpha if request.alpha is not None else (0.1 if request.kind == "gaussian" else 0.5)
    if request.alpha is not None:
        raise InputError(f"--alpha {request.alpha:g}: {neurons} has a factor for each neuron; leave the option out")
    return None


def _refuse_nan(mean: Tensor, chosen: Iterable[Tensor], candidates: Tensor, request: MaskRequest) -> None:
    """Build the mask of all that the sweep may touch: a NaN is refused now, not between two rows of the table."""
    touched = torch.stack(list(chosen)).any(dim=0)
    if request.controls:
        rows = touched.any(dim=1, keepdim=True) if request.match == "layer" else touched.any()
        touched = rows & candidates
    Mask("mean", touched, mean)


def _done_before(out: Path, table: dict) -> dict[float | None, dict]:
    """Rows of an interrupted sweep with the same settings."""
    if not out.is_file():
        return {}
    try:
        stored = json.loads(out.read_text())
        rows = {row["fraction"]: row for row in stored.pop("rows")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{out}: damaged ({error}); --overwrite replaces it") from error
    if stored != {key: value for key, value in table.items() if key != "rows"}:
        raise InputError(f"{out}: was made with other settings; --overwrite replaces it")
    return rows


def _show(table: dict) -> None:
    rows = []
    for row in table["rows"]:
        for name in MEASURES:
            control = row["controls"] and row["controls"][name]
            rows.append(
                [
                    "fixed set" if row["fraction"] is None else row["fraction"],
                    row["neurons"],
                    name.upper() if name == "auc" else name,
                    row[name],
                    control["mean"] if control else None,
                    _ends(control, "mean_low", "mean_high"),
                    _ends(control, "low", "high"),
                ]
            )
    low, high = table["layers"]
    title = f"Mask {table['kind']}, layers {low}:{high}, split {table['split']}, {table['dtype']}"
    header = ["fraction", "neurons", "measure", "chosen", "control mean", "95% of the mean", "95% of the draws"]
    formats = {"fraction": "g", "chosen": ".4f", "control mean": ".4f", header[5]: interval, header[6]: interval}
    print_table(title, header, rows, formats)


def _ends(control: dict | None, low: str, high: str) -> list[float] | None:
    return [control[low], control[high]] if control and control[low] is not None else None
