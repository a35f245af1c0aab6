"""The engine of the validation passes: the one of the other stages, and the training goes on as if nothing had run."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from trainings import evaluations, stored

from skn import ops
from skn.inference.engine import predict
from skn.model.backbone import Backbone
from skn.ops import native
from skn.runs.prepare import TrainRequest
from skn.runs.run import Run
from skn.stages.train import resume, train
from skn.training import checkpoints, losses
from skn.training import trainer as training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def library():
    if native.isa() is None:
        pytest.skip("no native library")


def trained_by(engine: str | None, request: TrainRequest, out, monkeypatch) -> Run:
    with monkeypatch.context() as patch:
        if engine is not None:
            patch.setattr(training, "choose_engine", lambda _: engine)
        return train(request, out)


@pytest.mark.parametrize("family, method", [("roberta", "prompt"), ("roberta", "bitfit"), ("bert-headless", "prompt")])
def test_a_training_is_that_of_the_plain_forward(request_for, tmp_path, monkeypatch, family, method):
    """Losses are equal to the bit: an evaluation leaves no trace in the later steps."""
    runs = [trained_by(e, request_for(family, method), tmp_path / str(e), monkeypatch) for e in (None, "hf")]
    fast, plain = runs
    assert (fast.training.pop("engine"), plain.training.pop("engine")) == ("fast", "hf")
    assert fast.training == plain.training
    assert fast.tuned_file.read_bytes() == plain.tuned_file.read_bytes()


@pytest.mark.parametrize("family, method", [("roberta", "prompt"), ("roberta", "bitfit"), ("roberta", "adapter")])
def test_a_training_is_that_of_all_positions(request_for, tmp_path, monkeypatch, family, method):
    """As older versions trained: equal up to float error."""
    short = train(request_for(family, method), tmp_path / "short")
    monkeypatch.setattr(losses, "differentiable_hidden", lambda b, batch: batch.at_scored(b.last_hidden(batch)))
    whole = trained_by("hf", request_for(family, method), tmp_path / "whole", monkeypatch)
    for name in ("best_step", "best_accuracy"):
        assert short.training[name] == whole.training[name]
    assert evaluations(short) == evaluations(whole)
    tensors = stored(whole)
    for name, tensor in stored(short).items():
        if name.endswith("key.bias"):  # no score depends on it: its gradient is rounding, which Adam scales up
            continue
        torch.testing.assert_close(tensor, tensors[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "family, options, engine",
    [("gpt2", {}, "hf"), ("roberta", {"method": "adapter"}, "hf"), ("roberta", {}, "fast")],
)
def test_a_run_says_the_engine_that_evaluate_would_take(request_for, tmp_path, family, options, engine):
    run = train(request_for(family, epochs=0, **options), tmp_path / "run")
    assert run.training["engine"] == engine == run.load().provenance["engine"]


def _state() -> list:
    _, keys, *numbers = np.random.get_state()
    return [torch.get_rng_state().tolist(), random.getstate(), keys.tolist(), numbers, torch.is_grad_enabled()]


@pytest.mark.parametrize("method, packings", [("prompt", 1), ("bitfit", 5)])
def test_an_evaluation_reads_the_current_parameters(request_for, tmp_path, monkeypatch, method, packings):
    """And packs the matrices once, or for biases that changed, once in an evaluation."""
    found, packed = [], []

    def watched(model, encoded, **options):
        before = _state(), [(m, m.training) for m in (*model.modules(), *model.backbone.model.modules())]
        logits = predict(model, encoded, **options)
        assert before == (_state(), [(m, m.training) for m, _ in before[1]])
        assert not any(p.is_inference() for p in model.parameters())
        counted = len(packed)
        found.append((logits, predict(model, encoded, engine="hf")))
        del packed[counted:]
        return logits

    pack = ops.pack
    monkeypatch.setattr(ops, "pack", lambda *arguments: packed.append(1) or pack(*arguments))
    monkeypatch.setattr(training, "predict", watched)
    train(request_for("roberta", method), tmp_path / "run")
    assert len(found) == 5
    for fast, plain in found:
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
        assert not torch.equal(fast, plain)
    assert (found[0][0] - found[-1][0]).abs().max() > 1e-2
    matrices = 6 * len(Backbone.load(request_for().backbone).ffn_sites)
    assert matrices <= len(packed) <= packings * matrices


@pytest.mark.parametrize(
    "begun, older, resumed, told",
    [("hf", True, "fast", True), ("fast", False, "hf", True), ("fast", False, "fast", False)],
)
def test_another_engine_after_a_resume_is_told(request_for, tmp_path, monkeypatch, caplog, begun, older, resumed, told):
    """A checkpoint of an older version names no engine: it was the Hugging Face forward."""
    write = checkpoints.write

    def killed(folder, step, tensors, progress, state):
        if step == 12:
            raise KeyboardInterrupt
        if older:
            del progress["engine"]
        write(folder, step, tensors, progress, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            trained_by(begun, request_for(), tmp_path / "run", monkeypatch)
    monkeypatch.setattr(training, "choose_engine", lambda _: resumed)
    run = resume(tmp_path / "run")
    assert run.training["engine"] == resumed
    line = f"step-00000008: the engine {begun} made the evaluations so far, {resumed} makes the later ones"
    assert (line in caplog.text) == told
