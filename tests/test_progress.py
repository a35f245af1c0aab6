"""What is said of long work while it goes on."""

from __future__ import annotations

import pytest

from skn import progress


@pytest.fixture
def clock(monkeypatch):
    """``clock[0]`` is the time in seconds; standard error is no terminal."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_told_by_the_work_left_not_by_the_steps(clock, capsys):
    # 20 steps of work 1, then 10 of work 100: after 10 steps 1,010 of 1,020 are to come.
    with progress.measured(30, 20 + 10 * 100, "mask", "; cut it") as advance:
        for step in range(30):
            clock[0] += 2.0
            advance(1 if step < 20 else 100)
            if step == 9:
                assert capsys.readouterr().err.splitlines()[-1] == "mask: about 34 min for the 20 to come; cut it"
    # A line at least every 10 s: at 52 s, 620 of 1,020 are done.
    assert capsys.readouterr().err.splitlines()[-1] == "mask: 26/30, about 34 s left"


def test_a_few_steps_need_no_forecast(clock, capsys):
    with progress.measured(progress.FIRST_STEPS, 10, "mask") as advance:
        for _ in range(progress.FIRST_STEPS):
            advance(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("found, drawn", [(object(), True), (None, False)])
def test_a_notebook_has_a_bar_where_ipywidgets_is(found, drawn, monkeypatch):
    assert not progress.draws()
    monkeypatch.setattr(progress.console, "is_jupyter", True)
    monkeypatch.setattr(progress.importlib.util, "find_spec", {"ipywidgets": found}.__getitem__)
    assert progress.draws() is drawn


@pytest.mark.parametrize("seconds,text", [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
