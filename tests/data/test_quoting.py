"""Quotes in csv and tsv files: no row is lost without a word, whatever the file does with quotes."""

from __future__ import annotations

import pytest
from options import replaced
from refusals import command
from spoiled import edit

import skn
from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.errors import InputError
from skn.runs.run import Run
from skn.store.csv_tables import read_table
from skn.store.delimited import Dialect, read_delimited


def glue(count: int, quotes: int) -> tuple[str, list[str]]:
    """Rows as GLUE's files have them, which do not quote: some texts begin with a quote that nothing ends."""
    every = count // quotes
    texts = [f'"a good film {i}' if i % every == 0 else f'a "dull" film {i}' for i in range(count)]
    return "sentence\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(texts)), texts


def read(path, **options):
    return read_data(DataSpec(data=str(path), text_column="sentence", **options))


@pytest.mark.parametrize("rows, quotes", [(5, 1), (5, 5), (240, 12), (240, 1)])
def test_a_quote_that_ends_in_another_line_is_refused_with_its_line(tmp_path, rows, quotes):
    file = tmp_path / "train.tsv"
    file.write_text(glue(rows, quotes)[0])
    with pytest.raises(
        InputError, match=r"train.tsv: line 2: a quote opens that does not end in this line; quoting=.none."
    ):
        read(file)
    file.write_text('sentence\tlabel\nfine\t0\n\ndull\t1\nnot so\t0\n"a good film\t1')  # at the end of the file
    with pytest.raises(InputError, match="train.tsv: line 6: a quote opens that does not end"):
        read(file)


def test_a_file_that_does_not_quote_is_read_whole(tmp_path):
    text, texts = glue(240, 12)
    (tmp_path / "train.tsv").write_text(text)
    data = read(tmp_path / "train.tsv", quoting="none")
    assert data.examples.text == texts and data.examples.label == [i % 2 for i in range(240)]
    assert skn.load_data(tmp_path / "train.tsv", text="sentence", quoting="none").digest == data.digest
    (tmp_path / "t.toml").write_text('data = "train.tsv"\ntext_column = "sentence"\nquoting = "none"\n')
    assert skn.load_data(tmp_path / "t.toml").digest == data.digest


def test_texts_with_line_breaks(tmp_path):
    """As pandas writes them."""
    rows = [(f'line one {i}\n"line" two, three' if i % 3 else f"plain {i}", i % 2) for i in range(120)]
    quoted = [text.replace('"', '""') for text, _ in rows]
    lines = "".join(f'"{text}",{label}\n' for text, (_, label) in zip(quoted, rows, strict=True))
    (tmp_path / "d.csv").write_text("sentence,label\n" + lines)
    with pytest.raises(InputError, match="d.csv: line 3: a quote opens .* quoting=.multiline."):
        read(tmp_path / "d.csv")
    data = read(tmp_path / "d.csv", quoting="multiline")
    assert data.examples.text == [text for text, _ in rows] and data.examples.label == [label for _, label in rows]


def test_lines_are_those_of_the_file(tmp_path):
    file = tmp_path / "d.csv"
    file.write_text('a,b\n\n"1\n2",3\n4,5\n6\n')
    with pytest.raises(InputError, match="d.csv: line 6 has 1 fields, the header has 2"):
        read_delimited(file, ",", Dialect("multiline"))
    file.write_text('a,b\n\n"1\n2",3\n4,5\n')
    assert read_delimited(file, ",", Dialect("multiline")).lines == [3, 5]
    file.write_text('a,b\n1,2\n"3\n4,5\n')
    with pytest.raises(InputError, match="d.csv: line 3: a quote opens that never ends"):
        read_delimited(file, ",", Dialect("multiline"))


def test_text_behind_a_closing_quote_is_not_run_together(tmp_path):
    file = tmp_path / "d.tsv"
    file.write_text('sentence\tlabel\n"great" acting\t1\n')
    with pytest.raises(InputError, match="d.tsv: line 2: text stands behind a closing quote; quoting=.none."):
        read(file)
    assert read_delimited(file, "\t", Dialect("none")).rows == [['"great" acting', "1"]]


def test_a_table_of_attributes_is_read_by_the_same_rules(tmp_path):
    (tmp_path / "a.csv").write_text('condition,arousal\njoy,1\n"anger,2\nfear,3\n')
    with pytest.raises(InputError, match="a.csv: line 3: a quote opens that does not end in this line; take the quote"):
        read_table(tmp_path / "a.csv")


def test_the_option(refused, tiny, tmp_path):
    (tmp_path / "d.tsv").write_text(glue(240, 12)[0])
    arguments = ["train", "--backbone", tiny("bert"), "--data", "d.tsv", "--text-column", "sentence", "--out", "run"]
    refused(arguments, "d.tsv: line 2", "--quoting none")
    refused([*arguments, "--quoting", "sometimes"], "'sometimes' is not one of 'none', 'multiline'")
    (tmp_path / "t.toml").write_text('data = "d.tsv"\nquoting = "non"\n')
    asked = replaced(arguments, ["--data", "t.toml"])
    refused(asked, "t.toml: quoting non: expected none, multiline; did you mean 'none'?")
    with pytest.raises(InputError, match="quoting=.some.: expected none, multiline"):
        skn.load_data(tmp_path / "d.tsv", quoting="some")


def test_every_stage_reads_as_the_run_was_started(tiny, tmp_path, quiet_exit):
    (tmp_path / "d.tsv").write_text(glue(240, 12)[0])
    run = tmp_path / "run"
    arguments = ["train", "--backbone", tiny("bert"), "--data", tmp_path / "d.tsv", "--text-column", "sentence",
                 "--out", run, "--epochs", 0, "--prompt-length", 4, "--quoting", "none"]  # fmt: skip
    assert command(arguments) == 0 and command(["probe", "--run", run]) == 0
    assert command([*arguments, "--resume"]) == 0
    assert len(skn.open_run(run).data.examples) == 240
    edit(run / "run.json", lambda stored: stored["config"]["data"].pop("quoting"))  # as before there was the option
    assert Run.open(run).config.data.quoting is None
