"""A sweep's folder with files of another sweep: a report refuses each by name, and what it does not fit."""

from __future__ import annotations

import os
import shutil

import pytest
from filled_report_sweep import ATTRIBUTES, TASKS, fill, make_sweep
from spoiled import edit, redescribe

from skn.errors import InputError
from skn.names import file_name
from skn.reports.read_sweep import collect_sweep
from skn.runs.sweep import Cell
from skn.store import digests, folders

CELL = Cell(TASKS[0], 1)
TABLES = ("accuracy.csv", "specificity.json")


@pytest.fixture
def sweep(tmp_path):
    return fill(make_sweep(tmp_path / "sweep"))


def masked_file(sweep, cell=CELL, attribute=ATTRIBUTES[0]):
    return sweep.path / "masked/sets" / str(cell) / f"{file_name(attribute, 'attribute')}.safetensors"


def refused(sweep, *phrases):
    with pytest.raises(InputError) as refusal:
        collect_sweep(sweep)
    assert all(phrase in str(refusal.value) for phrase in phrases), (str(refusal.value), phrases)


def test_the_run_of_another_cell(sweep):
    said = "goemotions/joy/seed-1/run.json: the run of ", "expected goemotions/joy/seed-1", "'skn sweep --resume"
    file = sweep.folder(CELL) / "run.json"
    edit(file, lambda stored: stored["config"].update(seed=3))
    refused(sweep, *said, "the run of seed 3")
    edit(file, lambda stored: (stored["config"].update(seed=1), stored["config"]["data"].update(task=TASKS[1])))
    refused(sweep, *said, "the run of goemotions/anger/seed-1")


def test_a_searchlight_over_other_prompts(sweep):
    file, prompts = sweep.path / "rsa/rsa.safetensors", {str(CELL): sweep.run(CELL).identity()["tuned"]}
    redescribe(file, lambda description: description["provenance"].update(prompts=prompts))
    collect_sweep(sweep)
    redescribe(file, lambda description: description["provenance"].update(prompts={str(CELL): "other"}))
    refused(sweep, "rsa.safetensors: made for another tuned prompt (tuned other, ", "joy/seed-1/tuned.safetensors has")
    redescribe(file, lambda description: description["provenance"].update(prompts={"goemotions/pride/seed-1": "other"}))
    refused(sweep, "rsa.safetensors: of the cell goemotions/pride/seed-1, which", "sweep.json has not", "skn activate")


def test_masks_of_another_cell_attribute_or_sweep(sweep):
    file = masked_file(sweep)
    kept = file.read_bytes()
    for other in (masked_file(sweep, Cell(TASKS[0], 3)), masked_file(sweep, attribute=ATTRIBUTES[1])):
        shutil.copy(other, file)
        refused(sweep, f"{file}: of ", "not what its name says")
    file.write_bytes(kept)
    redescribe(file, lambda description: description["provenance"].update(tuned="other"))
    refused(sweep, f"{file}: made for another tuned prompt", "joy/seed-1/tuned.safetensors has")
    file.write_bytes(kept)
    for cell, sets in ((CELL, "other"), (Cell(TASKS[0], 3), "own")):
        redescribe(masked_file(sweep, cell), lambda description, sets=sets: description.update(sets=sets))
    refused(
        sweep, f"{masked_file(sweep, Cell(TASKS[0], 3))}: sets own, {file} has other", "run 'skn mask --sweep' again"
    )
    file.unlink()
    refused(sweep, "masked/sets: the file of 'valence' in joy, seed 1 is missing, which accuracy.csv lists")


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_another_masking(sweep, name):
    """As two files have it whose numbers stand side by side on a page: the folder's mark holds their digests."""
    folder = sweep.path / "masked/sets"
    folders.mark(folder, "masked sweep", {table: digests.of_file(folder / table) for table in TABLES})
    collect_sweep(sweep)
    if name == "accuracy.csv":
        (folder / name).write_text((folder / name).read_text().replace("0.9", "0.8", 1))
    else:
        edit(folder / name, lambda stored: stored["rows"][0]["drop"].update(mean=0.5))
    refused(sweep, f"{folder / name}: not what skn wrote there")
    (folder / name).unlink()
    refused(sweep, f"{folder / name}: ")


@pytest.mark.parametrize("name", ["masked/sets/accuracy.csv", "rsa/rsa.safetensors", "goemotions/joy/seed-1/run.json"])
def test_a_pipe_is_neither_read_nor_taken_for_missing(sweep, name):
    (sweep.path / name).unlink()
    os.mkfifo(sweep.path / name)
    refused(sweep, f"{sweep.path / name}: ")
