"""``skn.tune(out=…, resume=True)``: begins, goes on and opens, and refuses what the run was not begun with."""

from __future__ import annotations

from pathlib import Path

import pytest
from spoiled import edit

import skn
from skn.errors import InputError


@pytest.fixture
def tuned(tiny, corpus_folder, tmp_path):
    """``tuned(**options)``: a run in the folder "run", gone on with."""
    data = skn.load_data(corpus_folder, text="text", label="label")

    def tune(out: Path | None = tmp_path / "run", **options):
        options = {"prompt_length": 4, "epochs": 0, "resume": True} | options
        return skn.tune(tiny("roberta"), data, ["negative", "positive"], out=out, **options)

    return tune


def test_begun_opened_and_gone_on_with(tuned):
    first = tuned()
    file = first.path / "tuned.safetensors"
    whole = file.read_bytes()
    assert tuned().provenance["tuned"] == first.provenance["tuned"]
    edit(first.path / "run.json", lambda stored: stored.update(training=None))
    file.unlink()
    assert tuned().provenance["tuned"] == first.provenance["tuned"] and file.read_bytes() == whole


def test_refusals_name_parameters(tuned):
    with pytest.raises(InputError, match="^resume=True: goes on with a run in a folder; give out="):
        tuned(out=None)
    tuned()
    with pytest.raises(InputError, match="^resume=True: .*run was started with lr=0.01, not 0.5; leave out"):
        tuned(lr=0.5)
    with pytest.raises(InputError, match="run: exists already; overwrite=True replaces it, resume=True continues"):
        tuned(resume=False)


def test_notes_name_parameters(tuned, tmp_path, caplog):
    """What the log says in a notebook has no option of the command line."""
    caplog.set_level("INFO", "skn")
    run = tuned(out=None, resume=False)
    skn.prune(run, skn.rank(skn.probe(run)), fraction=0.5, out=tmp_path / "small")
    assert "tune its prompt again with retune=3" in caplog.text and "--" not in "".join(caplog.messages)
