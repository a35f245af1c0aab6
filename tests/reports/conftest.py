"""Pages whose figures are not drawn: most tests read the words and numbers, and drawing is what takes the time."""

import pytest

BLANK = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Figures are made but become no picture, but for tests marked ``drawn``."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("skn.reports.drawing.png", lambda figure: BLANK)
