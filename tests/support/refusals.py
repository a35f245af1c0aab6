"""``refused``: a command line with bad input gives one line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
import transformers

from skn.cli import main

LOGGERS = ("skn", "huggingface_hub", "datasets")


def tree(folder: Path) -> dict[str, str]:
    """Return every path below a folder, with the digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def command(arguments) -> int:
    """Return the exit code of ``skn ARGUMENTS``, with the logging of the console script."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return exit_.value.code


@pytest.fixture
def quiet_exit():
    """Undo the settings that the console script makes for its process."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    verbosity, bars = transformers.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    transformers.logging.set_verbosity(verbosity)
    if bars:
        transformers.logging.enable_progress_bar()


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys, caplog, quiet_exit):
    """``refused(arguments, *phrases)`` runs the command and returns its line, which must hold every phrase.

    Everything below the test's folder, which is also the working folder, must stay unchanged, byte for byte.
    """
    monkeypatch.chdir(tmp_path)

    def check(arguments, *phrases: str) -> str:
        before = tree(tmp_path)
        capsys.readouterr()
        caplog.clear()
        code = command(arguments)
        lines = [*caplog.messages, *capsys.readouterr().err.splitlines()]
        assert code == 2 and len(lines) == 1 and lines[0].startswith("skn: "), (code, lines)
        assert all(phrase in lines[0] for phrase in phrases), (lines[0], phrases)
        assert tree(tmp_path) == before
        return lines[0]

    return check
