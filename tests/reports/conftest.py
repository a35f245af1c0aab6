"""Runs and sweeps to report on, and pages without drawn figures, because most tests read only the words and drawing is
slow.
"""

import contextlib
import shutil

import filled_report_sweep
import pytest
from filled_run import fill, make_run
from pages import Page

from skn.reports.read_sweep import collect_sweep, report_sweep
from skn.reports.sweep_page import SECTIONS
from skn.runs.sweep import Sweep

BLANK = b"\x89PNG\r\n\x1a\n"


@contextlib.contextmanager
def undrawn():
    """Figures are made, but neither laid out nor turned into pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skn.reports.drawing.png", lambda figure: BLANK)
        patch.setattr("matplotlib.figure.Figure.draw_without_rendering", lambda figure: None)
        yield


@pytest.fixture(autouse=True)
def pictures(request):
    """Draw pictures only in tests marked ``drawn``."""
    with contextlib.nullcontext() if request.node.get_closest_marker("drawn") else undrawn():
        yield


@pytest.fixture
def bare(tmp_path):
    """A finished run with its prompt and nothing else."""
    return make_run(tmp_path / "run")


@pytest.fixture
def full(bare):
    """A run with everything that a report shows."""
    return fill(bare)


@pytest.fixture(scope="session")
def made_sweeps(tmp_path_factory):
    """The folders of a sweep with only its grid, and of a sweep with everything that a report shows.

    No test writes there.
    """
    folder = tmp_path_factory.mktemp("sweeps")
    bare = filled_report_sweep.make_sweep(folder / "bare").path
    full = shutil.copytree(bare, folder / "full")
    filled_report_sweep.fill(Sweep.open(full))
    return bare, full


@pytest.fixture
def bare_sweep(made_sweeps, tmp_path):
    return Sweep.open(shutil.copytree(made_sweeps[0], tmp_path / "sweep"))


@pytest.fixture
def full_sweep(made_sweeps, tmp_path):
    return Sweep.open(shutil.copytree(made_sweeps[1], tmp_path / "sweep"))


@pytest.fixture(scope="session")
def sweep_pictures(made_sweeps):
    """The pictures of a full sweep by name. Each has its laid-out figure and its numbers."""
    data = collect_sweep(Sweep.open(made_sweeps[1]))
    sections = [section for build in SECTIONS if (section := build(data)) is not None]
    return {picture.name: picture for section in sections for picture in section.pictures}


@pytest.fixture(scope="session")
def sweep_text(made_sweeps, tmp_path_factory):
    """The page of a full sweep, for tests that only read it."""
    folder = shutil.copytree(made_sweeps[1], tmp_path_factory.mktemp("reported") / "sweep")
    with undrawn():
        return report_sweep(folder).read_text()


@pytest.fixture
def sweep_page(sweep_text):
    return Page(sweep_text)
