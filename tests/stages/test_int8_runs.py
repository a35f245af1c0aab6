"""Runs in int8: commands and the Python face compute in it, say so, and refuse what needs plain weights."""

import json
import logging
import shutil

import pytest
from int8_models import WORDS, off
from refusals import command

import skn
from skn.errors import InputError
from skn.inference.engine import predict
from skn.int8 import convert
from skn.pruned.folder import load_pruned


def test_a_run_opens_in_int8(int8_run, caplog):
    run = skn.open_run(int8_run, dtype="int8")
    assert run.model.backbone.int8 and run.provenance["dtype"] == "int8"
    plain = predict(skn.open_run(int8_run).model, run.encoded("validation"))
    assert 0 < off(predict(run.model, run.encoded("validation")), plain) < 0.1
    with caplog.at_level(logging.INFO, logger="skn"):
        assert "int8" in repr(skn.probe(run))
    assert "activations of a quantized model" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="skn"):
        skn.activate(run, (0, 3), split="validation")
    assert "activations of a quantized model" in caplog.text
    with pytest.raises(InputError, match="a mask needs the model as it was trained"):
        skn.mask(run, skn.rank(skn.probe(run)), fractions=[0.1])
    with pytest.raises(InputError, match="no plain weights now"):
        skn.prune(run, skn.rank(skn.probe(run)), count=3)


def test_commands(int8_run, tmp_path, capsys, quiet_exit):
    out = tmp_path / "pruned"
    told = {"--run": int8_run, "--count": 12, "--out": out}
    assert command(["prune", *(part for pair in told.items() for part in pair), "--int8", "--no-plain"]) == 0
    assert "In int8, on validation" in capsys.readouterr().out
    stored = json.loads((int8_run / "prune.json").read_text())["int8"]
    assert stored["same_labels"] > 0.9 and not stored["plain"]
    assert load_pruned(out).config.int8 and "int8, float32 around them" in (out / "README.md").read_text()
    assert command(["evaluate", "--run", int8_run, "--model", out, "--dtype", "int8"]) == 0
    document = json.loads((int8_run / "evaluate-test.json").read_text())
    assert document["dtype"] == "int8" and [m["engine"] for m in document["models"]] == ["fast", "fast"]
    assert command(["evaluate", "--run", int8_run, "--model", out, "--name", "beside"]) == 0
    document = json.loads((int8_run / "evaluate-test-beside.json").read_text())
    assert [m["name"] for m in document["models"]] == ["full", "pruned (in int8)"]
    assert command(["predict", "--model", out, "--text", "a dull film", "--dtype", "int8"]) == 0


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["prune", "--count", "3", "--no-plain"], "--no-plain: leaves the plain weights out of a folder with --int8"),
        (["prune", "--count", "3", "--int8", "--onnx"], "leave one of --int8 and --onnx out"),
    ],
)
def test_commands_that_need_plain_weights(int8_run, refused, arguments, phrase):
    refused([arguments[0], "--run", int8_run, *arguments[1:]], phrase)


def test_a_mask_in_int8_is_refused_before_the_calibration(int8_run, refused, monkeypatch):
    monkeypatch.setattr(convert, "convert", lambda *_: pytest.fail("the run was calibrated"))
    refused(["mask", "--run", int8_run, "--dtype", "int8", "--fraction", "0.1"], "a mask needs the model as it was")


def test_a_prediction_in_int8_needs_the_data_of_the_run(tiny, corpus_folder, tmp_path, refused):
    data = shutil.copytree(corpus_folder, tmp_path / "data")
    skn.tune(tiny("roberta"), skn.load_data(data), WORDS, prompt_length=4, epochs=0, out=tmp_path / "run")
    shutil.rmtree(data)
    asked = ["predict", "--run", tmp_path / "run", "--text", "a dull film", "--dtype", "int8"]
    refused(asked, "is not there; --dtype int8 is calibrated on it: put it back, or leave the option out")


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["activate"], "it is calibrated for one prompt, and each cell has its own"),
        (["mask", "--sets", "sets"], "a mask needs the model as it was trained"),
    ],
)
def test_a_sweep_in_int8_is_refused(tmp_path, refused, arguments, phrase):
    for folder in ("sweep", "sets"):
        (tmp_path / folder).mkdir()
    refused([*arguments, "--sweep", "sweep", "--dtype", "int8"], phrase)
