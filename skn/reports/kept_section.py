"""The section of a run's report about accuracy by the number of kept neurons, before and after tuning again, and in int8."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from skn.reports.drawing import GREY, PALETTE, PERCENT, WIDTH, Picture, legend_below, styled
from skn.reports.numbers import Numbers
from skn.reports.page import Section, with_interval
from skn.reports.run_data import Kept, ReportData


def kept(data: ReportData) -> Section | None:
    if not data.kept:
        return None
    models = sorted(data.kept, key=lambda model: (model.neurons, model.name))
    full = data.training.best_accuracy
    text = [_sentence(model) for model in models]
    text.append(
        f"The model with all its neurons reaches {with_interval(full, data.training.interval)}. "
        "'skn prune --count N --retune 3 --out RUN/NAME' adds a point."
    )
    drawn = figure_kept(models, full)
    picture = Picture("kept", drawn, "Accuracy on validation against the neurons that are kept", _numbers(models))
    return Section("kept", "Accuracy by the neurons that are kept", text, [picture])


def _sentence(model: Kept) -> str:
    said = f"{model.name} keeps {model.neurons:,} neurons: {_reached(model.pruned)}"
    if model.retuned:
        said += f", tuned again {_reached(model.retuned)}"
    if model.int8:
        said += f", in int8 {_reached(_in_int8(model))}, with the plain model's label for {model.int8.same_labels:.2%} of the texts"
    return f"{said}."


@styled
def figure_kept(models: Sequence[Kept], full: float) -> Figure:
    """Draw a point with its 95% interval for each model and prompt.

    Dashed: all neurons. Dotted: the larger class alone.
    """
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    for colour, marker, name, found in (
        (PALETTE[0], "s", "the run's own prompt", [model.pruned for model in models]),
        (PALETTE[1], "o", "the prompt tuned again", [model.retuned for model in models]),
        (PALETTE[2], "^", "in int8", [_in_int8(model) for model in models]),
    ):
        points = [(model.neurons, value) for model, value in zip(models, found, strict=True) if value]
        if points:
            at, values = zip(*points, strict=True)
            accuracy, low, high = zip(*values, strict=True)
            below = [value - end for value, end in zip(accuracy, low, strict=True)]
            above = [end - value for value, end in zip(accuracy, high, strict=True)]
            axes.errorbar(at, accuracy, [below, above], color=colour, marker=marker, capsize=4, label=name)
    axes.axhline(full, color="black", linestyle="--", linewidth=1, label="all neurons")
    axes.axhline(models[0].majority, color=GREY, linestyle=":", label="larger class alone")
    axes.set(xlabel="neurons kept", ylabel="accuracy on validation", xlim=(0, None))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PERCENT)
    legend_below(figure, axes)
    return figure


def _in_int8(model: Kept) -> tuple[float, float, float] | None:
    return (model.int8.score.accuracy, *model.int8.score.interval) if model.int8 else None


def _reached(accuracy: tuple[float, float, float]) -> str:
    value, *ends = accuracy
    return with_interval(value, ends)


def _numbers(models: Sequence[Kept]) -> Numbers:
    header = [
        "model",
        "neurons",
        *(f"{how}_{what}" for how in ("pruned", "retuned", "int8") for what in ("accuracy", "low", "high")),
    ]
    rows = []
    for model in models:
        scores = [value or (None,) * 3 for value in (model.pruned, model.retuned, _in_int8(model))]
        same = model.int8.same_labels if model.int8 else None
        rows.append([model.name, model.neurons, *chain(*scores), same, model.majority])
    return Numbers([*header, "same_labels_in_int8", "larger_class_alone"], rows)
