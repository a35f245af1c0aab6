"""Ctrl-C and SIGTERM: one line, 130 or 143, from the first moment on; the line names what the command has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import typer
from refusals import command, tree
from spoiled import on

from skn import interrupts
from skn.commands import app

COMMANDS = typer.main.get_command(app).commands
# Sends this process a signal once a module is being imported, and shows it as a module that runs a text does: through
# PyRun_String, after which Python would end by SIGINT whatever it is told.
SEND = """
import importlib.abc, os, signal, sys
WANTED, NUMBER = sys.argv[1:3]
class Sender(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == WANTED:
            sys.meta_path.remove(self)
            import ctypes
            text = f"import os; os.kill({os.getpid()}, {NUMBER}); [None for _ in range(1000)]"
            main = {"__builtins__": __builtins__}
            ctypes.pythonapi.PyRun_String.restype = ctypes.py_object
            ctypes.pythonapi.PyRun_String(text.encode(), 257, ctypes.py_object(main), ctypes.py_object(main))
sys.meta_path.insert(0, Sender())
from skn.cli import main
sys.argv[1:] = sys.argv[3:]
main()
"""


def interrupted_at(module: str, number: int, *line: str, folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SEND, module, str(int(number)), *line],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        # A shell starts background jobs with Ctrl-C ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "module, line",
    [
        ("typer", "skn: interrupted\n"),  # before there is a command
        ("torch", "skn: interrupted; nothing was written\n"),
        ("transformers", "skn: interrupted; nothing was written\n"),
    ],
)
def test_while_importing(tmp_path, module, line, number, code):
    train = ["train", "--backbone", "nowhere", "--out", "run", "--data", "rows.csv"]
    done = interrupted_at(module, number, *train, folder=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (code, line, "")
    assert not list(tmp_path.iterdir())


STAGES = {
    "probe": ("skn.neurons.probe.probe_hits", "what was complete is kept, --resume continues"),
    "mask": ("skn.neurons.mask.predict", "what was complete is kept, --resume continues"),
    "select": ("skn.stages.select.rank", "what was complete is kept"),
    "evaluate": ("skn.pruned.evaluation.predict", "what was complete is kept"),
    "activate": ("skn.neurons.activations.predict", "what was complete is kept"),
    "report": ("skn.reports.read_run.collect", "what was complete is kept"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_line_names_what_the_command_has(run, monkeypatch, capsys, quiet_exit, stage):
    """The signal comes while the stage works; nothing but whole files is there afterwards."""
    where, said = STAGES[stage]
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    assert command(on(stage, run=run)) == 143
    assert capsys.readouterr().err.splitlines()[-1] == f"skn: interrupted; {said}"
    has_resume = "resume" in {p.name for p in COMMANDS[on(stage)[0]].params}
    assert ("--resume" in said) == has_resume
    assert not [name for name in tree(run) if name.rpartition("/")[2].startswith(".")]


def test_what_becomes_of_an_interruption_is_one(run, monkeypatch, capsys, quiet_exit, ctrl_c):
    """A library that is being imported may raise another error for it."""

    def converted(*_, **__):
        try:
            ctrl_c()
        except KeyboardInterrupt:
            raise ImportError("cannot import name") from None

    monkeypatch.setattr("skn.stages.select.rank", converted)
    assert command(on("select", run=run)) == 130
    assert capsys.readouterr().err == "skn: interrupted; what was complete is kept\n"


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.heard(to_the_end=False):
        assert signal.getsignal(signal.SIGTERM) not in before
        with interrupts.kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "a second one ends the process"
        assert interrupts.exit_code() == 143
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before
    with interrupts.heard(to_the_end=False):
        assert interrupts.exit_code() == 130


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts.heard(to_the_end=False):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0)
    finally:
        signal.signal(signal.SIGTERM, before)
