"""The report of a run: sections of text, figures and tables from the run's content.

A section is a function from :class:`ReportData` to a :class:`Section`, or to None if its stage has not run. Nothing
here reads or writes a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from skn.intervals import none_better
from skn.names import quoted
from skn.neurons.neuron_sets import whose
from skn.pruned.evaluation import evaluated_on
from skn.reports import numbers, run_figures
from skn.reports.activation_sections import histogram, texts
from skn.reports.card import card
from skn.reports.drawing import Picture
from skn.reports.exemplar_section import exemplars
from skn.reports.kept_section import kept
from skn.reports.mask_section import masking
from skn.reports.off_target_section import off_target
from skn.reports.page import Section, Table, facts, from_to, layer_span, percent, render
from skn.reports.predictivity_section import every_neuron, predictivity
from skn.reports.quotable import quotable
from skn.reports.ranking_sections import carried, positions
from skn.reports.run_data import ReportData

EVALUATION = "{on}; {dtype}; {device}; batches of {batch_tokens} tokens; {threads} threads"


def pictures_and_page(data: ReportData) -> tuple[dict[str, bytes], str]:
    """Return the PNGs and csv files by name, and the page with the PNGs inside."""
    sections = [section for build in SECTIONS if (section := build(data)) is not None]
    title = f"Skill neurons: {data.provenance.get('task')} on {data.provenance.get('backbone')}"
    on_top = {"card": card(data), "quotable": quotable(data), "neuron_map": every_neuron(data)}
    return render("report.html.j2", title, sections, **on_top)


# ---- sections ------------------------------------------------------------------------------------------


def summary(data: ReportData) -> Section:
    config, training = data.config, data.training
    asked = {key: data.provenance.get(key) for key in ("task", "backbone")}
    asked |= {
        key.replace("_", " "): config[key]
        for key in ("method", "template", "prompt_length", "label_words", "class_names")
        if config[key]
    }
    asked |= {"seed": config["seed"], "dtype": _tuned_in(config)}
    tuned = config.get("template") is None
    how = f"tuning (method: {config['method']}) reached" if tuned else f"the template {config['template']!r} reaches"
    kept = f" at step {training.best_step}, the checkpoint that was kept" if tuned else "; nothing was tuned"
    text = (
        f"Over the frozen backbone, {how} {percent(training.best_accuracy)} plain "
        f"accuracy (the share of right examples; 95%: {from_to(training.interval)}) on the {training.examples:,} examples of the "
        f"validation split{kept}."
    )
    if training.majority is not None:
        than = none_better(training.best_accuracy, training.majority)
        beaten = "" if training.beats_majority else f" The model is {than} that."
        text += f" The larger class alone reaches {percent(training.majority)}.{beaten}"
    history = [entry for entry in training.history if "eval_accuracy" in entry or "loss" in entry]
    pictures = []
    if history:
        drawn = run_figures.figure_training(history, training.best_step)
        alt = "Validation accuracy and training loss by step"
        pictures = [Picture("training", drawn, alt, numbers.of_training(history))]
    return Section("summary", "Summary", [text], pictures, [facts("The run", asked)])


def pruning(data: ReportData) -> Section | None:
    prune, models = data.prune, []
    if prune is None and not data.evaluations:
        return None
    text, pictures, tables = [], [], []
    if prune is not None:
        before, after = prune["parameters_before"], prune["parameters_after"]
        models = [{"name": "full", "parameters": before}, {"name": "pruned", "parameters": after}]
        text.append(
            f"Pruning layers {layer_span(prune)} takes the model from {before:,} to {after:,} parameters "
            f"({percent(after / before)} are left). FFN neurons left: {_widths(prune['widths'])}. "
            f"Chosen: {whose(prune.get('neurons'))}."
        )
    for evaluation in data.evaluations:
        on = evaluated_on(evaluation) + quoted(evaluation["name"])
        setting = EVALUATION.format(on=on, **evaluation)
        drawn = run_figures.figure_models(evaluation["models"], evaluation.get("majority"))
        alt = f"Accuracy, AUC, parameters and speed. {setting}"
        pictures.append(Picture(evaluation["stem"], drawn, alt, numbers.of_models(evaluation["models"])))
        header = [
            "model",
            "parameters",
            "accuracy",
            "95% interval",
            "AUC",
            "examples/s: median",
            "lowest",
            "highest",
            "repeats",
        ]
        tables.append(Table(setting, header, [_model_row(model) for model in evaluation["models"]], range(1, 9)))
        if evaluation.get("majority") is not None:
            text.append(_beaten(evaluation, {kept.name for kept in data.kept if kept.retuned}))
    if not pictures:
        alt = "Parameters before and after pruning"
        pictures = [Picture("models", run_figures.figure_models(models), alt, numbers.of_models(models))]
    title = "Before and after pruning" if prune is not None else "Accuracy and speed"
    return Section("pruning", title, text, pictures, tables)


def _tuned_in(config: Mapping[str, Any]) -> str:
    return f"{config['dtype']}, products in bfloat16" if config.get("autocast") else config["dtype"]


def provenance(data: ReportData) -> Section:
    config = {key: value for key, value in data.config.items() if key != "data"}
    config |= {f"data: {key}": value for key, value in data.config["data"].items()}
    dtypes = sorted({file.dtype for file in data.files} - {""})
    computed = ", ".join(dtypes) or "unknown"
    text = f"Tuned in {_tuned_in(data.config)}; the files of this run were computed in {computed}."
    files = [(file.name, f"{file.size:,}", file.kind or "–", file.dtype or "–") for file in data.files]
    tables = [
        facts("Where the tuned tensors come from", data.provenance),
        facts("Configuration", config),
        Table("Files", ["file", "bytes", "kind", "dtype"], files, range(1, 2)),
    ]
    return Section("provenance", "Provenance", [text], tables=tables, folded=True)


Build = Callable[[ReportData], Section | None]
SECTIONS: list[Build] = [
    summary, histogram, texts, exemplars, predictivity, positions, carried, masking, off_target, pruning, kept, provenance
]  # fmt: skip


# ---- words and cells -----------------------------------------------------------------------------------


def _model_row(model: dict[str, Any]) -> list[str]:
    speed = model["examples_per_second"]
    speeds = ["–"] * 4
    if speed:
        speeds = [*(f"{speed[key]:,.1f}" for key in ("median", "low", "high")), speed["repeats"]]
    ends = model.get("interval")
    measured = percent(model["accuracy"]), from_to(ends), percent(model.get("auc"))
    return [model["name"], f"{model['parameters']:,}", *measured, *speeds]


def _beaten(evaluation: dict[str, Any], retuned: set[str]) -> str:
    """Name the models that are no better than always giving the larger class.

    Models in ``retuned`` get no advice to tune again.
    """
    share, (own, *others) = evaluation["majority"], evaluation["models"]
    lost = [model["name"] for model in (own, *others) if model["interval"] and model["interval"][0] <= share]
    on = f"{evaluation.get('data') or evaluation['split']}{quoted(evaluation['name'])}"
    guess = f"On {on} the larger class alone reaches {percent(share)}"
    if not lost:
        return f"{guess}; every model is better than that."
    untuned = {model["name"] for model in others} & set(lost) - retuned
    advice = " 'skn prune --retune 3' tunes a pruned model again." if untuned else ""
    return f"{guess}; not clearly better, by the 95% interval: {', '.join(lost)}.{advice}"


def _widths(widths: list[int]) -> str:
    """Write "3,072 in layers 0 to 8, 61 in layers 9 to 11"."""
    runs = [list(group) for _, group in groupby(range(len(widths)), key=widths.__getitem__)]
    return ", ".join(
        f"{widths[run[0]]:,} in " + (f"layers {run[0]} to {run[-1]}" if len(run) > 1 else f"layer {run[0]}")
        for run in runs
    )
