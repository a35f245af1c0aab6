"""What a label means: the same in every kind of file, in an order that is always the same, and what is no label."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from emotions_data import write_jsonl

import skn
from skn.data.label_words import choose_label_words
from skn.data.labels import in_order, over_all_splits, spelling
from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.errors import InputError

KINDS = ("csv", "tsv", "jsonl", "parquet", "saved")


def texts(kind, labels):
    """The labels as pandas writes them to a file that knows texts only."""
    return ["" if label is None else str(label) for label in labels] if kind in ("csv", "tsv") else labels


def write(folder, kind, **splits):
    """A data set whose splits have these labels; every label stands 30 times."""
    for name, labels in splits.items():
        rows = [(f"{name} {i}", label) for i, label in enumerate(texts(kind, labels * 30))]
        columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
        if kind == "saved":
            splits[name] = datasets.Dataset.from_dict(columns)
        elif kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")
        elif kind == "jsonl":
            lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
            (folder / f"{name}.jsonl").write_text("".join(lines))
        else:
            with open(folder / f"{name}.{kind}", "w", newline="") as file:
                csv.writer(file, delimiter="," if kind == "csv" else "\t").writerows([("text", "label"), *rows])
    if kind == "saved":
        datasets.DatasetDict(splits).save_to_disk(str(folder / "saved"))
    return folder / "saved" if kind == "saved" else folder


def read(folder, **options):
    notes = []
    data = read_data(DataSpec(data=str(folder), **options), note=lambda line, *values: notes.append(line % values))
    return data, notes


MEANINGS = {
    "floats": ([0.0, 1.0, 2.0], ["0", "1", "2"], [0, 1, 2]),
    "minus and plus one": ([-1, 1], ["-1", "1"], [0, 1]),
    "minus and plus one as floats": ([1.0, -1.0], ["-1", "1"], [1, 0]),
    "halves": ([0.5, 0.0, 1.0, 10.0], ["0", "0.5", "1", "10"], [1, 0, 2, 3]),
    "truth values": ([True, False], ["0", "1"], [1, 0]),
    "names": (["none", "NULL", "null", "None"], ["NULL", "None", "none", "null"], [2, 0, 3, 1]),
    "truth among names": (["True", "False", "half"], ["False", "True", "half"], [1, 0, 2]),
    "codes": (["01", "1", "02", "2"], ["1", "01", "2", "02"], [1, 0, 3, 2]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels, classes, order", MEANINGS.values(), ids=MEANINGS)
def test_the_same_values_are_the_same_classes_in_every_kind_of_file(tmp_path, kind, labels, classes, order):
    data, _ = read(write(tmp_path, kind, train=labels, validation=labels, test=labels))
    assert data.classes == classes and data.split("train").label[: len(order)] == order


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_whatever_each_split_writes(tmp_path, kind):
    data, _ = read(write(tmp_path, kind, train=[0, 1], validation=[0.0, 1.0], test=["0", "+1"]))
    assert data.classes == ["0", "1"] and {data.split(split).label[1] for split in data.rows} == {1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [None, float("nan"), "nan", "NA", "NaN", "<NA>"], ids=str)
def test_missing_values_are_no_class(tmp_path, kind, missing):
    strings = missing is None or isinstance(missing, str)
    folder = write(tmp_path, kind, train=[*(("bad", "good") if strings else (0.0, 1.0)), missing])
    with pytest.raises(InputError, match=r"30 rows without a label \((line|row) \d+, .*, …\); drop_unlabelled=True"):
        read(folder)
    data, notes = read(folder, drop_unlabelled=True)
    assert len(data.examples) == 60 and data.classes == (["bad", "good"] if strings else ["0", "1"])
    assert [note for note in notes if note.endswith("30 rows without a label left out")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [[0, 1, -1], [0.0, 1.0, -1.0], ["0", "1", "-1"]], ids=str)
def test_minus_one_beside_0_and_1_is_no_label_and_that_is_said(tmp_path, kind, labels):
    folder = write(tmp_path, kind, train=labels)
    with pytest.raises(
        InputError, match=r"30 rows without a label .*\(-1 beside 0 to 1 is no label\); drop_unlabelled=True"
    ):
        read(folder)
    data, notes = read(folder, drop_unlabelled=True)
    assert data.classes == ["0", "1"] and len(data.examples) == 60
    assert [note for note in notes if "30 rows without a label left out (-1 beside 0 to 1 is no label)" in note]


def test_the_classes_of_all_splits_tell_what_minus_one_is(tmp_path):
    """As GLUE hides the labels of test: there alone, -1 would be a class."""
    data, _ = read(write(tmp_path, "csv", train=[0, 1], test=[-1, -1, 0, 1]), drop_unlabelled=True)
    assert data.classes == ["0", "1"] and len(data.split("test")) == 60
    assert over_all_splits({"a": ["0", "2", "-1"]}) == ({"a": ["0", "2", "-1"]}, None)
    assert over_all_splits({"a": ["0", "-1"]})[1] is None and over_all_splits({"a": ["no", "-1"]})[1] is None


def test_minus_one_is_no_label_of_a_task(tmp_path):
    (tmp_path / "d.csv").write_text("sentence,label\n" + "".join(f"s {i},{(1, 0, -1)[i % 3]}\n" for i in range(120)))
    with pytest.raises(InputError, match="40 rows without a label .*-1 beside the task's labels is no label"):
        skn.load_data(tmp_path / "d.csv", task="sst2")
    assert len(skn.load_data(tmp_path / "d.csv", task="sst2", drop_unlabelled=True).examples) == 80


def test_minus_one_and_missing_among_several_labels(tmp_path):
    write_jsonl(tmp_path, lambda labels: labels)
    with open(tmp_path / "train.jsonl", "a") as file:
        file.writelines(json.dumps({"text": f"t {i}", "labels": y}) + "\n" for i, y in enumerate((-1, "nan", None)))
    with pytest.raises(InputError, match=r"3 rows without a label \(line 241, 242, 243\); drop_unlabelled=True"):
        read(tmp_path, task="goemotions/joy")


def test_the_order_does_not_depend_on_the_process(tmp_path):
    folder = write(tmp_path, "csv", train=["01", "1", "02", "2", "001"])
    code = "import skn, sys; d = skn.load_data(sys.argv[1]); print(d.classes, d.digest)"
    mine = skn.load_data(folder)
    said = {f"{mine.classes} {mine.digest}\n"}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-c", code, str(folder)]
        said.add(subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1 and said.pop().startswith("['1', '01', '001', '2', '02']")


def test_numbers_are_ordered_by_value():
    assert in_order({"10", "9", "-1", "0.5", "+3"}) == ["-1", "0.5", "+3", "9", "10"]
    assert in_order({"9", "10", "x"}) == ["10", "9", "x"]


@pytest.mark.parametrize(
    "cell, text",
    [(" 1 ", "1"), ("+1", "1"), ("-0.0", "0"), ("1e3", "1000"), ("1e999", "1e999"), ("0.50", "0.5"), ("1.", "1."),
     ("9" * 50, "9" * 50), (2**70, str(2**70)), ("١", "١"), ("  NA", None), ("n a", "n a"), ([3], "3"), (["3.0"], "3"), ([], None), ([None], None),
     ("[3]", "3"), ("[]", None), (" ['joy']", "joy"), ('["3.0"]', "3"), ("[joy]", "[joy]"), ("[3 of 5]", "[3 of 5]"), ("['a'] ['b']", "['a'] ['b']")],
)  # fmt: skip
def test_spelling(cell, text):
    assert spelling(cell) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_alone_in_a_list_is_that_label(tmp_path, kind):
    data, _ = read(write(tmp_path, kind, train=[[1], [0]], validation=[[1], [0]], test=[[1], [0]]))
    assert data.classes == ["0", "1"] and data.split("train").label[:2] == [1, 0]


@pytest.mark.parametrize("cell", ["[1, 2]", "['a' 'b']"])
def test_a_list_of_several_labels_is_refused_in_a_file_of_texts_too(tmp_path, cell):
    (tmp_path / "d.csv").write_text(f'text,label\na,0\nb,"{cell}"\n')
    with pytest.raises(InputError, match=r"d.csv: line 3: the label is a list of 2, expected a text or a number"):
        read(tmp_path / "d.csv")


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, [[1]], b"1"], ids=str)
def test_a_cell_that_is_no_label(tmp_path, cell):
    rows = [("a", 0), ("b", 1), ("c", 0)]
    columns = {"text": [text for text, _ in rows], "label": [cell] * 3}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    with pytest.raises(
        InputError, match=f"d.parquet: row 1: the label is a {type(cell).__name__}.*, expected a text or"
    ):
        read(tmp_path / "d.parquet")


def test_classes_that_a_message_leaves_out_are_counted():
    with pytest.raises(InputError, match=r"30 classes \(0, 1, 2, 3, 4, 5, 6, 7 and 22 more\) but 0 label words"):
        choose_label_words(None, None, [str(i) for i in range(30)])
