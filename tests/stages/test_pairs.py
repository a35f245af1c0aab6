"""Two files that do not belong together: the refusal names the one that is another's, what it does not fit, and a way out."""

from __future__ import annotations

import shutil

import pytest
from spoiled import on, redescribe

STAGES = {"select": on("select"), "report": on("report"), "predict": ["predict", "--run", "run", "--text", "good"]}


def of_another(**provenance):
    return lambda description: description["provenance"].update(provenance)


@pytest.mark.parametrize("stage", STAGES)
def test_the_tuned_prompt_or_the_splits_are_of_another_run(refused, run, stage):
    """They were taken for the run's own, and the hits for another's, where no backbone was loaded."""
    kept = shutil.copy(run / "tuned.safetensors", run.parent)
    redescribe(run / "tuned.safetensors", of_another(seed=5))
    said = "run/tuned.safetensors: made for another seed (seed 5, run/run.json has 0)", "put this run's own back"
    refused(STAGES[stage], *said)
    shutil.copy(kept, run)
    redescribe(run / "splits.safetensors", of_another(split_digest="other"))
    refused(STAGES[stage], "run/tuned.safetensors: made for other data", "run/splits.safetensors has other)")
