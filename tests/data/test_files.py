"""The files that users have: the same rows from every kind of file, encoding and name."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest
from refusals import command

import skn
from skn.data.spec import DataSpec
from skn.data.splits import LabelledData, read_data
from skn.errors import InputError

ROWS = [(f"a good film, number {i}" if i % 2 else f"schlecht für {i} Leute", i % 2) for i in range(120)]
ROWS_WITHOUT_COMMAS = [(text.replace(",", ""), label) for text, label in ROWS]
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
OBJECTS = [{"text": text, "label": label} for text, label in ROWS]
COLUMNS = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}


def read(path, **options) -> LabelledData:
    return read_data(DataSpec(data=str(path), **options))


def assert_the_rows(data: LabelledData, rows=ROWS) -> None:
    assert list(zip(data.examples.text, data.examples.label, strict=True)) == rows


def parquet(path, rows) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    "name, content",
    [
        ("d.CSV", CSV),
        ("blank.csv", CSV.replace("\n", "\n\n   \n") + "\n\n"),
        ("d.Tsv", "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS)),
        ("d.json", json.dumps(OBJECTS, indent=1)),
        ("columns.json", json.dumps(COLUMNS)),
        ("below.json", json.dumps({"version": "1.1", "data": OBJECTS})),
        ("lines.json", "\n".join(json.dumps(row) for row in OBJECTS)),
        ("d.JSONL", "\n".join(json.dumps(row) for row in OBJECTS)),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert_the_rows(read(tmp_path / name))


def test_keys_that_some_rows_lack(tmp_path):
    rows = [{**row, "note": "x"} if i == 7 else dict(reversed(row.items())) for i, row in enumerate(OBJECTS)]
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert_the_rows(read(file))
    del rows[3]["text"]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="d.jsonl: 1 rows without a text .line 4; column 'text'."):
        read(file)


@pytest.mark.parametrize("name, content", [("d.csv", CSV.rstrip()), ("d.jsonl", "\n".join(map(json.dumps, OBJECTS)))])
def test_blank_lines_are_counted_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(content.replace("\n", "\n\n", 3) + "\n  \n")
    notes = []
    read_data(DataSpec(data=str(tmp_path / name)), note=lambda line, *values: notes.append(line % values))
    assert notes == [f"{tmp_path / name}: 4 blank lines passed by"]


def test_a_task_file_in_capitals(tmp_path):
    (tmp_path / "d.csv").write_text(CSV)
    (tmp_path / "T.TOML").write_text('data = "d.csv"\n')
    assert_the_rows(skn.load_data(tmp_path / "T.TOML"))


# ---- encodings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding, said",
    [
        ("cp1252", "cp1252"),
        ("utf-16", None),
        ("utf-32", None),
        ("utf-8-sig", None),
        ("utf-8-sig", "utf-8"),
        ("utf-8-sig", "cp1252"),
    ],
)
def test_encodings(tmp_path, encoding, said):
    for name, text in (("d.csv", CSV), ("d.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in OBJECTS))):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert_the_rows(read(tmp_path / name, encoding=said))


def test_an_encoding_that_the_file_has_not(tmp_path):
    file = tmp_path / "d.csv"
    file.write_bytes(CSV.encode("cp1252"))
    with pytest.raises(InputError, match="d.csv: not UTF-8 .byte .*, line 2.; .* encoding='cp1252'$"):
        skn.load_data(file)
    with pytest.raises(InputError, match="d.csv: not ascii .*line 2.; give the encoding that it has"):
        skn.load_data(file, encoding="ascii")
    for name in ("klingon", "base64", "a\0b"):
        with pytest.raises(InputError, match="unknown; give utf-8, utf-16, cp1252"):
            skn.load_data(file, encoding=name)


# ---- headers ---------------------------------------------------------------------------------------------------


def test_a_file_without_a_header(tmp_path, refused):
    file = tmp_path / "d.tsv"
    file.write_text("".join(f"{i}\t{text}\t{label}\n" for i, (text, label) in enumerate(ROWS)))
    with pytest.raises(InputError, match="is the first line data. then columns=.text,label,c3. names the columns"):
        skn.load_data(file)
    data = skn.load_data(file, columns=["number", "text", "label"])
    assert_the_rows(data)
    (tmp_path / "t.toml").write_text('data = "d.tsv"\ncolumns = "number, text,label"\n')
    assert (
        skn.load_data(tmp_path / "t.toml").digest
        == skn.load_data(file, columns="number,text,label").digest
        == data.digest
    )
    with pytest.raises(InputError, match="d.tsv: line 1 has 3 fields, 2 names stand in columns="):
        skn.load_data(file, columns=["text", "label"])
    (tmp_path / "d.json").write_text(json.dumps(OBJECTS))
    with pytest.raises(InputError, match="columns: .*d.json: has no effect on a .json file"):
        skn.load_data(tmp_path / "d.json", columns=["text", "label"])


def test_a_header_that_is_there_is_not_taken_for_data(tmp_path):
    (tmp_path / "d.csv").write_text(CSV.replace("text,label", "review,stars"))
    with pytest.raises(InputError) as refusal:
        skn.load_data(tmp_path / "d.csv")
    assert "first line" not in str(refusal.value)


def test_labels_that_stand_again_below_the_first_line(tmp_path):
    (tmp_path / "d.tsv").write_text(
        "".join(f"film {i}\t{('bad', 'good')[label]}\n" for i, (_, label) in enumerate(ROWS))
    )
    with pytest.raises(InputError, match="is the first line data. then columns=.text,label. names the columns"):
        skn.load_data(tmp_path / "d.tsv")


def test_columns_of_a_file_with_a_header(tmp_path):
    """The header would be a row, and its "label" a class."""
    (tmp_path / "d.csv").write_text("\n" + CSV)
    for names in (["text", "label"], ["sentence", "Label"]):
        with pytest.raises(InputError, match="d.csv: line 2 is a header line, it has the name .*; leave columns= out"):
            skn.load_data(tmp_path / "d.csv", text=names[0], label=names[1], columns=names)
    with pytest.raises(InputError, match="columns: 'text' stands there twice"):
        skn.load_data(tmp_path / "d.csv", columns=["text", "text"])


def test_a_run_reads_its_file_again_as_it_was_told(tiny, tmp_path):
    """The encoding and the names of the columns are stored: every later stage reads the same rows."""
    file = tmp_path / "d.tsv"
    file.write_bytes("".join(f"{label}\t{text}\n" for text, label in ROWS).encode("cp1252"))
    told = ["--data", file, "--columns", "label,text", "--encoding", "cp1252"]
    train = ["train", "--backbone", tiny("bert"), *told, "--out", tmp_path / "run", "--epochs", 0, "--prompt-length", 4]
    assert command(train) == 0
    assert_the_rows(skn.open_run(tmp_path / "run").data)
    assert command(["predict", "--run", tmp_path / "run", "--data", file, "--label-column", "label"]) == 0


# ---- folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "data"])
def test_shards_as_the_hub_names_them(tmp_path, below):
    folder = tmp_path / "clone" / below
    folder.mkdir(parents=True)
    parquet(folder / "train-00001-of-00002.parquet", OBJECTS[60:100])
    parquet(folder / "train-00000-of-00002.parquet", OBJECTS[:60])
    parquet(folder / "validation-00000-of-00001.parquet", OBJECTS[100:])
    data = read(tmp_path / "clone")
    assert_the_rows(data)
    assert data.rows["validation"] == list(range(100, 120)) and len(data.rows["test"]) > 0


def test_rows_of_shards_have_the_lines_of_their_files(tmp_path):
    first, second = ([json.dumps(row) for row in part] for part in (OBJECTS[:60], OBJECTS[60:]))
    (tmp_path / "train-00000-of-00002.jsonl").write_text("\n".join(first))
    (tmp_path / "train-00001-of-00002.jsonl").write_text("\n\n".join([*second, '{"text": "a", "label": null}']))
    with pytest.raises(InputError, match=r"1 rows without a label \(line 121 of train-00001-of-00002.jsonl\)"):
        read(tmp_path)
    for shard, rows in enumerate((OBJECTS[:60], [*OBJECTS[60:], {"text": "a", "label": None}])):
        (tmp_path / f"train-0000{shard}-of-00002.jsonl").unlink()
        parquet(tmp_path / f"train-0000{shard}-of-00002.parquet", rows)
    with pytest.raises(InputError, match=r"1 rows without a label \(row 61 of train-00001-of-00002.parquet\)"):
        read(tmp_path)


def test_two_sets_of_files_for_a_split_are_refused(tmp_path):
    parquet(tmp_path / "train-00000-of-00001.parquet", OBJECTS)
    (tmp_path / "train.csv").write_text(CSV)
    with pytest.raises(InputError, match="several files for the train split: train-00000-of-00001.parquet, train.csv"):
        read(tmp_path)
    (tmp_path / "train.csv").unlink()
    parquet(tmp_path / "train-00001-of-00002.parquet", OBJECTS)
    with pytest.raises(InputError, match="several files for the train split"):
        read(tmp_path)


def test_shards_of_other_columns_are_refused(tmp_path):
    parquet(tmp_path / "train-00000-of-00002.parquet", OBJECTS[:60])
    parquet(tmp_path / "train-00001-of-00002.parquet", [{"text": "a", "stars": 1}])
    with pytest.raises(InputError, match="train-00001-of-00002.parquet: has columns text, stars, .* has text, label"):
        read(tmp_path)


def test_a_split_without_labels_is_taken_out_of_train(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "dev.csv").write_text("text,label\nwho knows,-1\nnobody,-1\n")
    (tmp_path / "test.csv").write_text("text,label\nfine,1\ndull,0\n")
    data = read(tmp_path)
    assert (
        "dev.csv: no row has a label (-1 beside 0 to 1 is no label); rows of train become the validation split instead"
        in caplog.text
    )
    assert "who knows" not in data.examples.text and data.split("test").text == ["fine", "dull"]
    assert set(data.split("validation").text) <= {text for text, _ in ROWS} and len(data.rows["validation"]) > 0
    (tmp_path / "train.csv").write_text("text,label\nfine,-1\ndull,\n")
    with pytest.raises(InputError, match="rows without a label"):
        read(tmp_path)


@pytest.mark.parametrize("labels", ["01", ("no", "yes")], ids=["numbers", "names"])
@pytest.mark.parametrize("test", ["text,label\nwho knows,-1\nnobody,-1\n", "index,text\n0,who knows\n1,nobody\n"])
def test_labels_that_are_hidden(tmp_path, labels, test):
    """GLUE's own files of test have no column of labels, the hub's have -1, also beside names."""
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"{text},{labels[y]}\n" for text, y in ROWS_WITHOUT_COMMAS)
    )
    (tmp_path / "test.csv").write_text(test)
    data = read(tmp_path)
    assert len(data.examples) == len(ROWS) and data.classes == [*labels]
    (tmp_path / "train.csv").write_text("index,text\n0,fine\n")
    with pytest.raises(InputError, match="train.csv: no column 'label'"):
        read(tmp_path)
