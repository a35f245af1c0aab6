"""The csv file beside each figure of a sweep and of a searchlight says what the figure shows."""

import csv
import io

import numpy as np
import pytest
from filled_report_sweep import ATTRIBUTES, FAILED, LAYERS, SEEDS, TASKS, TOPS, WIDTH
from filled_run import PROVENANCE
from matplotlib.figure import Figure

from skn.reports import rsa_figures, rsa_numbers, sweep_numbers
from skn.reports.drawing import Picture
from skn.reports.read_sweep import report_rsa
from skn.reports.sweep_data import Dropped
from skn.reports.sweep_figures import Curve, figure_masked
from skn.runs.sweep import Sweep
from skn.store import artifacts

NAMES = ["grid", "searchlight", "top-neurons", "overlap", "stability", "masked-sets", "drop-sets"]


@pytest.fixture
def shown(sweep_pictures):
    """``shown(name)``: a picture's figure, and the rows of its csv file as dictionaries of texts."""

    def find(name):
        picture = sweep_pictures[name]
        return picture.figure, table(picture.numbers)

    return find


def table(numbers):
    return list(csv.DictReader(io.StringIO(numbers.csv.decode(), newline="")))


def column(rows, name):
    """As numbers; an empty cell is NaN."""
    return np.array([float(row[name] or "nan") for row in rows])


def squares(axes):
    """The values of a heat map, NaN where it has none."""
    return np.ma.asarray(axes.images[0].get_array(), dtype=float).filled(np.nan)


def same(found, expected):
    return np.array_equal(found, expected, equal_nan=True)


def test_there_is_no_picture_without_numbers():
    with pytest.raises(TypeError, match="numbers"):
        Picture("name", Figure(), "alt")


def test_every_picture_has_its_numbers(sweep_pictures):
    assert list(sweep_pictures) == NAMES
    for picture in sweep_pictures.values():
        header, *rows = csv.reader(io.StringIO(picture.numbers.csv.decode(), newline=""))
        assert rows and {len(row) for row in rows} == {len(header)} and len(set(header)) == len(header)
        assert not any(cell in ("nan", "None") for row in rows for cell in row)


def test_a_searchlight_without_its_sweep_has_them_too(full_sweep):
    page = report_rsa(full_sweep.path / "rsa")
    assert {file.stem for file in page.parent.glob("*.csv")} == set(NAMES[1:5])
    assert all(f'href="{name}.csv"' in page.read_text() for name in NAMES[1:5])


def test_the_grid(shown, made_sweeps):
    figure, rows = shown("grid")
    assert [(row["task"], row["seed"]) for row in rows] == [(task, str(seed)) for task in TASKS for seed in SEEDS]
    assert same(column(rows, "validation_accuracy"), squares(figure.axes[0]).ravel())
    sweep = Sweep.open(made_sweeps[1])
    for cell, row in zip(sweep.cells, rows, strict=True):
        ends = [float(row[f"validation_accuracy_{end}"] or "nan") for end in ("low", "high")]
        done = row["state"] == "done"
        assert ends == list(sweep.run(cell).outcome().interval) if done else np.isnan(ends).all()
    assert [row["state"] for row in rows if (row["task"], row["seed"]) == (FAILED.task, str(FAILED.seed))] == ["failed"]


def test_counts_of_significant_neurons(shown):
    figure, rows = shown("searchlight")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    assert measures == ["parametric q", "Mantel q", "family-wise p"]
    for axes, measure in zip(panels, measures, strict=True):
        mine = [row for row in rows if row["measure"] == measure]
        places = [(attribute, str(layer)) for attribute in ATTRIBUTES for layer in range(LAYERS)]
        assert [(row["attribute"], row["layer"]) for row in mine] == places
        assert same(column(mine, "significant_neurons"), squares(axes).ravel())
        assert axes.get_title(loc="left").startswith(f"{measure} ≤ {float(mine[0]['alpha']):g}: ")


def test_the_map_of_the_best_neurons(shown, made_sweeps):
    figure, rows = shown("top-neurons")
    order = [label.get_text().strip() for label in figure.axes[0].get_yticklabels()]
    rank = np.full((len(order), 1 + max(int(row["column"]) for row in rows)), -1)
    for row in rows:
        rank[order.index(row["attribute"]), int(row["column"])] = int(row["rank"]) - 1
    assert same(rsa_figures.map_pixels(rank, max(TOPS)), np.asarray(figure.axes[0].images[0].get_array()))
    stored = artifacts.load(made_sweeps[1] / "rsa" / "rsa.safetensors", "rsa")["rank"].numpy()
    assert len(rows) == len(ATTRIBUTES) * max(TOPS)
    for row in rows:
        place = ATTRIBUTES.index(row["attribute"]), int(row["layer"]), int(row["neuron"])
        assert stored[place] == int(row["rank"])


