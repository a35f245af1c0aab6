"""What people try at a command line: -h, a slip of the pen, --quiet, --verbose, --json, no colours, a reader that leaves."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
from refusals import command
from searchlight_files import ours, rated
from spoiled import on

from skn.cli import run as skn
from skn.commands import app

COMMANDS = [one.name or one.callback.__name__.rstrip("_") for one in app.registered_commands]
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])(?:;\d+)*m")


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "skn", *arguments]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**inherited, **environment})


# ---- help and slips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_short_help(name, capsys):
    own = [] if name is None else [name]
    shown = []
    for option in ("-h", "--help"):
        assert skn([*own, option]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and all(word in shown[0] for word in ("Usage", "--quiet", "--verbose", "--json"))


def test_skn_alone_shows_the_help_and_is_no_success(capsys):
    assert skn([]) == 2
    shown = capsys.readouterr()
    assert all(name in shown.out for name in COMMANDS)
    assert shown.err == "skn: name a command (see 'skn --help')\n"


@pytest.mark.parametrize(
    "arguments, phrases",
    [
        (["trian"], ["No such command 'trian'. Did you mean 'train'?", "(see 'skn --help')"]),
        (["prune", "--neurns", "n"], ["--neurns", ". Did you mean '--neurons'? (see 'skn prune --help')"]),
        (["tasks", "--qiet"], ["--qiet", ". Did you mean '--quiet'? (see 'skn tasks --help')"]),
        (["xyz"], ["No such command 'xyz'. (see 'skn --help')"]),
    ],
)
def test_the_nearest_is_named(arguments, phrases, capsys):
    assert skn(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("skn: ") and all(phrase in line for phrase in phrases) and line.count("mean") < 2


def test_completion():
    asked = {"_SKN_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert process(COMP_WORDS="skn t", **asked).stdout.split() == ["train", "tasks"]
    assert process(COMP_WORDS="skn ", **asked).stdout.split() == COMMANDS
    options = process(COMP_WORDS="skn prune --f", **{**asked, "COMP_CWORD": "2"}).stdout.split()
    assert options == ["--fraction", "--freeze"]
    script = process("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode == 0 and "_SKN_COMPLETE=complete_bash" in script.stdout


# ---- how much is said ------------------------------------------------------------------------------------------


def test_quiet_leaves_results_only(run, quiet_exit, capsys):
    evaluate = on("evaluate", "--overwrite", run=str(run))
    activate = on("activate", "--overwrite", run=str(run))
    assert command(["--quiet", *on("prune", "--overwrite", run=str(run))]) == 0
    for line in ([*evaluate, "-q"], ["-q", *evaluate], [*evaluate, "--quiet"]):
        capsys.readouterr()
        assert command(line) == 0
        shown = capsys.readouterr()
        assert "Evaluation on test" in shown.out and shown.err == ""
    assert command([*activate, "-q"]) == 0 and capsys.readouterr() == ("", "")
    assert command(activate) == 0 and "wrote" in capsys.readouterr().out, "the next command is not quiet"


def test_quiet_stops_progress(run, quiet_exit, capsys, monkeypatch):
    from skn import progress

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    evaluate = on("evaluate", "--overwrite", run=str(run))
    assert command(on("prune", "--overwrite", run=str(run))) == 0
    assert command(evaluate) == 0 and "1/" in capsys.readouterr().err
    assert command([*evaluate, "--quiet"]) == 0 and capsys.readouterr().err == ""


def test_verbose_shows_where_an_error_arose(tmp_path, quiet_exit, caplog, capsys):
    line = ["probe", "--run", str(tmp_path / "nothing")]
    assert command(line) == 2 and not caplog.records
    assert command([*line, "--verbose"]) == 2
    assert caplog.records[-1].exc_info and caplog.records[-1].levelno == logging.DEBUG
    assert len(capsys.readouterr().err.splitlines()) == 2, "each names its error in one line"
    assert logging.getLogger("skn").level == logging.INFO


@pytest.mark.parametrize("line", [["-q", "tasks", "-v"], ["-v", "tasks", "-q"], ["-qv", "tasks"], ["tasks", "-qv"]])
def test_quiet_and_verbose_exclude_each_other(line, capsys):
    assert command(line) == 2
    assert "--quiet and --verbose: leave one of them out" in capsys.readouterr().err


# ---- tables as JSON --------------------------------------------------------------------------------------------


def tables(capsys, *arguments: object) -> list[dict]:
    """The tables of a command's JSON document; standard output holds nothing else."""
    capsys.readouterr()
    assert skn([*map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["tables"]
    for table in found["tables"]:
        assert list(table) == ["title", "columns", "rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"]) and table["rows"]
    return found["tables"]


def column(table: dict, name: str) -> list:
    return [row[table["columns"].index(name)] for row in table["rows"]]


def test_json_before_and_after_the_name(capsys):
    [table] = tables(capsys, "tasks")
    assert (
        table["title"] == "Tasks"
        and dict(zip(column(table, "task"), column(table, "classes"), strict=True))["sst2"] == 2
    )
    capsys.readouterr()
    assert skn(["--json", "tasks"]) == 0 and json.loads(capsys.readouterr().out) == {"tables": [table]}
    assert skn(["tasks"]) == 0 and "Tasks" in capsys.readouterr().out, "the next command prints a table again"


def test_json_of_a_refusal_is_nothing(capsys):
    assert skn(["tasks", "too", "many", "--json"]) == 2
    assert skn(["probe", "--run", "nothing", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_json_of_a_run_has_numbers(run, capsys, quiet_exit):
    """Every stage that prints a table: its numbers are those of the artifacts, not the text of the table."""
    [probe] = tables(capsys, *on("probe", run=run))
    assert column(probe, "split") == ["validation"] * 4 + ["test"] * 4
    measures = ["neuron, balanced", "best neuron by chance", "model, balanced", "model, plain"]
    assert column(probe, "measure") == measures * 2
    assert all(isinstance(value, float) for value in column(probe, "accuracy"))
    ends = column(probe, "95% interval")
    assert ends[0] is None and all(low <= high for low, high in ends[1:])
    assert all(len(pair) == 2 and isinstance(pair[0], int) for pair in column(probe, "neuron")[::4])
    [select] = tables(capsys, *on("select", run=run))
    score = column(select, "balanced accuracy on validation")
    assert score == sorted(score, reverse=True) and len(select["rows"]) == 10
    [mask] = tables(capsys, *on("mask", "--controls", 3, "--overwrite", run=run))
    stored = json.loads((run / "mask-zero.json").read_text())["rows"][0]
    chosen = dict(zip(column(mask, "measure"), column(mask, "chosen"), strict=True))
    assert chosen == {"accuracy": stored["accuracy"], "AUC": stored["auc"]} and column(mask, "fraction") == [0.1, 0.1]
    control = stored["controls"]["accuracy"]
    assert column(mask, "95% of chosen")[0] == stored["interval"]
    assert mask["rows"][0][5:] == [
        "layer",
        control["mean"],
        [control["mean_low"], control["mean_high"]],
        [control["low"], control["high"]],
    ]
    layers, parameters, stands = tables(capsys, *on("prune", "--overwrite", run=run))
    summary = json.loads((run / "prune.json").read_text())
    validation = summary["validation"]
    assert column(stands, "accuracy") == [validation["majority"], validation["pruned"]["accuracy"]]
    assert column(layers, "after") == summary["widths"] and column(parameters, "after") == [summary["parameters_after"]]
    [evaluate] = tables(capsys, *on("evaluate", "--speed", "--repeats", 2, "--overwrite", run=run))
    models = json.loads((run / "evaluate-test.json").read_text())["models"]
    rates = [[model["examples_per_second"][name] for name in ("median", "low", "high")] for model in models]
    assert column(evaluate, "parameters") == [model["parameters"] for model in models]
    assert column(evaluate, "examples/s: median (min – max)") == rates
    assert tables(capsys, *on("activate", "--overwrite", run=run)) == []


def test_json_of_a_searchlight_has_numbers(tmp_path, capsys):
    line = ["rsa", "--activations", ours(tmp_path), "--attributes", rated(tmp_path), "--out", tmp_path / "rsa"]
    significant, *stability = tables(capsys, *line, "--permutations", 19, "--leave-one-out")
    assert all(isinstance(value, float) for value in column(significant, "tau"))
    assert [table["columns"] for table in stability] == [["attribute", "mean", "lowest", "lowest at"]] * 2
    assert all(isinstance(value, float) for table in stability for value in column(table, "mean"))


def test_json_of_the_installation(capsys):
    versions, devices, operators = tables(capsys, "doctor")
    assert "torch" in column(versions, "package") and column(devices, "device") == ["cpu", "cuda"] and operators["rows"]


# ---- terminals and pipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["--help", "tasks"])
def test_no_color(line):
    """``FORCE_COLOR`` is what a terminal would have; tables have no colours of their own."""
    assert line == "tasks" or COLOUR.search(process(line, FORCE_COLOR="1").stdout)
    assert not COLOUR.search(process(line, FORCE_COLOR="1", NO_COLOR="1").stdout)


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["tasks"], ["tasks", "--json", "--quiet"]])
def test_a_reader_that_has_gone(line):
    """``skn … | head``: what is written after head has gone raises no error that anyone sees."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "skn", *line], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == 1
    assert "Error" not in done.stderr and "Traceback" not in done.stderr
