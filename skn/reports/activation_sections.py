"""Sections of a run's report from stored activations: histograms by class, and texts beside neurons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skn.reports import numbers, run_figures
from skn.reports.drawing import PALETTE, PERCENT, Picture, legend_below, shorten, styled
from skn.reports.multiples import small_multiples
from skn.reports.page import Section, Table, percent
from skn.reports.run_data import Histogram, NeuronTexts, ReportData

LONGEST = 240  # the most characters of a text in the report


def histogram(data: ReportData) -> Section | None:
    if not data.histograms:
        return _how_to_store(data)
    text, pictures, tables = [], [], []
    for split, several in groupby(data.histograms, key=lambda h: h.split):
        drawn = list(several)
        first = drawn[0]
        text.append(_words(first) if len(drawn) == 1 else _words_of_several(drawn))
        alt = f"Histogram of the activation of neuron {first.neuron} of layer {first.layer} by class, {split} split"
        bars = numbers.of_histogram(first.activation, first.label, first.classes, run_figures.BINS)
        one = run_figures.figure_histogram(first.activation, first.label, first.classes, first.threshold)
        pictures.append(Picture(f"histogram-{split}", one, alt, bars))
        if len(drawn) > 1:
            alt = f"Histograms of the activations of {len(drawn)} neurons by class, {split} split"
            pictures.append(Picture(f"histograms-{split}", figure_histograms(drawn), alt, _all_bars(drawn)))
        tables.append(_classes(drawn))
    return Section("histogram", "Activations of the best neurons, by class", text, pictures, tables)


def _how_to_store(data: ReportData) -> Section | None:
    if data.predictivity is None:
        return None
    text = "No activations are stored in this run: 'skn activate --run RUN --best 10' stores those of its ten best neurons."
    return Section("histogram", "Activations of the best neurons, by class", [text])


def _words(h: Histogram) -> str:
    who = f"neuron {h.neuron} of layer {h.layer}" + (", the first of the ranking," if h.best else "")
    return (
        f"Activation of {who} at prompt position {h.position}, over the {h.label.size:,} examples of the "
        f"{h.split} split; each class's bars add up to 100%. The less they overlap, the better this unit "
        "tells the classes apart."
    )


def _words_of_several(drawn: Sequence[Histogram]) -> str:
    return f"{_words(drawn[0])} Below it stand the first {len(drawn)} neurons that are stored, each at its own best position."


@styled
def figure_histograms(drawn: Sequence[Histogram]) -> Figure:
    """Draw a small panel for each neuron. Each class's bars add up to 100%; the line is the threshold."""
    figure, panels = small_multiples(len(drawn), 1.5, "activation", "share of the class", shared=False)
    for axes, h in zip(panels, drawn, strict=True):
        bars = numbers.of_histogram(h.activation, h.label, h.classes, run_figures.BINS // 2)
        low, high, *shares = zip(*bars.rows, strict=True)
        edges = [*low, high[-1]]
        for c, (name, share) in enumerate(zip(h.classes, shares, strict=True)):
            line = run_figures.LINES[c // len(PALETTE) % len(run_figures.LINES)]
            axes.stairs(share, edges, color=PALETTE[c % len(PALETTE)], linestyle=line, label=shorten(name))
        if h.threshold is not None:
            axes.axvline(h.threshold, color="black", linewidth=0.9)
        axes.set_title(f"layer {h.layer}, neuron {h.neuron}")
        axes.yaxis.set_major_formatter(PERCENT)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))  # four labels such as −0.125 fill a small panel
        axes.tick_params(labelsize=7)
    legend_below(figure, panels[0])
    return figure


def _all_bars(drawn: Sequence[Histogram]) -> numbers.Numbers:
    rows, header = [], ["layer", "neuron", "position"]
    for h in drawn:
        bars = numbers.of_histogram(h.activation, h.label, h.classes, run_figures.BINS // 2)
        rows += [[h.layer, h.neuron, h.position, *row] for row in bars.rows]
    return numbers.Numbers([*header, *bars.header], rows)


def _classes(drawn: Sequence[Histogram]) -> Table:
    """A table of how many examples each class has, and how many of them exceed each neuron's threshold."""
    first = drawn[0]
    counts = [f"{int((first.label == c).sum()):,}" for c in range(len(first.classes))]
    named = [f"{name} ({count} examples)" for name, count in zip(first.classes, counts, strict=True)]
    rows = [
        [h.layer, h.neuron, h.position, "–" if h.threshold is None else f"{h.threshold:.4g}", *_above(h)] for h in drawn
    ]
    header = ["layer", "neuron", "position", "threshold", *named]
    return Table(f"{first.split} split: share of each class above the threshold", header, rows, range(len(header)))


def _above(h: Histogram) -> list[str]:
    shares = []
    for c in range(len(h.classes)):
        values = h.activation[h.label == c]
        shares.append(percent(None if h.threshold is None or not values.size else float((values > h.threshold).mean())))
    return shares


def texts(data: ReportData) -> Section | None:
    """The texts on which the stored neurons are most and least active."""
    title = "Texts beside neurons"
    if data.texts_missing is not None:
        return Section("texts", title, [f"The texts cannot be shown: {data.texts_missing}"])
    if not data.texts:
        return None
    words = f"For each neuron whose activations are stored: the {len(data.texts[0].highest)} texts with the highest activation and as many with the lowest."
    return Section("texts", title, [words], tables=[_texts(found) for found in data.texts])


def _texts(found: NeuronTexts) -> Table:
    where = f"Neuron {found.neuron} of layer {found.layer}, prompt position {found.position}, {found.split} split"
    rows = [
        [end, f"{one.activation:.3f}", one.label, _short(one.text)]
        for end, several in (("highest", found.highest), ("lowest", found.lowest))
        for one in several
    ]
    return Table(where, ["", "activation", "class", "text"], rows, range(1, 2))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
