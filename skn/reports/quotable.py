"""The paragraph under the card of a run's report: what the run's files show, in sentences that a reader may quote.

A sentence stands there only if its file does. The last words name each missing piece and the command that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skn.neurons.claims import beyond_chance
from skn.neurons.mask_table import MATCHED, controls_of
from skn.neurons.off_target_table import test_of
from skn.neurons.stability import stability_claim
from skn.reports.page import from_to, layer_span, percent, with_interval
from skn.reports.run_data import ReportData
from skn.reports.shown_mask import shown_harm, shown_mask

# Mean activities of a set and its controls count as equal up to this standardised difference, and up to this share of
# neurons without a control within a factor of 1.25. A set of which most neurons have none has no equals.
DIFFERENCE, UNEQUAL, MOST = 0.1, 0.1, 0.5


@dataclass(frozen=True)
class Quotable:
    """The sentences, and the missing pieces, each in a few words with its command."""

    sentences: list[str]
    missing: list[str]


def quotable(data: ReportData) -> Quotable:
    sentences: list[str] = []
    missing: list[str] = []
    for build in PARTS:
        said, lacking = build(data)
        sentences += said
        missing += lacking
    return Quotable(sentences, missing)


Part = tuple[list[str], list[str]]  # sentences, and what is missing


def _predictive(data: ReportData) -> Part:
    validation, test = (data.tests.get((data.readout, split)) for split in ("validation", "test"))
    if validation is None:
        probed = any(file.kind == "hits" for file in data.files)
        command = "skn probe --overwrite" if probed else "skn probe"
        return [], [f"permutation tests at the read-out {data.readout} ('{command}')"]
    return [f"{beyond_chance(validation, test)}."], []


def _stable(data: ReportData) -> Part:
    if data.predictivity is None:
        return [], []
    if data.predictivity.stability is None:
        return [], ["how stable the best neurons are ('skn select --bootstrap 1000 --overwrite')"]
    return [f"{stability_claim(data.predictivity.stability)}."], []


def _masked(data: ReportData) -> Part:
    shown = shown_mask(data.masks)
    if shown is None:
        return [], ["what masking the neurons costs ('skn mask')"]
    mask, row = shown
    drawn = {match: found["accuracy"] for match, found in controls_of(mask, row).items() if found}
    before = _unmasked(data, mask)
    sentences = [_cost(mask, row, before)]
    sentences += [_beside(row["accuracy"], before, match, control) for match, control in drawn.items()]
    if row.get("balance"):
        sentences.append(_balance(row))
    others = list(dict.fromkeys(other["kind"] for other in data.masks if other["kind"] != mask["kind"]))
    if others:
        sentences.append(f"Masks of other kinds were measured, too ({', '.join(others)}): see 'Masks'.")
    again = f"skn mask{'' if mask['kind'] == 'zero' else ' --kind ' + mask['kind']}"
    if not drawn:
        return sentences, [f"random masks to compare with ('{again} --controls 20 --overwrite')"]
    if not any("activity" in controls_of(found, some) for found in data.masks for some in found["rows"]):
        return sentences, [f"random masks of equal activity ('{again} --match layer,activity --overwrite')"]
    return sentences, []


def _harmed(data: ReportData) -> Part:
    harm = shown_harm(data.off_targets)
    if harm is None:
        return [], ["what masking the neurons costs other tasks ('skn mask --on RUN')"]
    own, *others = harm["runs"]
    at = max(range(len(own["rows"])), key=lambda place: own["rows"][place]["neurons"])
    row = own["rows"][at]
    costs = "; ".join([f"{own['run']} {_excess(row)}", *(_other(harm, run, run["rows"][at]) for run in others)])
    beyond = f"Beyond the mean of {harm['controls']} random masks of its size"
    masked = f"a mask ({harm['kind']}) on {_share(row['fraction'])}, chosen for {own['run']},"
    rank = (
        "D is the difference of the two costs, each as a share of what its run can lose; p is a rank among these masks "
        "and is not corrected for the number of runs."
    )
    return [f"{beyond}, {masked} costs on {harm['split']}: {costs}.", *([rank] if harm["tests"] else [])], []


PARTS: list[Callable[[ReportData], Part]] = [_predictive, _stable, _masked, _harmed]


# ---- masks ---------------------------------------------------------------------------------------------------


def _unmasked(data: ReportData, mask: Mapping[str, Any]) -> float | None:
    """Return the accuracy without a mask on the mask's split: of the mask's file, or of an evaluation; None if unknown."""
    empty = (row["accuracy"] for row in mask["rows"] if row["neurons"] == 0)
    evaluated = (
        found["models"][0]["accuracy"]
        for found in data.evaluations
        if (found["split"], found["dtype"]) == (mask["split"], mask["dtype"])
    )
    return next(empty, next(evaluated, None))


def _cost(mask: Mapping[str, Any], row: Mapping[str, Any], before: float | None) -> str:
    neurons = mask.get("neurons")
    task = neurons["task"] if isinstance(neurons, Mapping) else None  # older files hold a name here, or nothing
    which = [_share(row["fraction"]), f"layers {layer_span(mask)}", *([f"chosen for {task}"] if task else [])]
    masked = f"With a mask ({mask['kind']}) on {row['neurons']:,} neurons ({', '.join(which)})"
    after = with_interval(row["accuracy"], row.get("interval"))
    if before is None:
        return f"{masked} the accuracy on {mask['split']} is {after}."
    moved = _moved(row["accuracy"] - before)
    return f"{masked} the accuracy on {mask['split']} {moved}, from {percent(before)} to {after}."


def _beside(masked: float, before: float | None, match: str, control: Mapping[str, Any]) -> str:
    """Compare the masked accuracy with the random sets of one match."""
    random, low, high = control["mean"], control["low"], control["high"]
    mean = with_interval(
        random, None if control.get("mean_low") is None else (control["mean_low"], control["mean_high"])
    )
    change = f"is {mean} on average" if before is None else f"{_moved(random - before)} on average, to {mean}"
    # Compare the printed values: a difference that the reader cannot see does not count.
    shown, least, most = (round(value, 3) for value in (masked, low, high))
    where = "below" if shown < least else "above" if shown > most else "within"
    draws = control["draws"]
    rank = (1 + sum(draw <= masked for draw in draws)) / (1 + len(draws))
    return (
        f"With random neurons, {MATCHED[match]}, it {change}; {percent(masked)} lies {where} the central 95% of the "
        f"{len(draws)} random sets ({from_to((low, high))}), rank p = {rank:.3g}."
    )


def _balance(row: Mapping[str, Any]) -> str:
    """Say how far the controls of equal activity are as active as the set."""
    of, neurons = row["balance"], row["neurons"]
    lone = of["unequal"] / neurons
    said = f"{of['unequal']:,.4g} of {neurons:,} neurons have no control within a factor of 1.25"
    if of["difference"] is None or lone > MOST:
        return f"The set has no equals in activity: {said}, and the controls say no more than those by number."
    said += f", standardised difference {of['difference']:+.3f}"
    alike = abs(of["difference"]) <= DIFFERENCE and lone <= UNEQUAL
    return f"These controls are {'as' if alike else 'only in part as'} active as the set ({said})."


def _moved(change: float) -> str:
    return f"{'drops' if change <= 0 else 'rises'} by {abs(100 * change):.1f} points"


# ---- other runs ----------------------------------------------------------------------------------------------


def _other(harm: Mapping[str, Any], run: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    test = test_of(harm["tests"], run["run"], row["fraction"])
    judged = "no D" if test is None else f"D = {test['difference']:+.3f}, p = {test['p']:.3g}"
    return f"{run['run']} {_excess(row)}, {judged}"


def _excess(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['excess']:+.1f} points (95%: {100 * low:+.1f} to {100 * high:+.1f})"


def _share(fraction: float | None) -> str:
    return "a fixed set" if fraction is None else f"{100 * fraction:.4g}% of each layer"
