"""Off target: what masking the neurons of one run costs other runs of the same backbone, beside random masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.loaded import LoadedRun
from skn.inference.measures import Score, majority
from skn.inference.resample import Resample
from skn.names import result_name
from skn.neurons.activity import activity_of
from skn.neurons.controls import Drawn
from skn.neurons.excess_drop import excess_drop
from skn.neurons.mask_options import RESAMPLE, WITH_ALPHA, MaskOptions
from skn.neurons.mask_plan import MaskPlan, alpha_of
from skn.neurons.masking import Mask
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.off_target_table import OffTarget, judged, refuse_other_run, runs_of, set_name, signed
from skn.neurons.resampling import Resampling
from skn.neurons.side_by_side import other_runs, run_names, where
from skn.neurons.thresholds import mean_of
from skn.store import documents
from skn.store.digests import identity_of
from skn.store.output import refuse_existing

log = logging.getLogger(__name__)


def off_target(
    run: LoadedRun,
    on: Sequence[LoadedRun],
    neurons: NeuronSets | Path | str | None = None,
    fractions: float | Sequence[float] | None = None,
    layers: range | None = None,
    *,
    options: MaskOptions | None = None,
    batch_tokens: int = BATCH_TOKENS,
    name: str | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    **named: Any,
) -> OffTarget:
    """Measure what masking a run's best neurons costs this run and other runs of the same backbone.

    Each run keeps its own prompt, data and label words. Random masks of as many neurons, the same in all runs, stand
    beside. An excess drop is the mean accuracy under the random masks less the accuracy under the mask. D compares the
    excess drop of ``run`` with that of another run, each as a share of what the unmasked model reaches above the larger
    class. The p of D is its rank among the D of the random sets.

    Args:
        run: the run whose neurons are masked, from ``skn.tune`` or ``skn.open_run``.
        on: the other runs, of the same backbone.
        neurons: a ranking, cut at ``fractions``, or a fixed set; a file; by default the run's own ranking.
        fractions: the shares of each layer's neurons to mask, each above 0 and at most 1; None for a fixed set.
        layers: the layers to mask, by default all.
        options: a :class:`MaskOptions`; its fields may be given by name instead, ``kind="mean", controls=50``. With kind
            "mean", the means of each run come from its own probe.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        name: the name of the result in titles and reports, so that several results can stand side by side.
        out: a JSON file that keeps the results. skn writes the file after every run, and ``resume`` goes on from the file.

    Returns:
        ``matrix()`` has the excess drops by set and run; ``table()`` and ``to_pandas()`` show all numbers.

    Raises:
        InputError: a value has no meaning; the file ``out`` exists; a run is given twice or belongs to another backbone;
            a mean is not there.

    Example::

        >>> other = skn.tune(backbone, data, ["negative", "positive"], prompt_length=4, epochs=0)
        >>> harm = skn.off_target(run, [other], ranking, fractions=0.1, controls=3)
        >>> [len(one["rows"][0]["draws"]) for one in harm.runs]
        [3, 3]
    """
    if options is not None and named:
        raise TypeError(f"off_target: give options, or {', '.join(named)} by name, not both")
    options = options or MaskOptions(**named)
    check(options)
    runs = [run, *other_runs(run, on)]
    file = None if out is None else Path(out)
    if file is not None:
        refuse_existing([file], overwrite or resume, resume_option=True, kind="off-target")
    sets = _Sets.of(MaskPlan.of(run, neurons, fractions, layers, options), options)
    names = run_names(runs)
    means = [_mean(one, run, sets) for one in runs]
    if options.matches == ["activity"]:  # of the run whose neurons are masked
        activity = activity_of(run, sets.plan.sets, options, alpha=sets.alpha, mean=means[0])
        sets = replace(sets, plan=sets.plan.with_activity(activity))
    document = _description(run, sets, names) | {"name": result_name(name)}
    done = runs_of(file, document) if resume and file is not None else []
    asked = list(zip(runs, names, means, strict=True))
    # a run that cannot be measured is refused before any run is
    measures = [_Measure.of(*each, options=options, batch_tokens=batch_tokens) for each in asked[len(done) :]]
    for place, (one, called, mean) in enumerate(asked):
        about = {"run": called, "mean": None if mean is None else identity_of({"mean": mean})}
        about |= {"engine": one.engine, "provenance": one.provenance}
        if place < len(done):
            refuse_other_run(file, done[place], about)
            continue
        done.append(about | _measured(measures.pop(0), sets))
        if file is not None:  # after every run, so that an interrupted command can resume here
            documents.write(file, "off-target", document | {"runs": done, **judged(done)})
    return OffTarget(document | {"runs": done, **judged(done)}, file)


def check(options: MaskOptions) -> None:
    """Raises :class:`InputError` for options that have no meaning here."""
    options.check()
    if len(options.matches) > 1:
        raise InputError(
            f"--match {','.join(options.matches)}: one match stands beside the masks of other runs; give one"
        )
    if options.controls == 0:
        raise InputError("--controls 0: an excess drop is beside random masks; draw 1 or more")


@dataclass(frozen=True)
class _Sets:
    """The sets to mask, and the random sets of each."""

    plan: MaskPlan
    options: MaskOptions
    alpha: float | None

    @classmethod
    def of(cls, plan: MaskPlan, options: MaskOptions) -> _Sets:
        low, high = plan.layers.start, plan.layers.stop
        for fraction, chosen in plan.chosen.items():
            if not chosen.any():
                which = plan.sets.name if fraction is None else f"--fraction {fraction:g}"
                raise InputError(f"{which}: no neuron of layers {low}:{high}; choose one or more")
        return cls(plan, options, alpha_of(options, plan.factor, plan.sets.name))

    @property
    def touched(self) -> Tensor:
        """[L, F] bool: every neuron that a chosen set may hold, or a random set that matches by number."""
        return self.plan.touched

    def drawn(self, chosen: Tensor) -> Iterable[Drawn]:
        """The random sets of a chosen set: those of ``skn.mask``, and the same ones in every run."""
        return self.plan.random_sets(self.options.matches[0], chosen, self.options)[0]


def _mean(one: LoadedRun, run: LoadedRun, sets: _Sets) -> Tensor | None:
    """Return the means [L, F] of a run's own probe for kind "mean". Raises :class:`InputError` if none fit."""
    if sets.options.kind != "mean":
        return None
    if one.main_readout != run.main_readout:
        raise InputError(
            f"{where(one)}: its means are read at '{one.main_readout}', those of {where(run)} at "
            f"'{run.main_readout}'; choose another --kind, or runs that are read alike"
        )
    mean = mean_of(one, None, sets.plan.sets)
    Mask("mean", sets.touched, mean)  # refuses a NaN now, and not between two runs
    return mean


