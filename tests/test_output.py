"""Whatever the terminal: every line of a command gets there, and names and paths are in it as they are."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from filled_sweep import corpus_data, make_sweep
from refusals import command
from repository import REPOSITORY

from skn import console, progress
from skn.tables import Table
from skn.texts import spelled

NAMES = ["exp[lr=0.1]", "[/x]", ":smile: [bold]喜"]


def output_of(arguments, encoding: str, monkeypatch) -> str:
    """What a command writes on a standard output of an encoding."""
    written = io.TextIOWrapper(io.BytesIO(), encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        assert command(arguments) == 0, arguments
    assert written.errors == "strict"
    written.flush()
    return written.buffer.getvalue().decode(encoding)


def squeezed(text: str) -> str:
    """The title of a narrow table is of several lines."""
    return "".join(text.split())


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_every_stage_says_its_paths_as_they_are(tiny, corpus_folder, tmp_path, monkeypatch, refused, encoding):
    name = "".join(NAMES)
    train = ["train", "--backbone", tiny("roberta"), "--data", corpus_folder, "--prompt-length", 4, "--epochs", 1]
    stages = [
        [*train, "--out", name],
        ["probe", "--run", name],
        ["select", "--run", name],
        ["mask", "--run", name, "--fraction", "0.1", "--controls", 2],
        ["prune", "--run", name, "--fraction", "0.5"],
        ["evaluate", "--run", name],
        ["activate", "--run", name, "--neuron", "best"],
        ["report", "--run", name],
    ]
    for arguments in stages:
        text = output_of(arguments, encoding, monkeypatch)
        assert squeezed(spelled(name, encoding)) in squeezed(text) or arguments[0] in ("probe", "evaluate"), (
            text
        )  # which name no path
        assert "\\u2013" not in text and "\\u2026" not in text
        if arguments[0] in ("train", "probe", "select", "mask", "prune"):
            assert name in refused(arguments, "exists already")
    document = json.loads(output_of(["evaluate", "--run", name, "--json", "--overwrite"], encoding, monkeypatch))
    assert document["tables"]


def test_a_sweep_and_its_searchlight_say_their_paths_as_they_are(tiny, tmp_path, monkeypatch, quiet_exit):
    monkeypatch.chdir(tmp_path)
    sweep = "[/s][bold]"
    make_sweep(tmp_path / sweep, tiny("roberta"), seeds=(1,), make_data=corpus_data)
    for arguments in (["activate", "--sweep", sweep], ["report", "--sweep", sweep]):
        assert sweep in output_of(arguments, "ascii", monkeypatch)


def test_a_table_as_json_is_json_in_every_encoding(monkeypatch):
    for encoding in ("ascii", "latin-1", "utf-8"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
            console.collect_tables()
            console.show(Table("喜 – é", ["😀"], [["é"]]))
            document = console.take_document()
        read = json.loads(document.encode(encoding, "strict"))
        assert read["tables"][0]["rows"] == [["é"]] or "😀" in str(read)


def test_the_library_prints_where_nobody_has_prepared_the_output(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", written)
    console.say("2 – 3 of [喜]")
    console.show(Table("a – b", ["c – d"], [["e – [/f]"]]))
    written.flush()
    text = written.buffer.getvalue().decode()
    assert "2 - 3 of [\\u559c]" in text and "e - [/f]" in text


@pytest.mark.parametrize("printed", [console.say, console.tell])
def test_a_line_is_one_line_however_narrow_the_terminal(monkeypatch, capsys, printed):
    for drawing in (console.console, console.notes):
        monkeypatch.setattr(drawing, "width", 20)
    printed("a line of the results that is longer than twenty characters")
    assert capsys.readouterr().out.count("\n") == 1


def test_lines_are_printed_by_the_console_alone():
    """A stage that prints past it would cut lines to the width, or read a path as markup."""
    files = [file for file in (REPOSITORY / "skn").rglob("*.py") if file.name not in ("console.py", "progress.py")]
    assert [file.name for file in files if "console.print(" in file.read_text()] == []


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("name", NAMES)
def test_labels_of_bars_are_no_markup(monkeypatch, name, encoding):
    written = Terminal(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.console, "_force_terminal", True)
    monkeypatch.setattr(progress.console, "is_interactive", True)  # asked once, when the console is made
    monkeypatch.setattr(progress.console, "_width", 200)
    assert list(progress.track(range(3), 3, f"reading {name} –")) == [0, 1, 2]
    with progress.measured(2, 2, f"mask {name}") as advance:
        advance(1)
        advance(1)
    written.flush()
    text = written.buffer.getvalue().decode(encoding)
    assert f"reading {spelled(name, encoding)}" in text and f"mask {spelled(name, encoding)}" in text


@pytest.mark.parametrize(
    ("encoding", "commands"),
    [("ascii", (["doctor"], ["--help"], ["tasks"], ["mask", "--help"])), ("latin-1", (["tasks"], ["mask", "--help"]))],
)
def test_a_process_whose_output_has_another_encoding(encoding, commands):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in commands:
        done = subprocess.run([sys.executable, "-m", "skn", *arguments], capture_output=True, env=environment)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        assert done.stdout.decode(encoding)


def test_an_output_that_is_full_or_closed_is_one_line():
    for arguments in (["tasks"], ["tasks", "--json"], ["--help"]):
        line = [sys.executable, "-m", "skn", *arguments]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and done.stderr.count("skn: ") == 1 and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("skn: the output takes no more (No space left on device)"), done.stderr
    closed = subprocess.run(["sh", "-c", f"exec {' '.join(line)} >&-"], stderr=subprocess.PIPE, text=True)
    assert (closed.returncode, closed.stderr) == (0, "")