def test_overlap(shown):
    figure, rows = shown("overlap")
    assert len(rows) == 3 and {row["top"] for row in rows} == {str(max(TOPS))}
    for axes, name in zip(figure.axes, ("share", "times_chance"), strict=True):
        labels = [[label.get_text().strip() for label in ticks] for ticks in (axes.get_yticklabels(), axes.get_xticklabels())]  # fmt: skip
        drawn = squares(axes)
        for row in rows:
            value = drawn[labels[0].index(row["attribute"]), labels[1].index(row["with"])]
            assert float(row[name]) == value
    chance = max(TOPS) ** 2 / (LAYERS * WIDTH - 1)
    assert column(rows, "shared_by_chance") == pytest.approx(chance)
    assert same(column(rows, "shared"), column(rows, "share") * max(TOPS))


def test_stability(shown):
    figure, rows = shown("stability")
    for axes in figure.axes:
        lines = axes.get_lines()
        mine = [row for row in rows if row["attribute"] == axes.get_title(loc="left").strip()]
        assert [row["left_out"] for row in mine] == ["seed"] * 2 + ["condition"] * 2
        for i, line in enumerate(lines):  # mean and lowest of seeds, then of conditions
            part = mine[:2] if i < 2 else mine[2:]
            assert same(column(part, "top"), line.get_xdata())
            assert same(column(part, ("mean_jaccard", "lowest_jaccard")[i % 2]), line.get_ydata())


def test_stability_is_of_the_indices_that_are_known():
    """An attribute has none where it tells none of the conditions apart that are left."""
    dropped = {"conditions": Dropped(["joy", "fear"], {4: np.array([[0.4, np.nan], [np.nan, np.nan]])})}
    rows = table(rsa_numbers.of_stability(dropped, ["a", "b"]))
    assert [(row["mean_jaccard"], row["lowest_jaccard"]) for row in rows] == [("0.4", "0.4"), ("", "")]
    figure = rsa_figures.figure_stability(dropped, ["a", "b"])
    assert [line.get_ydata().tolist() for line in figure.axes[0].get_lines()] == [[0.4], [0.4]]


def test_accuracy_under_masks(shown):
    figure, rows = shown("masked-sets")
    for axes in figure.axes:
        mine = [row for row in rows if row["attribute"] == axes.get_title(loc="left").strip()]
        drawn = {line.get_label(): line for line in axes.get_lines()}
        for label, name in (
            ("random neurons", "random_mean"), ("top k masked", "top_masked"), ("nothing masked", "nothing_masked")
        ):  # fmt: skip
            assert same(column(mine, "top"), drawn[label].get_xdata())
            assert same(column(mine, name), drawn[label].get_ydata())
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert set(column(mine, "random_low")) | set(column(mine, "random_high")) == set(band)
        assert {row["cells"] for row in mine} == {"9"}


def test_masks_without_draws_have_no_band():
    at, none = np.array([0.8]), np.array([np.nan])
    curves = [Curve("=1", [4], [9], at, at, random=at, low=none, high=none)]
    (row,) = table(sweep_numbers.of_masked(curves))
    assert (row["random_mean"], row["random_low"], row["random_high"]) == ("0.8", "", "")
    assert row["attribute"] == "'=1" and len(figure_masked(curves).axes) == 1  # no formula


def test_drop_by_emotion(shown):
    figure, rows = shown("drop-sets")
    axes = figure.axes[0]
    assert same(column(rows, "drop"), squares(axes).ravel())
    sides = np.full((len(TASKS), len(ATTRIBUTES)), "", dtype=object)
    for patch in axes.patches:
        if not patch.get_fill():  # a black outline is that of the top third
            column_of, row_of = (round(end + 0.5) for end in patch.get_xy())
            sides[row_of, column_of] = "top" if patch.get_linewidth() == 1.0 else "bottom"
    assert [row["third"] for row in rows] == sides.ravel().tolist() and {"top", "bottom"} < set(sides.ravel())
    assert [row["attribute"] for row in rows[:3]] == ATTRIBUTES and {row["top"] for row in rows} == {str(max(TOPS))}


def test_ranks_alone_have_numbers(made_sweeps, tmp_path):
    """As an imported ranking has them: no tau, no list of k."""
    rank = artifacts.load(made_sweeps[1] / "rsa" / "rsa.safetensors", "rsa")["rank"]
    artifacts.save(tmp_path / "rsa.safetensors", "rsa", {"rank": rank}, PROVENANCE, attributes=ATTRIBUTES)
    page = report_rsa(tmp_path)
    assert {file.stem for file in page.parent.glob("*.csv")} == {"top-neurons", "overlap"}
