"""The card at the top of a run's report: the findings in a few slots, each a number, or the command that gives the
number.

A later statistic adds one function to :data:`SLOTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skn.neurons.mask_table import MATCHED, controls_of
from skn.reports.page import from_to, percent, with_interval
from skn.reports.run_data import ReportData
from skn.reports.shown_mask import has_random, shown_mask

PRUNED = "pruned model, on validation"


@dataclass(frozen=True)
class Slot:
    """One finding. ``value`` is None if it was not measured; then ``note`` says how to measure it."""

    name: str
    value: str | None
    note: str


def card(data: ReportData) -> list[Slot]:
    return [build(data) for build in SLOTS]


def _test_accuracy(data: ReportData) -> Slot:
    found = _evaluated(data, "test")
    if found is None:
        return Slot("accuracy on test", None, "'skn evaluate' measures it")
    full = found["models"][0]
    share = f"; the larger class alone: {percent(found['majority'])}" if found.get("majority") is not None else ""
    return Slot("accuracy on test", percent(full["accuracy"]), f"95%: {from_to(full.get('interval'))}{share}")


def _best_neuron(data: ReportData) -> Slot:
    found = data.predictivity
    if found is None or not found.best:
        return Slot("best neuron", None, "'skn probe', then 'skn select', find it")
    layer, neuron = found.best[0]
    chosen = f"{found.measure} {percent(found.score[layer, neuron])}, {found.ranked_on}"
    where = f"neuron {neuron} of layer {layer}"
    if found.test is None:
        return Slot("best neuron", percent(found.score[layer, neuron]), f"{where}; {chosen}")
    ends = found.test_intervals and found.test_intervals[0]
    known = f" (95%: {from_to(ends)})" if ends else ""
    return Slot("best neuron", percent(found.test[0]), f"{where}, on test{known}; {chosen}")


def _masked(data: ReportData) -> Slot:
    """The mask of which the paragraph below the card speaks. The number compares with the first match, the note has every
    match.
    """
    shown = shown_mask(data.masks)
    if shown is None or not has_random(shown[1]):
        return Slot("masked against random", None, "'skn mask' compares the best neurons with random ones")
    mask, row = shown
    points = 100 * (row["accuracy"] - row["controls"]["accuracy"]["mean"])
    best = f"{row['neurons']:,} best neurons masked ({mask['kind']})"
    note = f"{best}: {with_interval(row['accuracy'], row.get('interval'))}; as many random ones: "
    drawn = {match: controls["accuracy"] for match, controls in controls_of(mask, row).items() if controls}
    note += "; ".join(
        f"{percent(random['mean'])}, {from_to((random['low'], random['high']))}"
        + (f" ({MATCHED[match]})" if len(drawn) > 1 else "")
        for match, random in drawn.items()
    )
    return Slot("masked against random", f"{points:+.1f} points", note)


def _pruned(data: ReportData) -> Slot:
    standing = data.prune and data.prune.get("validation")
    if not standing:
        return Slot(PRUNED, None, "'skn prune --retune 3' keeps the best neurons and tunes the prompt again")
    first, again = standing["pruned"], standing["retuned"]
    last = again or first
    left = percent(data.prune["parameters_after"] / data.prune["parameters_before"])
    before = f"; tuned again, before that {with_interval(first['accuracy'], first['interval'])}" if again else ""
    note = f"95%: {from_to(last['interval'])}{before}; {left} of the parameters are left"
    return Slot(PRUNED, percent(last["accuracy"]), note)


def _speed(data: ReportData) -> Slot:
    for found in data.evaluations:
        # first the run's own model, then the pruned models; some may keep a speed of an earlier evaluation
        first, *others = found["models"]
        timed = next((model for model in others if model["examples_per_second"]), None)
        if timed and first["examples_per_second"]:
            full, pruned = (model["examples_per_second"]["median"] for model in (first, timed))
            note = (
                f"{timed['name']}: {pruned:,.0f} examples per second; {first['name']}: {full:,.0f} ({found['device']})"
            )
            return Slot("speed of the pruned model", f"{pruned / full:.2f} ×", note)
    return Slot("speed of the pruned model", None, "'skn evaluate --speed' measures it once the run is pruned")


SLOTS: list[Callable[[ReportData], Slot]] = [_test_accuracy, _best_neuron, _masked, _pruned, _speed]


def _evaluated(data: ReportData, split: str) -> dict[str, Any] | None:
    return next((found for found in data.evaluations if found["split"] == split), None)
