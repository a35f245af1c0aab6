"""Names out of files: shown with control characters escaped, never obeyed, and as names of files one each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import command

import skn
from skn import console
from skn.errors import InputError
from skn.names import file_name
from skn.tables import Table
from skn.texts import json_safe, shown

TITLE = "\x1b]0;owned\x07"  # sets the title of a terminal
HOSTILE = [TITLE, "a\x00b", "a\x9b31mb", "a\x7f", "a\rb", "a\u202eb", "a\u2028b", "a\ud800b"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_control_characters_are_escaped(text):
    assert shown(text).isascii() and shown(text).isprintable() and "\\" in shown(text)
    assert str(InputError(f"d.csv: {text}")) == f"d.csv: {shown(text)}"
    assert json.loads(json_safe(json.dumps(text, ensure_ascii=False))) == text
    with pytest.raises(
        InputError, match="label '.*': control characters cannot stand in the name of a file; rename it"
    ):
        file_name(text, "label")


@pytest.mark.parametrize("text", ["", "joy", "快乐", "é", "a\nb\tc", "half-true", "می‌خواهم", "👩‍👧"])
def test_other_characters_stay(text):
    assert shown(text) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"])), unique=True, max_size=8))
def test_two_names_are_two_files(names):
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert not any("/" in file or "\\" in file or file.startswith(".") for file in files)


def test_letters_of_every_script_stay():
    for name in ("快乐", "happy face", "joy-1", "Überraschung", "खुशी"):
        assert file_name(name) == name
    names = ["a/b", "a b", "a_b", "a%2Fb", "..", ".", "a:b", "a*"]
    assert [file_name(n) for n in names] == ["a%2Fb", "a b", "a_b", "a%252Fb", "%2E.", "%2E", "a%3Ab", "a%2A"]


def test_tables_and_lines_are_no_markup(capsys):
    name = "runs/exp[lr=0.1]/[/x]:smile:" + TITLE
    console.show(Table(name, ["class", "[red]n"], [[name, 1]]))
    console.say(name)
    console.console.print(name, soft_wrap=True)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "[red]n" in out
    assert "".join(out.split()).count(shown(name)) >= 3
    assert (
        "\x1b" not in str(Table(name, [name], [[name]])) + Table(name, [name], [[name]])._repr_html_().split("<tr>")[2]
    )


def test_the_log(capsys):
    record = logging.LogRecord("skn", logging.INFO, "f", 1, "%s: no rows of class %s", ("d.csv", TITLE), None)
    assert console.PlainFormatter("%(message)s").format(record) == "d.csv: no rows of class \\x1b]0;owned\\x07"


def csv(path, classes, column="label"):
    rows = [f"t {i},{classes[i % len(classes)]}" for i in range(600)]
    path.write_text("\n".join([f"text,{column}", *rows]) + "\n", encoding="utf-8")
    return path


def test_a_process_shows_labels_and_columns_escaped(tmp_path):
    """The terminal of a real process gets no control character, in errors, in notes and in tables."""
    csv(tmp_path / "d.csv", ["a", TITLE + "b", "c"])
    csv(tmp_path / "column.csv", ["a", "b", "c"], TITLE)
    for options in (["--data", "d.csv", "--one-vs-rest"], ["--data", "column.csv"], ["--data", "d.csv"]):
        line = [sys.executable, "-m", "skn", "binarize", *options, "--out", "out"]
        done = subprocess.run(
            line, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "FORCE_COLOR": "0"}
        )
        assert "\x07" not in done.stdout + done.stderr and "]0;owned" not in (done.stdout + done.stderr).replace(
            "\\x1b]0;owned", ""
        )
    assert "\x1b" not in repr(skn.load_data(tmp_path / "d.csv"))


@pytest.mark.parametrize("label", ["n\x00l", TITLE], ids=ascii)
def test_a_class_with_control_characters_names_no_folder(refused, tmp_path, label):
    csv(tmp_path / "d.csv", ["a", label, "c"])
    line = refused(
        ["binarize", "--data", "d.csv", "--out", "b", "--one-vs-rest"], "--one-vs-rest: class '", "rename it"
    )
    assert "\x00" not in line and "\x1b" not in line


def test_a_long_name_hides_no_message(tmp_path, quiet_exit, refused):
    csv(tmp_path / "d.csv", ["a", "9" * 6000, "c"])
    line = refused(["binarize", "--data", "d.csv", "--out", "b", "--one-vs-rest"], "999… (6,0", "File name too long")
    assert len(line) < 300
    path = "/".join(["n" * 255] * 9)
    assert shown(path) == path and shown("喜" * 399) == "喜" * 399


def test_two_sub_tasks_never_have_one_folder(tmp_path, quiet_exit):
    """Of the file "d-a" and the class "b", and of the file "d" and the class "a-b"."""
    csv(tmp_path / "d-a.csv", ["b", "c", "x"])
    csv(tmp_path / "d.csv", ["a-b", "c", "x"])
    for name in ("d-a", "d"):
        arguments = ["binarize", "--data", tmp_path / f"{name}.csv", "--out", tmp_path / "out", "--one-vs-rest"]
        assert command(arguments) == 0
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_classes_of_any_script_name_folders(tmp_path, quiet_exit):
    csv(tmp_path / "d.csv", ["喜", "a/b", "a-b", "../x"])
    assert command(["binarize", "--data", tmp_path / "d.csv", "--out", tmp_path / "b", "--one-vs-rest"]) == 0
    assert {folder.name for folder in (tmp_path / "b").iterdir()} == {"d-喜", "d-a%2Fb", "d-a%2Db", "d-%2E.%2Fx"}
    for folder in (tmp_path / "b").iterdir():
        assert skn.load_data(folder).classes == ["0", "1"]
