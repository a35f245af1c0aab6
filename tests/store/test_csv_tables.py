"""How skn writes csv files: a spreadsheet computes nothing in them, and skn reads them as they were."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from skn.rsa.foreign_ranks import read_ranks, write_ranks
from skn.store.csv_tables import csv_text, plain_cell, read_table

FORMULAS = ['=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\tx", "'=x", "''=x", "-", "-happy"]


@pytest.mark.parametrize("name", FORMULAS, ids=ascii)
def test_a_formula_becomes_a_text_and_is_read_as_it_was(tmp_path, name):
    text = csv_text(["a", name], [[1, name], [-1.5, "-1.5"]])
    header, first, second = csv.reader(io.StringIO(text, newline=""))
    assert header[1] == first[1] == "'" + name and second == ["-1.5", "-1.5"]
    assert plain_cell(header[1]) == name


@pytest.mark.parametrize("cell", ["joy", "'quoted'", "1", "-1", "+2.5e-3", "-inf", "", "a=b", "快乐", 3, None, -0.5])
def test_other_cells_stay(cell):
    assert next(csv.reader(io.StringIO(csv_text([cell, "x"], [])))) == ["" if cell is None else str(cell), "x"]
    assert plain_cell(str(cell)) == str(cell)


def test_control_characters_are_escaped():
    assert csv_text(["a\rb", "=\x1b]0;x\x07"], []) == "a\\rb,'=\\x1b]0;x\\x07\n"


def test_a_table_of_ranks(tmp_path):
    names = FORMULAS
    rank = np.tile(np.arange(1.0, 7), (len(names), 1))
    write_ranks(tmp_path / "rank.csv", names, rank)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in read_raw(tmp_path / "rank.csv"))
    assert read_table(tmp_path / "rank.csv").header == names
    stripped = ["joy", *(name for name in names if name.strip() == name)]
    write_ranks(tmp_path / "rank.csv", stripped, rank[: len(stripped)])
    assert read_ranks(tmp_path / "rank.csv", shape=(1, 6)).meta["attributes"] == stripped


def read_raw(path) -> list[str]:
    with open(path, newline="") as file:
        return next(csv.reader(file))
