"""A row without a text means the same in every kind of file: it is refused, or left out where that was asked for."""

from __future__ import annotations

import csv
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from refusals import command

import skn
from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.errors import InputError

GOOD = [{"text": f"film {i}", "label": i % 2} for i in range(120)]
KINDS = ("csv", "tsv", "jsonl", "json", "parquet", "saved")
BLANK = ("", " \t ", None)


def write(folder, kind: str, rows):
    """The rows as a file of this kind; csv and tsv have an empty cell for None."""
    file = folder / f"d.{kind}"
    if kind in ("csv", "tsv"):
        with file.open("w", newline="") as handle:
            out = csv.DictWriter(handle, list(rows[0]), delimiter=",\t"[kind == "tsv"])
            out.writeheader()
            out.writerows(rows)
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif kind == "saved":
        datasets.Dataset.from_list(rows).save_to_disk(str(file))
    else:
        file.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    return file


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", BLANK, ids=repr)
def test_a_row_without_a_text(tmp_path, kind, text):
    file = write(tmp_path, kind, [*GOOD[:60], {"text": text, "label": 1}, *GOOD[60:]])
    place = {"csv": "line 62", "tsv": "line 62", "jsonl": "line 61"}.get(kind, "row 61")
    with pytest.raises(
        InputError, match=f"1 rows without a text .{place}; column 'text'.; drop_unlabelled=True leaves"
    ):
        skn.load_data(file)
    notes = []
    spec = DataSpec(data=str(file), drop_unlabelled=True)
    data = read_data(spec, note=lambda line, *values: notes.append(line % values))
    assert data.examples.text == [row["text"] for row in GOOD]
    assert [note for note in notes if note.endswith("1 rows without a text left out")]


def test_a_key_that_a_row_lacks_and_a_nan(tmp_path):
    rows = [*GOOD, {"label": 1}, {"text": float("nan"), "label": 0}]
    with pytest.raises(InputError, match="2 rows without a text .line 121, 122"):
        skn.load_data(write(tmp_path, "jsonl", rows))
    assert len(skn.load_data(tmp_path / "d.jsonl", drop_unlabelled=True).examples) == 120


def test_words_for_nothing_are_texts(tmp_path):
    rows = [*GOOD, *({"text": text, "label": 1} for text in ("null", "NA", "nan", "None"))]
    assert len(skn.load_data(write(tmp_path, "csv", rows)).examples) == 124


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_text_of_a_pair(tmp_path, kind):
    rows = [{**row, "second": "so it is"} for row in GOOD]
    rows[7]["second"] = None
    file = write(tmp_path, kind, rows)
    with pytest.raises(InputError, match="1 rows without a text .(line|row) [89]; columns 'text' and 'second'."):
        skn.load_data(file, pair="second")
    data = skn.load_data(file, pair="second", drop_unlabelled=True)
    assert len(data.examples) == len(data.examples.pair) == 119 and "film 7" not in data.examples.text


def test_a_class_that_only_rows_without_a_text_have_is_none(tmp_path):
    file = write(tmp_path, "csv", [*GOOD, {"text": " ", "label": 2}])
    assert skn.load_data(file, drop_unlabelled=True).classes == ["0", "1"]


def test_new_texts(run, refused, tmp_path, quiet_exit):
    (tmp_path / "new.csv").write_text("text,label\ndull,0\n  ,1\n")
    (tmp_path / "bare.jsonl").write_text('{"text": "dull"}\n{"text": null}\n')
    predict, evaluate = ["predict", "--run", run], ["evaluate", "--run", run]
    way_out = "give each a text, or take them out of the file"
    refused([*predict, "--data", "new.csv"], f"new.csv: 1 rows without a text (line 3; column 'text'); {way_out}")
    refused([*predict, "--data", "bare.jsonl"], f"bare.jsonl: 1 rows without a text (line 2; column 'text'); {way_out}")
    refused([*predict, "--text", "dull", "--text", " "], "--text: text 2 is empty")
    refused([*evaluate, "--data", "new.csv"], "1 rows without a text (line 3; column 'text'); --drop-unlabelled leaves")
    assert command([*evaluate, "--data", "new.csv", "--drop-unlabelled"]) == 0
    assert json.loads((run / "evaluate-data-new.json").read_text())["examples"] == 1