@dataclass(frozen=True)
class _Measure:
    """Say which examples of a run's split are right under a mask."""

    run: LoadedRun
    name: str
    encoded: Encoded
    batch_tokens: int
    mean: Tensor | None
    resampling: Resampling | None

    @classmethod
    def of(cls, run: LoadedRun, name: str, mean: Tensor | None, options: MaskOptions, batch_tokens: int) -> _Measure:
        encoded = run.encoded(options.split)
        resampling = Resampling.of(run, encoded, options.seed) if options.kind == RESAMPLE else None
        return cls(run, name, encoded, batch_tokens, mean=mean, resampling=resampling)

    def logits(self, mask: Mask | Resample | None, description: str) -> Tensor:
        description = f"{self.name}: {description}"
        return predict(self.run.model, self.encoded, self.batch_tokens, description, self.run.engine, mask=mask)

    def right(self, sets: _Sets, neurons: Tensor, factor: Tensor | None, description: str) -> np.ndarray:
        """[N] bool."""
        kind, seed = sets.options.kind, sets.options.seed
        if self.resampling is not None:
            mask = self.resampling.mask(neurons)
        else:
            mask = Mask(kind, neurons, self.mean, alpha=sets.alpha, seed=seed, factor=factor)
        return (self.logits(mask, description).argmax(dim=1) == self.encoded.label).numpy()


def _measured(measure: _Measure, sets: _Sets) -> dict[str, Any]:
    """Measure a run: unmasked, and under every set and its random sets."""
    label = measure.encoded.label
    score = Score.of(measure.logits(None, "unmasked"), label)
    counted = {"examples": len(label), "accuracy": score.accuracy, "interval": list(score.interval)}
    rows = [_row(fraction, chosen, sets, measure) for fraction, chosen in sets.plan.chosen.items()]
    kept_own = None if measure.resampling is None else measure.resampling.kept_own
    return counted | {"majority": majority(label), "kept_own": kept_own, "rows": rows}


def _row(fraction: float | None, chosen: Tensor, sets: _Sets, measure: _Measure) -> dict[str, Any]:
    called, draws = set_name(fraction), sets.options.controls
    right = measure.right(sets, chosen, sets.plan.factor, f"mask {called}")
    random = np.stack(
        [
            measure.right(sets, *control, f"mask {called} control {i}/{draws}")
            for i, control in enumerate(sets.drawn(chosen), start=1)
        ]
    )
    excess, ends = excess_drop(right, random)
    log.info("%s, %s: excess drop %+.4f (95%%: %s)", measure.name, called, excess, signed(ends))
    return {
        "fraction": fraction,
        "neurons": int(chosen.sum()),
        "accuracy": float(right.mean()),
        "excess": excess,
        "interval": list(ends),
        "draws": random.mean(axis=1).tolist(),
    }


def _description(run: LoadedRun, sets: _Sets, names: Sequence[str]) -> dict[str, Any]:
    """Describe how the numbers are made. A file with another description is not resumed."""
    options, plan = sets.options, sets.plan
    return {
        "kind": options.kind,
        "alpha": sets.alpha if options.kind in WITH_ALPHA else None,
        "controls": options.controls,
        "match": options.matches[0],
        "layers": [plan.layers.start, plan.layers.stop],
        "split": options.split,
        "seed": options.seed,
        "fractions": None if None in plan.chosen else list(plan.chosen),
        "on": list(names[1:]),
        "neurons": plan.sets.identity,
        "dtype": run.provenance["dtype"],
        "provenance": run.provenance,
    }
