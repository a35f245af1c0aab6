"""What a training shows while it runs: on a terminal, off it, and with --quiet."""

from __future__ import annotations

import io
import re
import sys

import pytest
from trainings import evaluations

import skn
from skn import progress
from skn.data.splits import read_data
from skn.intervals import share_interval
from skn.progress import Steps
from skn.runs.run import Run
from skn.runs.tune import summed_up
from skn.stages.train import train
from skn.tables import span
from skn.training.outcome import TrainResult

pytestmark = pytest.mark.usefixtures("one_thread")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """``terminal()`` makes standard error a terminal of 80 columns; what is drawn is in what it returns."""

    def make() -> Terminal:
        written = Terminal()
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(progress.console, "_force_terminal", True)
        monkeypatch.setattr(progress.console, "is_interactive", True)
        monkeypatch.setattr(progress.console, "_width", 80)
        return written

    return make


def test_off_a_terminal_there_is_a_line_at_each_evaluation(request_for, tmp_path, capsys):
    request = request_for(eval_every=7)
    capsys.readouterr()
    run = train(request, tmp_path / "run")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    examples = len(run.load().encoded("validation"))
    losses = [entry["loss"] for entry in run.training["history"] if "loss" in entry]
    found = evaluations(run)
    assert [entry["step"] for entry in found] == [7, 14, 20] and len(lines) == 3
    for line, entry, loss in zip(lines, found, losses, strict=True):
        value = entry["eval_accuracy"]
        reached = f"validation accuracy {value:.4f} (95%: {span(share_interval(value, examples))})"
        told = re.escape(f"tune: step {entry['step']}/20, loss {loss:.4f}, {reached}")
        assert re.fullmatch(told + ("" if entry["step"] == 20 else r", about \d+ s left"), line), line
    assert captured.out.splitlines() == [f"{run.path}: {summed_up(run.config, run.outcome())}"]
    assert Run.open(run.path).outcome().examples == examples == run.training["examples"]
    assert run.training["planned_steps"] == 20 and 0.5 <= run.training["majority"] < 1


def test_outside_the_command_line_the_last_line_names_parameters(request_for, capsys, monkeypatch):
    asked = request_for(epochs=0)
    monkeypatch.setattr(TrainResult, "beats_majority", False)
    capsys.readouterr()
    skn.tune(asked.backbone, read_data(asked.data), asked.words, prompt_length=4, epochs=0)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("validation accuracy 0.") and "no better than the larger class alone" in said
    assert "Nothing was tuned: epochs=" in said and "--" not in said


def test_quiet_is_quiet(request_for, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress.console, "quiet", True)
    request = request_for(epochs=1)
    capsys.readouterr()
    train(request, tmp_path / "run")
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out.count("\n") == 1


def test_on_a_terminal_one_bar_has_the_figures_and_no_line(request_for, terminal, tmp_path, monkeypatch):
    shown, parts = [], []
    show, part = Steps.show, Steps.part
    monkeypatch.setattr(Steps, "show", lambda self, *told: (shown.append(told), show(self, *told)))
    monkeypatch.setattr(Steps, "part", lambda self, text: (parts.append(text), part(self, text)))
    monkeypatch.setattr("skn.training.shown.SECONDS_BETWEEN_FIGURES", 0.0)
    request, written = request_for(eval_every=7), terminal()
    run = train(request, tmp_path / "run")
    values = [entry["eval_accuracy"] for entry in evaluations(run)]
    assert [done for done, *_ in shown] == [*range(1, 8), 7, *range(8, 15), 14, *range(15, 21), 20]
    assert re.fullmatch(r"loss \d\.\d{3}", shown[0][1]) and re.fullmatch(r"\d+ s left", shown[0][2])
    best = max(values)
    assert re.fullmatch(rf"loss \d\.\d{{3}}  validation {values[-1]:.3f}, best {best:.3f}", shown[-1][1])
    # A validation pass is a part of the one bar.
    assert parts and all(re.fullmatch(r"validate \d+/\d+", text) for text in parts)
    drawn = written.getvalue()
    assert "tune" in drawn and "20/20" in drawn and "tune: step" not in drawn


def test_a_pass_within_steps_draws_no_bar_of_its_own(terminal):
    written = terminal()
    with progress.steps(4, "tune") as steps:
        assert steps.drawn
        steps.show(3, "loss 0.693  validation 0.812, best 0.831", "12 min left")
        assert list(progress.track(range(2), 2, "validate")) == [0, 1]
        steps._bar.refresh()
    drawn = written.getvalue()
    assert "validate 2/2" in drawn and "0%" not in drawn and "best 0.831" in drawn
    assert list(progress.track(range(2), 2, "reading")) == [0, 1] and "reading" in written.getvalue()


def test_before_the_first_evaluation_a_long_training_says_that_it_lives(request_for, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("skn.training.shown.SECONDS_BETWEEN_LINES", 0.0)
    request = request_for(epochs=1, eval_every=10)
    capsys.readouterr()
    train(request, tmp_path / "run")
    first, *others = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"tune: step 1/10, about \d+ s left; a line follows at each evaluation", first)
    assert len(others) == 1
