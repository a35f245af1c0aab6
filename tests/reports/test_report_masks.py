"""What a run's report says of masks."""

import pytest
import torch
from filled_run import LAYERS, PROVENANCE, WIDTH, add_mask, mask_table, two_matches
from pages import Page
from spoiled import edit

from skn.errors import InputError
from skn.reports import compare, run_figures
from skn.reports.read_run import collect, report
from skn.store import artifacts


def page_of(run):
    return Page(report(run.path).read_text())


def test_a_fixed_set_has_nothing_to_draw(bare):
    selected = torch.ones(LAYERS, WIDTH, dtype=torch.bool)
    artifacts.save(bare.file("neurons"), "neurons", {"selected": selected}, PROVENANCE)
    row = {**mask_table()["rows"][1], "fraction": None}
    add_mask(bare, rows=[row])
    page = page_of(bare)
    assert "predictivity" not in page.sections
    assert "fixed set" in page.text
    assert not (bare.path / "report" / "mask-zero.png").exists()


def test_every_mask_is_shown_and_judged(full):
    add_mask(full, "mask-gaussian", kind="gaussian", alpha=0.1)
    rows = mask_table()["rows"]
    rows[-1]["accuracy"] = rows[-1]["controls"]["accuracy"]["mean"]
    add_mask(full, "mask-scale", kind="scale", alpha=0.5, rows=rows)
    page = page_of(full)
    assert (
        "Mask: zero; layers 1 to 2; test split; float32. Chosen: neurons that the file does not name. With 12"
        in page.text
    )
    assert "the accuracy is 70.0%, below" in page.text
    assert "the AUC is 75.0%, within the controls' 95% interval (74.0% to 76.0%, from 2 random sets)" in page.text
    assert "Mask: gaussian (alpha 0.1)" in page.text
    assert "85.0%, within the controls' 95% interval (84.0% to 86.0%, from 2 random sets)" in page.text


def test_a_masked_accuracy_has_its_interval_and_the_auc_has_none(full):
    rows = mask_table()["rows"]
    rows[-1]["interval"] = [0.615, 0.772]
    add_mask(full, rows=rows)
    text = page_of(full).text
    assert "20% 12 accuracy 70.0% 61.5% to 77.2%" in text and "20% 12 AUC 75.0% –" in text
    assert "10% 6 accuracy 80.0% –" in text  # as older versions wrote it


def test_every_match_is_shown_and_judged(full):
    add_mask(full, **two_matches())
    page = page_of(full)
    said = "the accuracy is 70.0%, below the controls' 95% interval (84.0% to 86.0%, from 2 random sets, as many in each layer)"
    assert said in page.text
    assert said.replace("84.0% to 86.0%", "79.0% to 81.0%").replace("each layer", "all") in page.text
    assert "20% 12 accuracy 70.0% – layer 85.0%" in page.text and "20% 12 accuracy 70.0% – overall 80.0%" in page.text
    assert "85.0%, 84.0% to 86.0% (as many in each layer); 80.0%, 79.0% to 81.0% (as many in all)" in page.text
    numbers = (full.path / "report" / "mask-zero.csv").read_text().splitlines()
    assert [line.split(",")[2:4] + line.split(",")[-1:] for line in numbers[-4:-2]] == [
        ["accuracy", "0.7", "layer"], ["accuracy", "0.7", "overall"]
    ]  # fmt: skip
    assert list(compare._masks({"run": collect(full, with_texts=False)}).pictures[0].numbers.rows)[-1][
        2:
    ] == pytest.approx([0.2, 0.7 - 0.8, "overall"])


def test_the_figure_has_a_line_for_each_match():
    left, right = run_figures.figure_mask(two_matches(), 0.5, 0.6).axes
    for axes in (left, right):
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        layer, overall = (lines[f"random, as many in {of}"] for of in ("each layer", "all"))
        assert layer[0] == overall[0] == lines["chosen neurons"][0]  # without masked neurons, the model itself
        assert [a - b for a, b in zip(layer[1:], overall[1:], strict=True)] == pytest.approx([0.05, 0.05])


def test_whose_neurons_were_masked_and_kept(full):
    theirs = {"name": "../other/neurons.safetensors", "task": "joy", "digest": "0123456789abcdef"}
    add_mask(full, neurons=theirs)
    edit(full.path / "prune.json", lambda prune: prune.update(neurons=theirs))
    page = page_of(full)
    assert page.text.count("hosen: ../other/neurons.safetensors (of joy, 0123456789abcdef)") == 3


def test_a_mask_of_another_run_is_refused(full):
    add_mask(full, provenance={**PROVENANCE, "task": "another"})
    with pytest.raises(InputError, match="mask-zero.json: made for another task"):
        report(full.path)


def test_mask_without_controls(bare):
    rows = [{**row, "controls": None} for row in mask_table()["rows"]]
    add_mask(bare, rows=rows)
    page = page_of(bare)
    assert "masking" in page.sections and "interval (" not in page.text
