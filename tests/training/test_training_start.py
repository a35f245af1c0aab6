"""A training that starts from another run's prompt, or from an imported one."""

from __future__ import annotations

import pytest
import torch
from trainings import same, stored

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.runs.run import Run
from skn.stages.train import train
from skn.store import artifacts

pytestmark = pytest.mark.usefixtures("one_thread")


def test_start_from_another_run(request_for, tmp_path):
    first = train(request_for(prompt_length=6), tmp_path / "first")
    second = train(request_for(prompt_length=None, epochs=0, seed=5, init_from=str(first.path)), tmp_path / "second")
    assert second.config.prompt_length == 6
    assert same(stored(second), stored(first))
    assert second.training["best_accuracy"] == first.training["best_accuracy"]
    with pytest.raises(InputError, match="holds a prompt of 6"):
        train(request_for(prompt_length=5, init_from=str(first.path)), tmp_path / "third")
    with pytest.raises(InputError, match="holds a prompt run"):
        train(request_for(method="adapter", init_from=str(first.path)), tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_start_from_gpt2(request_for, tmp_path):
    first = train(request_for("gpt2"), tmp_path / "first")
    second = train(request_for("gpt2", prompt_length=None, epochs=0, init_from=str(first.path)), tmp_path / "second")
    assert second.config.prompt_length == 4 and same(stored(second), stored(first))


@pytest.fixture
def imported(tmp_path):
    """A prompt of other code, as ``skn import`` writes it: positions from 0, no mask embedding."""
    prompt = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    tensors = {"prompt": prompt, "label_ids": torch.tensor([1, 2])}
    return artifacts.save(tmp_path / "imported", "tuned", tensors, {}, method="prompt", position_start=0), prompt


@pytest.mark.parametrize("epochs", [0, 1])
def test_start_from_an_imported_file(request_for, imported, tmp_path, monkeypatch, epochs):
    file, prompt = imported
    seen = []
    assemble = Backbone.assemble

    def watched(*arguments):
        seen.append(assemble(*arguments))
        return seen[-1]

    monkeypatch.setattr(Backbone, "assemble", watched)
    run = train(request_for(prompt_length=None, epochs=epochs, init_from=str(file)), tmp_path / "run")
    assert run.config.prompt_length == 5
    assert seen and all(batch.position_ids[0].tolist() == list(range(batch.inputs_embeds.shape[1])) for batch in seen)
    assert torch.equal(seen[0].inputs_embeds[0, 1:5], prompt)
    found = artifacts.load(run.tuned_file, "tuned")
    assert found.meta["position_start"] == 0 and found["label_ids"].tolist() != [1, 2]
    assert epochs or torch.equal(found["prompt"], prompt)

    # Every later stage keeps to it, and it makes a difference.
    model = Run.open(run.path).load().model
    ids = torch.arange(40, 58).reshape(2, 9)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        ours = model.backbone.last_hidden(model.assemble(ids, mask))
        usual = model.backbone.last_hidden(model.backbone.assemble(model.prompt_rows(), ids, mask))
    assert model.position_start == 0 and model.backbone.position_start == 2
    assert (ours - usual).abs().max() > 0.01


def test_label_words_that_nobody_gave_are_those_of_the_first_run_or_told(request_for, tmp_path, caplog):
    caplog.set_level("INFO")
    first = train(
        request_for(words=["positive", "negative"], class_names=["bad", "good"], epochs=0), tmp_path / "first"
    )
    assert "label words by" not in caplog.text and "label words as" not in caplog.text
    options = {"prompt_length": None, "epochs": 0, "words": None, "init_from": str(first.path)}
    again = train(request_for(**options), tmp_path / "again")
    assert again.config.label_words == ["positive", "negative"] and again.config.class_names == ["bad", "good"]
    assert f"label words as in {first.path}: 'positive' for 0, 'negative' for 1 (--verbalizer" in caplog.text
    file = artifacts.load(first.tuned_file, "tuned")
    artifacts.save(first.tuned_file, "tuned", file.tensors, file.provenance, **{**file.meta, "classes": ["x", "y"]})
    elsewhere = train(request_for(**options), tmp_path / "elsewhere")
    assert elsewhere.config.label_words == ["negative", "positive"]
    assert "label words by default: 'negative' for 0, 'positive' for 1" in caplog.text
