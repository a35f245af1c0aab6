"""Runs to report on, and pages whose figures are not drawn: most tests read the words, and drawing is what takes the time."""

import pytest
from filled_run import fill, make_run

BLANK = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Figures are made but become no picture, but for tests marked ``drawn``."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("skn.reports.drawing.png", lambda figure: BLANK)


@pytest.fixture
def bare(tmp_path):
    """A finished run with its prompt and nothing else."""
    return make_run(tmp_path / "run")


@pytest.fixture
def full(bare):
    """A run with everything that a report shows."""
    return fill(bare)
