"""The card on top of a run's report, the numbers beside its figures, and the models that were pruned."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from filled_run import (
    BEST,
    LAYERS,
    PROVENANCE,
    WIDTH,
    add_evaluation,
    add_mask,
    add_off_target,
    add_significance,
    fill,
    make_run,
)
from pages import Page, assert_stands_alone, numbers
from refusals import command
from spoiled import edit

from skn.errors import InputError
from skn.intervals import balanced_interval
from skn.reports import compare_figures
from skn.reports.compare import report_runs
from skn.reports.ranking_sections import positions
from skn.reports.read_run import report
from skn.reports.run_data import ByPosition, Predictivity, ReportData
from skn.store import artifacts, folders

SCORE = {"accuracy": 0.8, "interval": [0.75, 0.85], "auc": 0.9}
STANDING = {"majority": 0.55, "pruned": {**SCORE, "accuracy": 0.6, "interval": [0.5, 0.7]}, "retuned": SCORE}


def card(run):
    """What the slots say: value and note by name."""
    text = report(run.path).read_text()
    slots = re.findall(r"<dt>(.*?)</dt>\s*<dd[^>]*>(.*?)</dd>\s*<dd>(.*?)</dd>", text, re.DOTALL)
    assert len(slots) == text.count("<dt>") == 5
    return {name: (value, Page(note).text) for name, value, note in slots}


def test_a_slot_that_was_not_measured_says_which_command_does(bare):
    found = card(bare)
    assert {value for value, _ in found.values()} == {"not measured"}
    commands = ["skn evaluate'", "skn probe", "skn mask", "skn prune --retune 3", "skn evaluate --speed"]
    assert all(command in note for command, (_, note) in zip(commands, found.values(), strict=True))


def test_the_card_says_what_the_files_say(full):
    edit(full.path / "prune.json", lambda prune: prune.update(validation=STANDING))
    edit(full.path / "evaluate-test.json", lambda found: found.update(majority=0.52))
    edit(full.path / "evaluate-test.json", lambda found: found["models"][0].update(interval=[0.8, 0.95]))
    speed = {"median": 820.0, "low": 800.0, "high": 830.0, "repeats": 5}
    edit(full.path / "evaluate-test.json", lambda found: found["models"][1].update(examples_per_second=speed))
    edit(full.path / "mask-zero.json", lambda mask: mask["rows"][-1].update(interval=[0.57, 0.801]))
    found = card(full)
    assert found["accuracy on test"] == ("90.0%", "95%: 80.0% to 95.0%; the larger class alone: 52.0%")
    value, note = found["best neuron"]
    ends = " to ".join(f"{end:.1%}" for end in balanced_interval([0.8, 0.75], [20, 40]))
    assert value == "77.5%" and note.startswith(f"neuron {BEST[1]} of layer {BEST[0]}, on test (95%: {ends}); ")
    assert "balanced accuracy 93.7%, measured on the validation split" in note
    value, note = found["masked against random"]
    assert value == "-15.0 points"
    assert (
        note == "12 best neurons masked (zero): 70.0% (95%: 57.0% to 80.1%); as many random ones: 85.0%, 84.0% to 86.0%"
    )
    value, note = found["pruned model, on validation"]
    assert (
        value == "80.0%"
        and note
        == "95%: 75.0% to 85.0%; tuned again, before that 60.0% (95%: 50.0% to 70.0%); 75.0% of the parameters are left"
    )
    assert found["speed of the pruned model"] == ("2.00 ×", "pruned: 820 examples per second; full: 410 (cpu)")


def test_a_speed_is_beside_that_of_the_runs_own_model(full):
    speed = {"median": 820.0, "low": 800.0, "high": 830.0, "repeats": 5}

    def only_pruned(found):
        found["models"][0]["examples_per_second"] = None
        found["models"] = [found["models"][0], *({**found["models"][1], "examples_per_second": speed} for _ in "ab")]

    edit(full.path / "evaluate-test.json", only_pruned)
    assert card(full)["speed of the pruned model"][0] == "not measured"


def test_every_figure_has_its_numbers_beside_it(full):
    edit(full.path / "mask-zero.json", lambda mask: mask["rows"][1].update(interval=[0.682, 0.882]))
    report(full.path)
    assert numbers(full, "training") == [
        ["step", "validation_accuracy", "training_loss"],
        ["5", "0.6", "0.7"],
        ["10", "0.853", ""],
    ]
    neurons = numbers(full, "predictivity")
    stored = artifacts.load(full.file("neurons"), "neurons")["score"]
    assert len(neurons) == 1 + (LAYERS - 1) * WIDTH  # the first layer has none
    assert all(float(value) == stored[int(layer), int(neuron)] for layer, neuron, value, _ in neurons[1:])
    header, *bars = numbers(full, "histogram-test")
    assert header[:2] == ["from", "to"] and np.array(bars, dtype=float)[:, 2:].sum(axis=0) == pytest.approx([1, 1])
    masks = numbers(full, "mask-zero")
    assert masks[0][3:6] == ["chosen", "chosen_low", "chosen_high"]
    assert masks[1][:6] == ["0.0", "0", "accuracy", "0.9", "", ""]  # as older versions wrote it
    assert masks[3] == ["0.1", "6", "accuracy", "0.8", "0.682", "0.882", "0.875", "0.865", "0.885", "2", "layer"]
    assert masks[4][2:6] == ["auc", "0.85", "", ""]
    models = dict(zip(*numbers(full, "evaluate-test")[:2], strict=True))
    assert models["model"] == "full" and models["accuracy"] == "0.9" and models["examples_per_second_median"] == "410.0"
    carried = numbers(full, "carried")
    assert carried[1][:2] == ["2", "7"] and float(carried[1][3]) == pytest.approx(1 - 0.225)
    best = {(row[0], row[1]): float(row[2]) for row in numbers(full, "positions")[1:]}
    assert best["2", "1"] == pytest.approx(0.9) and best["2", "0"] == pytest.approx(0.6) and best["0", "1"] == 0.5


def test_names_of_classes_are_no_formulas(full):
    file = full.file("activations", "neuron", "test")
    found = artifacts.load(file, "activations")
    artifacts.save(
        file, "activations", found.tensors, found.provenance, **{**found.meta, "classes": ["=HYPERLINK(1)", "b"]}
    )
    edit(full.path / "run.json", lambda run: run["config"].update(class_names=["=HYPERLINK(1)", "b"]))
    report(full.path)
    assert numbers(full, "histogram-test")[0][2] == "'=HYPERLINK(1)"


def test_the_permutation_tests_by_split(full):
    add_significance(full, "validation", readout="mean", permutations=1000)
    text = Page(report(full.path).read_text()).text
    chance = "70.0% 60.5% to 79.5%"
    assert f"prompt validation 40 3 – {chance} 99 prompt test 40 0 2 of 3 {chance} 99" in text
    assert f"mean validation 40 3 – {chance} 1,000" in text


def test_provenance_is_folded(full):
    text = report(full.path).read_text()
    assert text.count("<details>") == 1 and text.index("<details>") > text.index('id="provenance"')


def test_one_position_has_no_section():
    def data(positions):
        by_position = ByPosition(np.full((LAYERS, positions), 0.7), np.full((LAYERS, positions), 0.6), (0, 0))
        ranking = Predictivity(np.full((LAYERS, 2), 0.7), "", [], None, "balanced", {}, "", by_position)
        return ReportData({}, {}, {}, predictivity=ranking)

    assert positions(data(1)) is None and positions(data(2)).anchor == "positions"


# ---- pruned models in the run's folder -------------------------------------------------------------------------


def add_pruned(run, name, widths, standing=STANDING, int8=None, **provenance):
    table = {"parameters_before": 9, "parameters_after": 5, "widths": widths, "layers": [0, 3], "kept_fraction": None}
    about = {**table, "validation": standing, "int8": int8, "provenance": {**PROVENANCE, **provenance}}
    (run.path / name).mkdir()
    folders.mark(run.path / name, "pruned model", about=about)


def test_accuracy_by_the_neurons_that_are_kept(full):
    add_pruned(full, "pruned", [20, 4, 4])
    add_pruned(full, "pruned-2", [20, 2, 2], {**STANDING, "retuned": None})
    add_pruned(full, "elsewhere", [1, 1, 1], tuned="another run's")
    page = Page(report(full.path).read_text())
    assert page.sections.index("kept") == page.sections.index("pruning") + 1
    before, again = "60.0% (95%: 50.0% to 70.0%)", "80.0% (95%: 75.0% to 85.0%)"
    assert f"pruned keeps 28 neurons: {before}, tuned again {again}." in page.text
    low, high = (f"{end:.1%}" for end in full.outcome().interval)
    assert f"The model with all its neurons reaches 85.3% (95%: {low} to {high})." in page.text
    assert [row[:3] for row in numbers(full, "kept")[1:]] == [["pruned-2", "24", "0.6"], ["pruned", "28", "0.6"]]
    assert numbers(full, "kept")[1][5:8] == ["", "", ""] and "elsewhere" not in page.text.partition("Provenance")[0]


def test_a_pruned_model_in_int8_has_a_score_of_its_own(full):
    add_pruned(
        full, "small", [20, 4, 4], int8={"score": {**SCORE, "accuracy": 0.79}, "same_labels": 0.995, "plain": True}
    )
    add_pruned(full, "plain", [20, 2, 2])
    said = "in int8 79.0% (95%: 75.0% to 85.0%), with the plain model's label for 99.50% of the texts."
    assert f"tuned again 80.0% (95%: 75.0% to 85.0%), {said}" in Page(report(full.path).read_text()).text
    assert [row[8:12] for row in numbers(full, "kept")[1:]] == [["", "", "", ""], ["0.79", "0.75", "0.85", "0.995"]]


def test_a_pruned_model_outside_of_the_run_is_known_from_the_last_pruning(full):
    edit(full.path / "prune.json", lambda prune: prune.update(validation=STANDING))
    assert "the last pruned model keeps 28 neurons: 60.0% (95%: 50.0%" in Page(report(full.path).read_text()).text
    add_pruned(full, "pruned", [20, 4, 4])  # it stands in the run after all
    report(full.path)
    assert [row[0] for row in numbers(full, "kept")[1:]] == ["pruned"]


def test_a_mark_that_says_something_else_is_named(full):
    add_pruned(full, "pruned", "many")
    with pytest.raises(InputError, match="pruned/skn.json: damaged .widths"):
        report(full.path)


def test_a_report_again_and_the_run_replaced(full):
    """What the report writes is skn's own: the csv files are in its mark."""
    report(full.path)
    listed = json.loads((full.path / "report" / "skn.json").read_text())["files"]
    assert {"predictivity.csv", "carried.csv", "index.html"} <= listed.keys()
    folders.mark(full.path, "run")
    folders.refuse_occupied(full.path, "run", overwrite=True)
    (full.path / "report" / "mine.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="holds report/mine.csv"):
        folders.refuse_occupied(full.path, "run", overwrite=True)


def test_the_page_of_a_large_model_stays_small(bare):
    """12 layers of 3,072: the map is a tenth of a megabyte."""
    score = torch.rand(12, 3072, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2 + 0.5
    artifacts.save(bare.file("neurons"), "neurons", {"score": score}, PROVENANCE)
    assert report(bare.path).stat().st_size < 500_000
    add_evaluation(bare)
    add_mask(bare)
    assert "predictivity" in Page(report(bare.path).read_text()).sections


# ---- several runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """A full run, and a run with its training alone."""
    return fill(make_run(tmp_path / "first")), make_run(tmp_path / "second")


@pytest.mark.drawn
def test_several_runs_on_one_page(two, tmp_path):
    page = report_runs([run.path for run in two], tmp_path / "both")
    assert_stands_alone(page, {"layers", "beyond-random"})
    found = Page(page.read_text())
    assert found.sections == ["runs", "layers", "beyond-random"] and "Skill neurons: 2 runs" in found.text
    assert "first toy tiny prompt 90.0% 77.5% -15.0 points – –" in found.text
    assert "second toy tiny prompt – – – – –" in found.text
    with open(page.parent / "beyond-random.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[:3] for row in rows] == [["first", "mask-zero", "0.1"], ["first", "mask-zero", "0.2"]]
    assert [float(row[3]) for row in rows] == pytest.approx([-0.075, -0.15])
    assert report_runs([run.path for run in two], tmp_path / "both") == page  # its own folder is written again


def test_the_seeds_of_a_task_are_joined(two, tmp_path):
    """Each seed was masked in the same other run; here the masks cost every seed alike, so there is no p."""
    for seed, run in enumerate(two):
        add_off_target(run)
        edit(run.path / "off-target-zero.json", lambda harm, seed=seed: told_apart(harm, seed))
    page = Page(report_runs([run.path for run in two], tmp_path / "both").read_text())
    assert "over-seeds" in page.sections and "toy imdb zero, test 0.2 2, layer 2 +0.400 +0.400 – +0.400 –" in page.text


def told_apart(harm, seed):
    own, *others = harm["runs"]
    own["provenance"] |= {"tuned": f"seed {seed}"}
    for other in others:
        other["provenance"] |= {"task": other["run"], "tuned": other["run"]}


def test_a_legend_has_the_name_that_the_user_gave(two, tmp_path, monkeypatch):
    shutil.move(two[0].path / "mask-zero.json", two[0].path / "mask-zero-a%2Fb 50%25.json")
    drawn = []
    original = compare_figures.figure_masks
    monkeypatch.setattr(compare_figures, "figure_masks", lambda curves: drawn.append(original(curves)) or drawn[-1])
    page = report_runs([run.path for run in two], tmp_path / "both")
    labels = {line.get_label() for line in drawn[0].axes[0].lines}
    assert (
        "first, mask-zero-a/b 50%" in labels and "mask-zero-a/b 50%" in (page.parent / "beyond-random.csv").read_text()
    )


def test_runs_with_one_name_are_told_apart(two, tmp_path):
    shutil.copytree(two[1].path, tmp_path / "other" / "second")
    page = report_runs([two[1].path, tmp_path / "other" / "second"], tmp_path / "both")
    assert f"{tmp_path / 'other' / 'second'} toy" in Page(page.read_text()).text


def test_a_comparison_reads_no_data(two, tmp_path, monkeypatch):
    monkeypatch.setattr("skn.runs.run.Run.data_at", lambda *_: pytest.fail("the data was read"))
    report_runs([run.path for run in two], tmp_path / "both")


def test_what_cannot_be_compared(two, tmp_path, refused):
    first, second = (run.path for run in two)
    refused(["report", "--run", first, "--run", first, "--out", tmp_path / "both"], "--run: one run is given twice")
    refused(["report", "--run", first, "--run", second], "--out is needed with several runs")
    refused(["report", "--run", first, "--out", tmp_path / "both"], "--out: goes with several runs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(["report", "--run", first, "--run", second, "--out", tmp_path / "mine"], "mine: is no report of skn")
    assert command(["report", "--run", first, "--run", second, "--out", tmp_path / "both"]) == 0
