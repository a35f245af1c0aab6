"""Figures: what they draw, with inputs of almost nothing; the user's settings stay as they were."""

import warnings
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from filled_run import mask_table, png_size

from skn.reports import drawing
from skn.reports import run_figures as figures
from skn.reports.activation_sections import figure_histograms
from skn.reports.compare_figures import figure_masks
from skn.reports.ranking_figures import figure_positions
from skn.reports.rsa_figures import figure_counts
from skn.reports.run_data import Histogram

pytestmark = pytest.mark.drawn


def drawn(figure):
    png_size(drawing.png(figure))
    return figure


def test_histogram_shares_add_up_and_ignore_what_is_not_finite():
    activation, label = np.array([0.0, 1.0, 2.0, np.inf, np.nan]), np.array([0, 0, 1, 1, 1])
    axes = drawn(figures.figure_histogram(activation, label, ["_a", "b"], None)).axes[0]
    assert [patch.get_data().values.sum() for patch in axes.patches] == [1, 1, 1, 1]


@pytest.mark.parametrize("values", [[], [np.nan], [1.0]])
def test_histogram_of_almost_nothing(values):
    drawn(figures.figure_histogram(np.array(values), np.zeros(len(values), dtype=int), ["a", "b"], 0.5))


def test_histogram_of_many_classes_has_a_row_for_each():
    label = np.arange(90) % 9
    figure = figures.figure_histogram(label + np.linspace(0, 1, 90), label, [f"_{c}" for c in range(9)], 4.0)
    assert len(drawn(figure).axes) == 9


def test_names_in_a_script_that_no_font_has_are_one_line_of_the_log(recwarn, caplog, monkeypatch):
    """Also where a figure is laid out before it is drawn; other warnings are passed on."""
    monkeypatch.setattr(drawing, "_fonts", lambda: ["DejaVu Sans"])
    drawing._say_missing.cache_clear()
    caplog.set_level("INFO", "skn")
    drawn(figures.figure_histogram(np.arange(4.0), np.arange(4) % 2, ["消极", "积极"], None))
    drawn(figure_counts({"tau": np.ones((2, 3))}, ["效价", "唤醒"]))
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("the figures show boxes for letters")
    drawing.styled(lambda: warnings.warn("another", stacklevel=1))()
    assert [str(w.message) for w in recwarn] == ["another"]


def test_an_installed_font_of_another_script_is_used(monkeypatch):
    """DejaVu Sans stays first, so that what it has looks alike everywhere."""
    monkeypatch.setattr(drawing, "_OTHER_SCRIPTS", ("no such font", "STIXGeneral"))
    assert drawing._fonts.__wrapped__() == ["DejaVu Sans", "STIXGeneral"]


def test_predictivity_with_an_empty_layer():
    score = np.array([[np.nan, np.nan], [0.6, 0.8]])
    axes = drawn(figures.figure_predictivity(score)).axes[0]
    diamonds = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in diamonds] == [(1, 0.8)]


def test_figures_leave_no_global_state():
    def settings():  # asking for the backend would choose one
        return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

    before = settings()
    drawn(figures.figure_mask(mask_table(), 0.5, 0.6))
    assert settings() == before


def test_a_legend_stays_in_its_figure():
    curves = {f"sst2-seed{seed}, mask-zero": [(0.0, 0.0), (0.1, -0.1)] for seed in range(4)}
    figure = figure_masks(curves)
    figure.draw_without_rendering()
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert legend.x0 >= whole.x0 and legend.x1 <= whole.x1


def test_the_line_of_the_larger_class_is_named_beside_the_bars():
    figure = figures.figure_models([{"name": "full", "accuracy": 0.6}, {"name": "pruned", "accuracy": 0.5}], 0.5)
    assert figure.axes[0].get_legend() is None and len(figure.legends) == 1


def test_the_bars_of_the_models_show_accuracy_and_auc():
    models = [
        {"name": name, "accuracy": 0.6, "auc": auc, "parameters": 5} for name, auc in (("full", 0.7), ("pruned", 0.55))
    ]
    axes = {
        panel.get_title(loc="left") or panel.get_title(): panel for panel in figures.figure_models(models, 0.5).axes
    }
    assert [bar.get_height() for bar in axes["AUC"].patches] == [0.7, 0.55]
    assert {text.get_text() for text in axes["AUC"].texts} == {"70.0%", "55.0%"}


def test_the_labels_of_small_histograms_stand_apart():
    """The values of the activations need labels as long as -0.125."""
    values, label = np.linspace(-0.1285, -0.0385, 40), np.arange(40) % 2
    figure = figure_histograms([Histogram("test", 4, 636, 4, True, values, label, ["no", "yes"], -0.1)] * 10)
    figure.draw_without_rendering()
    for axes in figure.axes[:10]:
        inside = [
            tick
            for tick in axes.get_xticklabels()
            if axes.get_xlim()[0] <= tick.get_position()[0] <= axes.get_xlim()[1]
        ]
        boxes = [tick.get_window_extent() for tick in inside]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_many_prompt_positions_have_few_labels():
    values = np.linspace(0.5, 0.9, 2 * 128).reshape(2, 128)
    shown = [label.get_text() for label in figure_positions(values, values).axes[0].get_xticklabels()]
    assert shown[:3] == ["0", "16", "32"] and len(shown) == 8
