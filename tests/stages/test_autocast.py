"""``--autocast``: the steps compute products in bfloat16, everything else stays in float32; in one run and in sweeps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from refusals import command
from trainings import evaluations, fresh, part, same, stored

import skn
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.runs.prepare import prepare
from skn.runs.run import Run
from skn.runs.sweep import Sweep
from skn.runs.train_cells import request_of
from skn.stages.train import resume, train
from skn.store import artifacts, documents
from skn.training import checkpoints
from skn.training.losses import losses
from skn.training.settings import TrainSettings
from skn.training.steps import Steps

pytestmark = pytest.mark.usefixtures("one_thread")


def test_products_are_in_bfloat16_and_the_rest_is_in_float32(tiny):
    backbone = Backbone.load(str(tiny("roberta")))
    seen, layer = {}, backbone.base.encoder.layer[0]
    for name in ("attention.self.query", "intermediate.dense", "output.LayerNorm", "output"):
        layer.get_submodule(name).register_forward_hook(lambda _m, _i, out, n=name: seen.__setitem__(n, out.dtype))
    plain = part(fresh(backbone), [9, 7, 3])
    (expected,) = losses([plain])
    assert set(seen.values()) == {torch.float32}
    under = replace(plain, autocast=True)
    (found,) = losses([under])
    assert seen == {
        "attention.self.query": torch.bfloat16, "intermediate.dense": torch.bfloat16,
        "output.LayerNorm": torch.float32, "output": torch.float32,
    }  # fmt: skip
    assert found.dtype == torch.float32 and 0 < (found - expected).abs() < 0.02
    Steps().losses([under])
    assert plain.model.prompt.grad.dtype == torch.float32 and plain.model.prompt.grad.abs().max() > 0
    with torch.autocast("cpu", torch.bfloat16):  # of a caller: the setting decides
        assert torch.equal(losses([plain])[0], expected)


def killed_at(step: int, patch: pytest.MonkeyPatch) -> None:
    write = checkpoints.write

    def killed(folder, now, *content):
        if now == step:
            raise KeyboardInterrupt
        return write(folder, now, *content)

    patch.setattr(checkpoints, "write", killed)


def test_a_run_says_so_learns_and_resumes_to_the_same_bytes(request_for, tmp_path, capsys):
    train(request_for(), tmp_path / "plain")
    train(request_for(autocast=True), tmp_path / "run")
    assert "(prompt, float32, autocast)" in capsys.readouterr().out
    plain, run = Run.open(tmp_path / "plain"), Run.open(tmp_path / "run")
    assert run.config.autocast and artifacts.load(run.tuned_file, "tuned").provenance["autocast"] is True
    assert not plain.config.autocast and "autocast" not in artifacts.load(plain.tuned_file, "tuned").provenance
    ends = [[entry["loss"] for entry in made.training["history"] if "loss" in entry][-1] for made in (plain, run)]
    assert ends[0] == pytest.approx(ends[1], abs=0.05) and not same(stored(plain), stored(run))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(12, patch)
        train(request_for(autocast=True), tmp_path / "killed")
    resume(tmp_path / "killed")
    again = Run.open(tmp_path / "killed")
    assert same(stored(again), stored(run)) and evaluations(again) == evaluations(run)


def test_a_run_of_before_opens_and_resumes_without(request_for, tmp_path, refused):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(12, patch)
        train(request_for(), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    stands = json.loads(file.read_text())
    config = {name: value for name, value in stands["config"].items() if name != "autocast"}
    assert len(config) == len(stands["config"]) - 1
    documents.write(file, "run", {"config": config, "training": None})
    refused(["train", "--resume", "--autocast", "--out", file.parent], "started with no --autocast")
    resume(file.parent)
    assert Run.open(file.parent).config.autocast is False


def test_what_has_no_autocast_refuses_it(request_for):
    with pytest.raises(
        InputError, match="autocast=True: goes with dtype=.float32.; in bfloat16 the steps compute in it"
    ):
        prepare(request_for(autocast=True, dtype="bfloat16"))
    template = {"method": "template", "template": "{text} It was {mask}.", "prompt_length": None}
    with pytest.raises(InputError, match="autocast=True: a template tunes nothing"):
        prepare(replace(request_for(), **template, **vars(TrainSettings(autocast=True))))


@pytest.mark.parametrize("method", ["bitfit", "adapter"])
def test_biases_and_adapters_learn_under_it(tiny, corpus_folder, method):
    data = skn.load_data(str(corpus_folder))
    run = skn.tune(tiny("roberta"), data, method=method, epochs=1, batch_size=80, autocast=True)
    assert all(tensor.isfinite().all() for tensor in run.model.tuned_tensors().values())


def test_a_sweep_has_it_together_and_alone(sweep_arguments, tmp_path, monkeypatch, quiet_exit):
    given = ["--tasks", "goemotions/joy", "--epochs", 1, "--autocast"]
    made = []
    for name, together in (("alone", 1), ("together", 2)):
        assert command(sweep_arguments(tmp_path / name, *given, "--together", together)) == 0
        sweep = Sweep.open(tmp_path / name)
        assert sweep.settings["autocast"] is True
        made.append([sweep.run(cell) for cell in sweep.cells])
    for alone, together in zip(*made, strict=True):
        assert alone.config.autocast and together.config.autocast
        torch.testing.assert_close(stored(together), stored(alone), rtol=0, atol=0.02)
    before = replace(sweep, settings={name: value for name, value in sweep.settings.items() if name != "autocast"})
    assert not request_of(before, before.cells[0]).autocast  # as an older version wrote it
