"""Figures of sweeps and searchlights: what they draw, at sizes from almost nothing to full scale."""

import matplotlib
import numpy as np
import pytest
from filled_run import png_size

from skn.reports import rsa_figures, sweep_figures
from skn.reports.drawing import png
from skn.reports.heatmap import SMALLEST
from skn.reports.sweep_data import Dropped, Grid
from skn.reports.sweep_figures import Curve
from skn.runs.grid import DONE, FAILED, MISSING, UNFINISHED


def drawn(figure):
    width, height = png_size(png(figure))
    assert width == 1152 and height < 2000
    return figure


def numbers(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def grid(tasks, seeds, states=()):
    accuracy = np.linspace(0.5, 0.95, tasks * seeds).reshape(tasks, seeds)
    state = [[DONE] * seeds for _ in range(tasks)]
    for (task, seed), name in states:
        state[task][seed], accuracy[task, seed] = name, np.nan
    return Grid([f"goemotions/emotion-{i}" for i in range(tasks)], list(range(seeds)), accuracy, state)


def test_grid_of_full_scale_has_a_readable_number_in_every_cell():
    axes = drawn(sweep_figures.figure_grid(grid(27, 12))).axes[0]
    assert len(numbers(axes)) == 27 * 12 and numbers(axes)[0] == "50.0"
    assert min(text.get_size() for text in axes.texts) >= SMALLEST


def test_grid_too_large_for_numbers_has_none():
    assert numbers(drawn(sweep_figures.figure_grid(grid(4, 60))).axes[0]) == []


def test_cells_without_accuracy_are_hatched_and_named():
    states = [((0, 1), FAILED), ((1, 0), UNFINISHED), ((2, 2), MISSING)]
    figure = drawn(sweep_figures.figure_grid(grid(3, 3, states)))
    hatches = [patch.get_hatch() for patch in figure.axes[0].patches]
    assert len(set(hatches)) == 3 and len(numbers(figure.axes[0])) == 6
    assert [text.get_text() for text in figure.legends[0].texts] == [FAILED, UNFINISHED, MISSING]


def test_grid_without_any_accuracy():
    drawn(sweep_figures.figure_grid(grid(1, 1, [((0, 0), MISSING)])))


def test_tasks_of_one_name_keep_their_folders():
    twins = Grid(["a/joy", "b/joy"], [1], np.ones((2, 1)), [[DONE], [DONE]])
    assert twins.names == ["a/joy", "b/joy"] and grid(2, 1).names == ["emotion-0", "emotion-1"]


@pytest.mark.parametrize("attributes, layers", [(1, 1), (3, 6), (14, 12), (14, 24)])
def test_counts_are_written_in_their_cells(attributes, layers):
    counts = np.arange(attributes * layers).reshape(attributes, layers)
    names = [f"attribute {a}" for a in range(attributes)]
    figure = drawn(rsa_figures.figure_counts({"all": counts, "none": 0 * counts}, names))
    assert numbers(figure.axes[0]) == [str(n) for n in counts.ravel()]
    assert figure.axes[0].images[0].norm.vmax == figure.axes[1].images[0].norm.vmax


def test_map_pixels_mix_rank_and_share():
    rank = np.array([[0, 1, 2, -1], [-1, -1, -1, 0]])
    each = rsa_figures.map_pixels(rank, 3)
    colours = rsa_figures.RANKS(np.array([0, 0.5, 1]))[:, :3]
    assert np.allclose(each[0, :3], colours) and np.allclose(each[0, 3], 1) and np.allclose(each[1, 3], colours[0])
    pairs = rsa_figures.map_pixels(rank, 3, pixels=2)
    assert np.allclose(pairs[0, 1], (1 + colours[2]) / 2)  # one of two neurons: half as strong
    assert np.allclose(pairs[1, 0], 1)


def test_map_of_one_neuron_and_of_very_many():
    drawn(rsa_figures.figure_top_map(np.array([[0]]), 1, ["a"]))
    rank = np.where(np.random.default_rng(0).random((14, 30_000)) < 0.1, 5, -1)
    drawn(rsa_figures.figure_top_map(rank, 6000, ["a"] * 14))


def test_overlap_shows_lower_triangles_and_ratios_around_one():
    share = np.array([[1, 0.5, 0.1], [0.5, 1, 0.2], [0.1, 0.2, 1]])
    figure = drawn(rsa_figures.figure_overlap(share, share * 4, ["a", "b", "c"], 0.25))
    assert numbers(figure.axes[0]) == ["50", "10", "20"] and numbers(figure.axes[1]) == ["2.0", "0.4", "0.8"]
    assert figure.axes[1].images[0].norm(1.0) == 0.5


def test_overlap_where_nothing_is_known():
    drawn(rsa_figures.figure_overlap(np.zeros((2, 2)), np.full((2, 2), np.nan), ["a", "b"], 0.0))


def test_stability_lines_are_mean_and_lowest():
    jaccard = {8: np.array([[0.5, 1.0], [0.7, 1.0]]), 4: np.array([[0.2, np.nan], [0.4, np.nan]])}
    axes = drawn(rsa_figures.figure_stability({"seeds": Dropped(["1", "3"], jaccard)}, ["a", "b"])).axes
    assert np.allclose([line.get_ydata() for line in axes[0].lines], [[0.3, 0.6], [0.2, 0.5]])
    assert axes[0].lines[0].get_xdata().tolist() == [4, 8]


@pytest.mark.parametrize("attributes", [1, 2, 5, 14])
def test_masks_have_a_panel_for_each_attribute(attributes):
    values = np.array([0.9, 0.8])
    band = values - 0.05, np.full(2, np.nan)
    curves = [Curve(f"_{a}", [4, 8], [9, 9], values, values - 0.1, values, *band) for a in range(attributes)]
    figure = drawn(sweep_figures.figure_masked(curves))
    assert len(figure.axes) == attributes and len(figure.legends[0].texts) == 4


def test_a_single_k_is_seen():
    at = np.array([0.8])
    axes = drawn(sweep_figures.figure_masked([Curve("a", [4], [9], at, at, at, at - 0.1, at + 0.1)])).axes[0]
    assert axes.get_xticks().tolist() == [4]
    assert np.allclose([segment[:, 1] for c in axes.collections[1:] for segment in c.get_segments()], [[0.7, 0.9]])
    assert all(line.get_marker() != "None" for line in axes.lines)


def test_drop_is_centred_signed_and_marked():
    drop = np.array([[0.1, -0.02], [np.nan, -0.0001]])
    apart = np.array([[1, 0], [0, -1]])
    axes = drawn(sweep_figures.figure_drop(drop, ["joy", "fear"], ["a", "b"], apart)).axes[0]
    assert numbers(axes) == ["10.0", "−2.0", "0.0"]
    assert axes.images[0].norm(0.0) == 0.5
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    assert len(outlines) == 2 and len({str(p.get_linestyle()) for p in outlines}) == 2


def test_figures_leave_no_global_state():
    def settings():
        return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

    before = settings()
    drawn(sweep_figures.figure_grid(grid(2, 2)))
    assert settings() == before
