"""The sections of a masked sweep: accuracy under masks, damage and specificity are those of the files."""

import csv
import re

import numpy as np
import pytest
from filled_report_sweep import TASKS, TOPS, add_masks, specificity_table, write_accuracy
from pages import Page

from skn.reports.read_sweep import report_sweep
from skn.store import artifacts, atomic


def page_of(sweep):
    return Page(report_sweep(sweep.path).read_text())


def specificity_file(sweep):
    return sweep.path / "masked" / "sets" / "specificity.json"


@pytest.mark.parametrize("cells", [9, 3])
def test_accuracy_under_masks_is_the_mean_over_the_cells_of_the_table(full_sweep, cells):
    """A folder may hold more cells than the table, which an emotion may have been left out of."""
    with open(full_sweep.path / "masked" / "sets" / "accuracy.csv") as file:
        rows = list(csv.DictReader(file))
    if cells == 3:
        rows = [row for row in rows if row["emotion"] == "joy"]
        write_accuracy(full_sweep.path / "masked" / "sets", [list(row.values()) for row in rows])
    rows = [row for row in rows if row["attribute"] == "valence" and row["top"] == str(max(TOPS))]
    masked, random = (np.mean([float(row[name]) for row in rows]) for name in ("accuracy", "random_mean"))
    draws = [
        found["random_accuracy"][-1].numpy()
        for file in sorted((full_sweep.path / "masked").rglob("*.safetensors"))
        if (found := artifacts.load(file, "masked")).meta["attribute"] == "valence"
        and (cells == 9 or found.meta["task"] == TASKS[0])
    ]
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    page = page_of(full_sweep)
    assert f"valence 8 {cells} 90.0% {masked:.1%} {random:.1%} {low:.1%} to {high:.1%}" in page.text
    assert "mask: zero; test split; 20 draws; as many random neurons in each layer" in page.text


def test_a_table_without_its_files_has_no_band(full_sweep):
    for file in (full_sweep.path / "masked").rglob("*.safetensors"):
        file.unlink()
    assert re.search(r"valence 8 9 90.0% \d+\.\d% \d+\.\d% –", page_of(full_sweep).text)
    write_accuracy(full_sweep.path / "masked" / "sets", [["joy", 1, "valence", 4, 0.5, 0.9, "", "", "", 0]])
    assert "valence 4 1 90.0% 50.0% – –" in page_of(full_sweep).text


def test_damage_and_specificity_are_the_tests_of_the_file(sweep_page):
    assert "neurons of 3 of 3 tested attributes do more damage than random neurons (q ≤ 0.05)" in sweep_page.text
    assert "neurons of 0 of 2 tested attributes are specific" in sweep_page.text
    assert "valence 8 +3.71 +2.71 to +4.71 1.0e-5 4.0e-4" in sweep_page.text
    assert "valence 8 +1.23 +0.23 to +2.23 0.200 0.400" in sweep_page.text and "<i>fair 8 – – – –" in sweep_page.text
    assert "valence 8 1,200 34 1.0e-30" in sweep_page.text and "a note & more" in sweep_page.text


def test_tests_that_could_not_be_made(full_sweep):
    table = specificity_table()
    for row in table["rows"]:
        row["drop"] |= {"low": None, "high": None, "p": None, "q": None, "mean": -0.0004}
        row["specificity"] = None
    for entry in table["by_emotion"]:
        entry["drop"] = None
    atomic.write_json(specificity_file(full_sweep), table)
    page = page_of(full_sweep)
    assert "No attribute could be tested." in page.text and "valence 8 −0.04 – – –" in page.text


def test_every_folder_of_masks_is_shown(full_sweep):
    add_masks(full_sweep, "other")
    page = page_of(full_sweep)
    assert "Sets other; mask: zero" in page.text and "Sets sets; mask: zero" in page.text
