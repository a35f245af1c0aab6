"""Two files that do not belong together: the refusal names the one that is another's, what it does not fit, and a way out."""

from __future__ import annotations

import os
import shutil

import pytest
from refusals import command
from spoiled import edit, on, redescribe

from skn.store import folders

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


def test_means_of_other_data_under_the_same_untuned_prompt(run, tmp_path, quiet_exit):
    """They may be given; the run's own ranking was refused as made for another task."""
    theirs = tmp_path / "theirs.safetensors"
    shutil.copy(run / "moments.safetensors", theirs)
    redescribe(theirs, of_another(task="theirs", split_digest="theirs", dtype="bfloat16"))
    assert command(on("mean", "--thresholds", theirs, run=run)) == 0


def test_results_of_another_run_are_not_reported(refused, run):
    for stage, file in (("prune", "prune.json"), ("evaluate", "evaluate-test.json")):
        assert command(on(stage)) == 0
        kept = (run / file).read_bytes()
        edit(run / file, lambda stored: stored["provenance"].update(tuned="other"))
        said = f"run/{file}: made for another tuned prompt (tuned other, run/tuned.safetensors has "
        refused(on("report"), said, f"'skn {stage} --overwrite'")
        (run / file).write_bytes(kept)


def test_permutation_tests_of_another_probe_are_not_reported(refused, run):
    file, other = run / "significance-test.safetensors", run / "significance-validation.safetensors"
    kept = file.read_bytes()
    said = "'skn probe --overwrite'"
    redescribe(file, of_another(tuned="other"))
    refused(on("report"), f"run/{file.name}: made for another tuned prompt (tuned other, run/tuned", said)
    file.write_bytes(kept)
    redescribe(file, of_another(dtype="bfloat16"))
    refused(on("report"), f"run/{file.name}: made for another dtype (dtype bfloat16, run/{other.name} has", said)
    shutil.copy(other, file)
    refused(on("report"), f"run/{file.name}: holds the tests of validation at the read-out prompt, expected test", said)
    file.write_bytes(kept)
    assert command(on("report")) == 0


def test_a_model_that_was_pruned_from_another_run_is_evaluated_on_request_alone(refused, run):
    assert command(on("prune")) == 0
    mark = folders.read_mark(run / "pruned")
    mark.about["provenance"]["tuned"] = "other"
    folders.mark(run / "pruned", mark.of, mark.files, mark.about)
    said = "run/pruned: made for another tuned prompt (tuned other, run/tuned.safetensors has "
    refused(
        on("evaluate"), said, "'skn prune --overwrite' makes it again, --model run/pruned evaluates it all the same"
    )
    assert command(on("evaluate", "--model", run / "pruned")) == 0


def test_one_run_is_no_two_seeds(refused, run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    for other in ("run", "copy"):
        for beside in ("--run", "--with"):
            said = f"{other}/hits-validation.safetensors: of the same run as run/hits-validation.safetensors"
            refused(["select", "--run", "run", beside, other, "--overwrite"], said, "give each run once")


@pytest.mark.parametrize("name", ["neurons", "hits-test", "accuracy-validation", "significance-test", "moments"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_is_not_taken_for_missing(refused, run, name, make):
    file = run / f"{name}.safetensors"
    file.unlink()
    make(file)
    stage = on("select") if name == "moments" else on("report")
    refused(stage, f"run/{name}.safetensors: ")
