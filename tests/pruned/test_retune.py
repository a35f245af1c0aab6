"""After pruning: what the model reaches beside guessing, and its prompt tuned again for the neurons that are left."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from refusals import command
from spoiled import on

import skn
from skn.errors import InputError
from skn.inference.measures import Score, majority
from skn.pruned.retune import Standing
from skn.training.outcome import TrainResult


@pytest.fixture
def loaded(run):
    return skn.open_run(run)


def test_a_model_that_says_one_class_does_not_beat_guessing():
    label = torch.tensor([0] * 60 + [1] * 40)
    one_class = Score.of(torch.tensor([[1.0, 0.0]]).expand(100, 2), label)
    assert one_class.accuracy == majority(label) == 0.6 and not one_class.beats(0.6)
    right = Score.of(torch.nn.functional.one_hot(label, 2).float(), label)
    assert right.beats(0.6) and right.auc == 1.0
    assert "no better than the larger class alone (0.6000): tune its prompt again with --retune 3" in Standing(
        0.6, one_class
    ).advice(3)
    assert "tune longer, or keep more neurons" in Standing(0.6, one_class, one_class).advice(3)
    assert "0.6000 on validation, not clearly better than the larger class alone" in Standing(0.55, one_class).advice(3)
    assert Standing(0.6, one_class, right).advice(3) is None


def test_tuning_again_changes_the_prompt_alone_and_never_for_the_worse(loaded):
    cut = skn.prune(loaded, fraction=0.5)
    before = {name: tensor.clone() for name, tensor in cut.state_dict().items()}
    tuned = skn.prune(loaded, fraction=0.5, retune=4)
    after = tuned.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} <= {"prompt"}
    scores = [skn.evaluate(loaded, model, "validation").models[1]["accuracy"] for model in (cut, tuned)]
    assert scores[1] >= scores[0]
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_the_command_says_and_keeps_both(run, capsys, caplog, quiet_exit):
    with caplog.at_level(logging.INFO):
        assert command([*on("prune", run=run), "--retune", 2]) == 0
    shown = capsys.readouterr().out
    assert "After pruning, on validation" in shown and "tuned again" in shown and "the larger class alone" in shown
    stands = json.loads((run / "prune.json").read_text())["validation"]
    assert stands["retuned"]["accuracy"] >= stands["pruned"]["accuracy"]
    assert f"{stands['retuned']['accuracy']:.4f}" in (run / "pruned" / "README.md").read_text()
    assert command([*on("prune", run=run), "--overwrite"]) == 0
    assert json.loads((run / "prune.json").read_text())["validation"]["retuned"] is None


@pytest.mark.parametrize("rising", [True, False])
def test_a_tuning_that_still_rose_says_so(loaded, monkeypatch, caplog, rising):
    monkeypatch.setattr(TrainResult, "was_rising", rising)
    monkeypatch.setattr(Score, "beats", lambda *_: True)
    with caplog.at_level(logging.INFO):
        skn.prune(loaded, fraction=0.5, retune=1)
    assert ("more may help (--retune 2)" in caplog.text) == rising


def test_what_cannot_be_tuned_again(loaded, refused, runs):
    with pytest.raises(InputError, match="a number of epochs, 1 or more"):
        skn.prune(loaded, fraction=0.5, retune=0)
    alone = skn.open_run(runs(prompt_length=1))
    with pytest.raises(InputError, match="tunes a prompt, and this run has the mask alone"):
        skn.prune(alone, fraction=0.5, retune=1)


def test_the_tokenizer_of_the_run_stays_as_it_is(loaded, tmp_path):
    before = loaded.tokenizer.model_max_length
    skn.prune(loaded, fraction=0.5, out=tmp_path / "pruned")
    assert loaded.tokenizer.model_max_length == before
