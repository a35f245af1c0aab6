"""What is resumed is what was begun: halves of two computations never stand in one file, nor in two that are read together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from refusals import command
from spoiled import on

import skn
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.probed import stored_hits
from skn.runs.run import Run
from skn.store import artifacts

RANKED_AGAIN = "'skn select --overwrite' ranks them by what was probed last"


def interrupted(run: Path, monkeypatch, *options) -> None:
    """A probe that ends after the moments, as of a kill."""
    monkeypatch.setattr("skn.neurons.probe.probe_hits", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(["probe", "--run", run, "--overwrite", *options]) == 130
    monkeypatch.undo()


@pytest.mark.parametrize(
    "options, named",
    [
        (["--dtype", "bfloat16"], "dtype bfloat16, not float32"),
        (["--engine", "hf"], "engine hf, not fast"),
    ],
)
def test_a_probe_goes_on_as_it_was_begun(run, monkeypatch, capsys, quiet_exit, options, named):
    interrupted(run, monkeypatch, *options)
    assert not list(run.glob("hits-*")) and not list(run.glob("accuracy-*"))  # they were of other moments
    moments = (run / "moments.safetensors").read_bytes()
    capsys.readouterr()
    assert command(["probe", "--run", run, "--resume"]) == 2
    line = capsys.readouterr().err
    assert f"moments.safetensors was started with {named}; say what it was started with" in line
    assert command(["probe", "--run", run, "--resume", *options]) == 0
    whole = {file.name: file.read_bytes() for file in run.glob("*.safetensors")}
    assert command(["probe", "--run", run, "--overwrite", *options]) == 0
    assert whole["moments.safetensors"] == moments
    assert {file.name: file.read_bytes() for file in run.glob("*.safetensors")} == whole


@pytest.mark.parametrize("name", ["hits-test", "accuracy-test", "hits-validation"])
def test_a_probe_makes_again_what_was_deleted(run, quiet_exit, name):
    whole = {file.name: file.read_bytes() for file in run.glob("*.safetensors")}
    (run / f"{name}.safetensors").unlink()
    assert command(["probe", "--run", run, "--resume"]) == 0
    assert {file.name: file.read_bytes() for file in run.glob("*.safetensors")} == whole


def test_moments_stand_beside_hits_of_their_own_dtype(refused, run, tmp_path):
    """As an older version left them: new moments, old hits; whoever reads both or what was made of both refuses."""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    assert command(["probe", "--run", other, "--overwrite", "--dtype", "bfloat16"]) == 0
    shutil.copy(other / "moments.safetensors", run / "moments.safetensors")
    refused(["probe", "--run", "run", "--resume"], "moments.safetensors was started with dtype bfloat16, not float32")
    mixed = "(dtype bfloat16, run/hits-validation.safetensors has float32)", "--overwrite --run run' makes them alike"
    refused(on("select"), "run/moments.safetensors: made for another dtype", *mixed)
    for stage in ("mean", "prune"):
        refused(on(stage), "neurons.safetensors: made for another dtype (dtype float32,", RANKED_AGAIN)
    shutil.copy(other / "hits-test.safetensors", run / "hits-test.safetensors")
    shutil.copy(tmp_path / "other" / "moments.safetensors", run / "moments.safetensors")
    (run / "moments.safetensors").unlink()
    refused(on("select"), "hits-test.safetensors: made for another dtype", "has float32")


OF_ANOTHER_SEED = {
    "moments": ("mean", "this run", "make it again with 'skn probe --overwrite'"),
    "hits-validation": ("select", "run/tuned.safetensors", "make it again with 'skn probe --overwrite'"),
    "tuned": ("mask", "run/run.json", "put this run's own back"),
}


@pytest.mark.parametrize("kind", OF_ANOTHER_SEED)
def test_files_of_another_seed_are_of_another_run(refused, run, tiny, corpus_folder, tmp_path, kind):
    """Same backbone, same shape, another prompt: the digest of the tuned tensors tells."""
    train = ["train", "--backbone", tiny("roberta"), "--data", corpus_folder, "--out", tmp_path / "other"]
    assert command([*train, "--epochs", 0, "--prompt-length", 4, "--seed", 5]) == 0
    assert command(["probe", "--run", tmp_path / "other"]) == 0
    shutil.copy(tmp_path / "other" / f"{kind}.safetensors", run / f"{kind}.safetensors")
    stage, where, way_out = OF_ANOTHER_SEED[kind]
    refused(on(stage), f"{kind}.safetensors: made for another seed (seed 5, {where} has 0)", way_out)


def test_a_finished_probe_knows_the_models_accuracy(run):
    opened = skn.open_run(run)
    fresh, again = skn.probe(opened), skn.probe(opened, out=run, resume=True)
    for split in ("validation", "test"):
        for by in ("predictivity", "plain"):
            assert again.model_accuracy(split, by) == fresh.model_accuracy(split, by)
    assert again.table().written() == fresh.table().written()
    kept = stored_hits(artifacts.load(run / "hits-test.safetensors", "hits"))
    assert kept.near == fresh.hits["test", "prompt"].near.sum()


# ---- masks -------------------------------------------------------------------------------------------------------


def masked(run: Path, *options, fraction=0.1) -> dict:
    assert command(["mask", "--run", run, "--fraction", fraction, "--controls", 2, *options]) == 0
    return json.loads((run / "mask-zero.json").read_text())


def test_rows_of_other_settings_are_not_gone_on_with(refused, run, tmp_path):
    masked(run)
    ask = [*on("mask"), "--resume", "--controls"]
    refused([*ask, 3], "mask-zero.json was started with controls 2, not 3; ", "--overwrite begins anew")
    refused([*ask, 2, "--seed", 1], "started with seed 0, not 1;")
    refused([*ask, 2, "--dtype", "bfloat16"], "started with run's dtype float32, not bfloat16;")
    ranking = NeuronSets.load(
        run / "neurons.safetensors", skn.open_run(run).provenance, Run.open(run).probe("test").present
    )
    turned = NeuronSets(rank=47 - ranking.rank, provenance=ranking.provenance, path=ranking.path)
    turned.save(run / "neurons.safetensors")
    refused([*ask, 2], f"started with digest of the neurons {ranking.digest}, not {turned.digest};")


def test_rows_of_another_run_are_not_gone_on_with(refused, run, tiny, corpus_folder, tmp_path):
    train = ["train", "--backbone", tiny("roberta"), "--data", corpus_folder, "--out", tmp_path / "other"]
    assert command([*train, "--epochs", 0, "--prompt-length", 4, "--seed", 5]) == 0
    masked(run)
    shutil.copy(run / "mask-zero.json", tmp_path / "other")
    arguments = [*on("mask", run="other"), "--neurons", "run/neurons.safetensors", "--controls", 2, "--resume"]
    refused(arguments, "other/mask-zero.json was started with run's seed 0, not 5 and run's tuned ")


def test_finished_rows_stay(run, tmp_path, monkeypatch):
    first = masked(run)
    moved = shutil.copy(run / "neurons.safetensors", tmp_path / "moved.safetensors")  # the same set, elsewhere
    both = masked(run, "--resume", "--neurons", moved, fraction=0.3)
    assert [row["fraction"] for row in both["rows"]] == [0.1, 0.3] and both["rows"][0] == first["rows"][0]
    # Interrupted between two rows: what is finished further on stays too, and the end is that of one command.
    rows = []
    monkeypatch.setattr("skn.neurons.mask._row", lambda *_: rows.append(1) or (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(["mask", "--run", run, "--fraction", "0.0:0.3:0.1", "--controls", 2, "--resume"]) == 130
    monkeypatch.undo()
    stands = json.loads((run / "mask-zero.json").read_text())["rows"]
    assert rows and {row["fraction"] for row in stands} == {0.1, 0.3}
    resumed = masked(run, "--resume", fraction="0.0:0.3:0.1")
    assert resumed["rows"] == masked(run, "--overwrite", fraction="0.0:0.3:0.1")["rows"]


def test_the_python_face_keeps_finished_rows_too(run):
    opened, out = skn.open_run(run), run / "rows.json"
    skn.mask(opened, fractions=[0.1], controls=1, out=out)
    table = skn.mask(opened, fractions=[0.0, 0.2], controls=1, out=out, resume=True)
    assert [row["fraction"] for row in table.rows] == [0.1, 0.0, 0.2]
    assert json.loads(out.read_text())["rows"] == table.rows
