"""An option that takes one value and is given twice is refused, in every command; what may be repeated is not."""

from __future__ import annotations

import pytest
import typer

from skn.cli import run as skn
from skn.commands import app

COMMANDS = typer.main.get_command(app).commands
OPTIONS = [(name, p) for name, command in COMMANDS.items() for p in command.params if p.param_type_name == "option"]
SINGLE = [(name, p.opts[0]) for name, p in OPTIONS if not p.multiple and not p.is_flag]
REPEATED = {(name, p.opts[0]) for name, p in OPTIONS if p.multiple}


@pytest.mark.parametrize("command, option", SINGLE, ids=map(" ".join, SINGLE))
def test_refused(command, option, capsys):
    for line in ([command, option, "1", option, "2"], [command, f"{option}=1", option, "1"]):
        assert skn(line) == 2
        said = f"skn: {option}: given 2 times, but takes one value (see 'skn {command} --help')\n"
        assert capsys.readouterr().err == said


def test_what_may_be_repeated():
    assert {
        ("select", "--run"),
        ("select", "--with"),
        ("evaluate", "--model"),
        ("report", "--run"),
        ("activate", "--neuron"),
    } <= REPEATED
    assert {("mask", "--run"), ("prune", "--count")} <= set(SINGLE) and len(SINGLE) > 100
