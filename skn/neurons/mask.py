"""The causal test: accuracy and AUC while a set of neurons is masked, beside random sets of the same size."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.data.spec import SPLITS
from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.loaded import LoadedRun
from skn.intervals import share_interval
from skn.names import one_of, result_name
from skn.neurons.controls import control_sets, summary
from skn.neurons.mask_table import MEASURES, MaskTable, rows_of
from skn.neurons.masking import MASK_KINDS, Mask
from skn.neurons.neuron_sets import NeuronSets, check_layers
from skn.neurons.thresholds import mean_of
from skn.seeds import generator
from skn.store import documents
from skn.store.digests import identity_of
from skn.store.output import refuse_existing
from skn.tables import span

log = logging.getLogger(__name__)


WITH_ALPHA = ("gaussian", "scale")


def refuse_int8(dtype: str | None) -> None:
    """Refuse a dtype that a user gives for a mask, or that of a run. Raises :class:`InputError`."""
    if dtype == "int8":
        raise InputError("--dtype int8: a mask needs the model as it was trained; leave it out")


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How to mask the neurons, and which random sets to compare them with.

    ``kind`` is "zero", "mean", "gaussian" or "scale". "gaussian" adds noise of standard deviation ``alpha``, by default
    0.1. "scale" multiplies by the factor ``alpha``, by default 0.5, or by the factors that the set itself holds. For
    each set, skn draws ``controls`` random sets. ``match`` says how they match the set: by "layer" or "overall".
    ``seed`` is the seed of the draws and of the noise.
    """

    kind: str = "zero"
    alpha: float | None = None
    controls: int = 20
    match: str = "layer"
    split: str = "test"
    seed: int = 0

    def check(self) -> None:
        """Raises :class:`InputError` for values that have no meaning."""
        one_of(self.kind, MASK_KINDS, "--kind")
        one_of(self.match, ("layer", "overall"), "--match")
        one_of(self.split, SPLITS, "--split")
        if not isinstance(self.controls, int) or self.controls < 0:
            raise InputError(f"--controls {self.controls}: a number of draws, 0 or more")
        if self.controls == 0 and self.match != "layer":
            raise InputError(f"--match {self.match}: has no effect with --controls 0; leave it out, or draw controls")
        if self.controls == 0 and self.kind != "gaussian" and self.seed != 0:
            raise InputError(f"--seed {self.seed}: has no effect with --controls 0; leave it out, or draw controls")
        if self.alpha is not None and self.kind not in WITH_ALPHA:
            raise InputError(f"--alpha {self.alpha:g}: goes with --kind {' or '.join(WITH_ALPHA)}, not {self.kind}")
        if self.alpha is not None and not math.isfinite(self.alpha):
            raise InputError(f"--alpha {self.alpha}: a finite number")


def mask(
    run: LoadedRun,
    neurons: NeuronSets | Path | str | None = None,
    fractions: float | Sequence[float] | None = None,
    layers: range | None = None,
    *,
    options: MaskOptions | None = None,
    thresholds: Path | str | Tensor | None = None,
    batch_tokens: int = BATCH_TOKENS,
    name: str | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    **named: Any,
) -> MaskTable:
    """Measure accuracy and AUC while the best neurons are masked, beside random masks of as many neurons.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        neurons: a ranking, cut at ``fractions``, or a fixed set; a file; by default the run's own ranking.
        fractions: the shares of each layer's neurons to mask, each from 0 to 1; None for a fixed set.
        layers: the layers to mask, by default all.
        options: a :class:`MaskOptions`; its fields may be given by name instead, ``kind="mean", controls=50``.
        thresholds: the mean activations, for kind "mean" alone: a file, or [L, F] or [L, P, F]; by default the probe's.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        name: the name of the result in titles and reports, so that several results can stand side by side.
        out: a JSON file that keeps the rows. skn writes the file after every row, and ``resume`` goes on from the file.

    Returns:
        The rows; ``table()`` and ``to_pandas()`` show them.

    Raises:
        InputError: a value has no meaning; the file ``out`` exists; the neurons belong to another backbone; a mean is NaN.

    Example::

        >>> table = skn.mask(run, ranking, fractions=[0.1, 0.2], controls=3)
        >>> [row["neurons"] for row in table.rows], len(table.rows[0]["controls"]["accuracy"]["draws"])
        ([12, 27], 3)
    """
    if options is not None and named:
        raise TypeError(f"mask: give options, or {', '.join(named)} by name, not both")
    options = options or MaskOptions(**named)
    refuse_int8(run.provenance["dtype"])
    options.check()
    if thresholds is not None and options.kind != "mean":
        raise InputError(f"--thresholds: goes with --kind mean, not {options.kind}; leave it out")
    file = None if out is None else Path(out)
    if file is not None:
        refuse_existing([file], overwrite or resume, resume_option=True, kind="mask")
    plan = MaskPlan.of(run, neurons, fractions, layers, options)
    mean = mean_of(run, thresholds, plan.sets) if options.kind == "mean" else None
    if mean is not None:
        _refuse_nan(mean, plan, options)
    alpha = alpha_of(options, plan.factor, plan.sets.name)
    document = _description(run, plan, options, alpha, mean) | {"name": result_name(name)}
    done = rows_of(file, document) if resume and file is not None else {}
    measure = _Measure(run, run.encoded(options.split), batch_tokens, options=options, mean=mean, alpha=alpha)
    order = list(dict.fromkeys([*(fraction for fraction in done if fraction not in plan.chosen), *plan.chosen]))
    for fraction, chosen in plan.chosen.items():
        if fraction not in done:
            done[fraction] = _row(fraction, chosen, plan, measure)
            document["rows"] = [done[one] for one in order if one in done]
            if file is not None:
                # after every row, so that an interrupted command can resume here
                documents.write(file, "mask", document)
        ends = done[fraction].get("interval")  # rows of older versions have none
        within = f" (95%: {span(ends)})" if ends else ""
        log.info("%s: accuracy %.4f%s", _label(fraction), done[fraction]["accuracy"], within)
    return MaskTable(document | {"rows": [done[fraction] for fraction in order]}, file)


