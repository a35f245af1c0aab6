"""The causal test: accuracy and AUC while a set of neurons is masked, beside random sets of the same size."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.loaded import LoadedRun
from skn.intervals import share_interval
from skn.names import result_name
from skn.neurons.activity import activity_of
from skn.neurons.controls import Drawn, summary
from skn.neurons.mask_options import RESAMPLE, WITH_ALPHA, MaskOptions, refuse_int8
from skn.neurons.mask_plan import MaskPlan, alpha_of
from skn.neurons.mask_table import MEASURES, MaskTable, rows_of
from skn.neurons.masking import Mask
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.resampling import Resampling
from skn.neurons.thresholds import mean_of
from skn.store import documents
from skn.store.digests import identity_of
from skn.store.output import refuse_existing
from skn.tables import span

log = logging.getLogger(__name__)


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

        Random sets that match in each layer, and random sets that match overall:

        >>> table = skn.mask(run, ranking, fractions=0.2, controls=2, match=["layer", "overall"])
        >>> {match: len(found["accuracy"]["draws"]) for match, found in table.rows[0]["controls_by_match"].items()}
        {'layer': 2, 'overall': 2}
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
        _refuse_nan(mean, plan)
    alpha = alpha_of(options, plan.factor, plan.sets.name)
    if "activity" in options.matches:
        plan = plan.with_activity(activity_of(run, plan.sets, options, alpha=alpha, mean=mean))
    encoded = run.encoded(options.split)
    resampling = Resampling.of(run, encoded, options.seed) if options.kind == RESAMPLE else None
    document = _description(run, plan, options, alpha, mean) | {"name": result_name(name)}
    document["kept_own"] = None if resampling is None else resampling.kept_own
    done = rows_of(file, document) if resume and file is not None else {}
    measure = _Measure(run, encoded, batch_tokens, options=options, mean=mean, alpha=alpha, resampling=resampling)
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
class _Measure:
    """Measure accuracy and AUC of a split while given neurons are masked."""

    run: LoadedRun
    encoded: Encoded
    batch_tokens: int
    options: MaskOptions
    mean: Tensor | None
    alpha: float | None
    resampling: Resampling | None

    def __call__(self, neurons: Tensor, factor: Tensor | None, description: str) -> dict[str, float | None]:
        options, run = self.options, self.run
        if self.resampling is not None:
            done = self.resampling.mask(neurons)
        else:
            done = Mask(options.kind, neurons, self.mean, alpha=self.alpha, seed=options.seed, factor=factor)
        logits = predict(run.model, self.encoded, self.batch_tokens, description, run.engine, mask=done)
        return {name: measure(logits, self.encoded.label) for name, measure in MEASURES.items()}


def _row(fraction: float | None, chosen: Tensor, plan: MaskPlan, measure: _Measure) -> dict:
    """Measure one row of the table: the chosen neurons and their controls."""
    label, options, count = _label(fraction), measure.options, int(chosen.sum())
    controls, alike = {}, {}
    for match in options.matches:
        drawn, alike[match] = plan.random_sets(match, chosen, options)
        controls[match] = _measured(drawn, measure, f"{label} control", match)
    found = alike.get("activity")
    if found and found["missing"]:
        log.warning(
            "%s: %d of the %d neurons have no control of their activity, because their layers have too few other neurons",
            label, found["missing"], count,
        )  # fmt: skip
    measured = measure(chosen, plan.factor, label)
    return {
        "fraction": fraction,
        "neurons": count,
        **measured,
        "interval": list(share_interval(measured["accuracy"], len(measure.encoded))),
        "controls": controls[options.matches[0]],
        "controls_by_match": controls,
        "balance": found,
    }


def _measured(drawn: Iterable[Drawn], measure: _Measure, label: str, match: str) -> dict[str, Any] | None:
    """Measure random sets and sum them up; None without a set."""
    options = measure.options
    by = f" by {match}" if len(options.matches) > 1 else ""
    found = [measure(*one, f"{label} {i}/{options.controls}{by}") for i, one in enumerate(drawn, start=1)]
    return {name: summary([draw[name] for draw in found]) for name in MEASURES} if found else None


def _description(
    run: LoadedRun, plan: MaskPlan, options: MaskOptions, alpha: float | None, mean: Tensor | None
) -> dict[str, Any]:
    """Describe how the rows are made. A file with another description is not resumed."""
    return {
        "kind": options.kind,
        "alpha": alpha if options.kind in WITH_ALPHA else None,
        "controls": options.controls,
        "match": ",".join(options.matches),
        "activity": None if plan.activity is None else identity_of({"activity": plan.activity}),
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


def _refuse_nan(mean: Tensor, plan: MaskPlan) -> None:
    """Build the mask of all neurons that a row may touch, so that a NaN is refused now and not between two rows."""
    Mask("mean", plan.touched, mean)