@dataclass(frozen=True)
class MaskPlan:
    """The sets to mask, by fraction, and the neurons from which skn draws their controls."""

    sets: NeuronSets
    layers: range
    chosen: dict[float | None, Tensor]
    candidates: Tensor
    factor: Tensor | None

    @classmethod
    def of(
        cls,
        run: LoadedRun,
        neurons: NeuronSets | Path | str | None,
        fractions: float | Sequence[float] | None,
        layers: range | None,
        options: MaskOptions,
    ) -> MaskPlan:
        present = run.model.backbone.present
        layers = check_layers(layers, len(present))
        sets = neurons_of(run, neurons)
        shares = [fractions] if isinstance(fractions, float | int) else fractions
        if shares is not None and not len(shares):
            raise InputError("--fraction: no share is given; give one or several, or none at all for a fixed set")
        chosen = {None: sets.fixed(layers)} if shares is None else {float(f): sets.cut(f, layers) for f in shares}
        candidates = present if options.match == "layer" else _within(layers, present)
        return cls(sets, layers, chosen, candidates, sets.factor if options.kind == "scale" else None)


def neurons_of(run: LoadedRun, neurons: NeuronSets | Path | str | None) -> NeuronSets:
    """Return the neurons to mask: the given sets, the sets of a file, or the run's own ranking; checked against the
    run's model.
    """
    present = run.model.backbone.present
    if isinstance(neurons, NeuronSets):
        return neurons.checked(run.provenance, present)
    if not isinstance(neurons, str | Path | None):
        raise InputError(f"neurons: expected what skn.rank returns, or a file, not {type(neurons).__name__}")
    return NeuronSets.load(Path(neurons or run.file("neurons")), run.provenance, present)


@dataclass(frozen=True)
class _Measure:
    """Measure accuracy and AUC of a split while given neurons are masked."""

    run: LoadedRun
    encoded: Encoded
    batch_tokens: int
    options: MaskOptions
    mean: Tensor | None
    alpha: float | None

    def __call__(self, neurons: Tensor, factor: Tensor | None, description: str) -> dict[str, float | None]:
        options, run = self.options, self.run
        done = Mask(options.kind, neurons, self.mean, alpha=self.alpha, seed=options.seed, factor=factor)
        logits = predict(run.model, self.encoded, self.batch_tokens, description, run.engine, mask=done)
        return {name: measure(logits, self.encoded.label) for name, measure in MEASURES.items()}


def _row(fraction: float | None, chosen: Tensor, plan: MaskPlan, measure: _Measure) -> dict:
    """Measure one row of the table: the chosen neurons and their controls."""
    options, count, label = measure.options, int(chosen.sum()), _label(fraction)

    def key(draw: int) -> torch.Generator:
        return generator(options.seed, "control", count, draw)

    drawn = control_sets(
        chosen, plan.candidates, options.match, keys=key, draws=options.controls, factors=plan.factor is not None
    )
    controls = [
        measure(*control, f"{label} control {i}/{options.controls}") for i, control in enumerate(drawn, start=1)
    ]
    measured = measure(chosen, plan.factor, label)
    return {
        "fraction": fraction,
        "neurons": count,
        **measured,
        "interval": list(share_interval(measured["accuracy"], len(measure.encoded))),
        "controls": {name: summary([draw[name] for draw in controls]) for name in MEASURES} if controls else None,
    }


def _description(
    run: LoadedRun, plan: MaskPlan, options: MaskOptions, alpha: float | None, mean: Tensor | None
) -> dict[str, Any]:
    """Describe how the rows are made. A file with another description is not resumed."""
    return {
        "kind": options.kind,
        "alpha": alpha if options.kind in WITH_ALPHA else None,
        "controls": options.controls,
        "match": options.match,
        "layers": [plan.layers.start, plan.layers.stop],
        "split": options.split,
        "seed": options.seed,
        "mean": None if mean is None else identity_of({"mean": mean}),
        "neurons": plan.sets.identity,
        "dtype": run.provenance["dtype"],
        "engine": run.engine,
        "provenance": run.provenance,
        "rows": [],
    }


def _label(fraction: float | None) -> str:
    return "mask" if fraction is None else f"mask {fraction:g}"


def _within(layers: range, present: Tensor) -> Tensor:
    """Return [L, F] bool: the neurons in ``layers`` that exist."""
    within = torch.zeros_like(present)
    within[layers.start : layers.stop] = present[layers.start : layers.stop]
    return within


def alpha_of(options: MaskOptions, factor: Tensor | None, neurons: str) -> float | None:
    """Return one factor for all neurons, or None if each neuron has a ``factor`` of its own."""
    if factor is None:
        return options.alpha if options.alpha is not None else (0.1 if options.kind == "gaussian" else 0.5)
    if options.alpha is not None:
        raise InputError(f"--alpha {options.alpha:g}: {neurons} has a factor for each neuron; leave the option out")
    return None


def _refuse_nan(mean: Tensor, plan: MaskPlan, options: MaskOptions) -> None:
    """Build the mask of all neurons that a row may touch, so that a NaN is refused now and not between two rows."""
    touched = torch.stack(list(plan.chosen.values())).any(dim=0)
    if options.controls:
        rows = touched.any(dim=1, keepdim=True) if options.match == "layer" else touched.any()
        touched = rows & plan.candidates
    Mask("mean", touched, mean)
