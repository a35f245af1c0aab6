"""An exported model is the run's own model: over a full or a pruned backbone, whatever was tuned, to the last bit."""

from __future__ import annotations

import json

import pytest
import torch
from refusals import command
from transformers import AutoModelForSequenceClassification

import skn
from skn.inference.engine import predict
from skn.pruned.folder import load_pruned
from skn.pruned.pruning import full_count, parameter_count
from skn.store import folders

WORDS = ["negative", "positive"]
FAMILIES = ["roberta", "xlm-roberta", "bert", "bert-headless"]
HALF = [24, 24, 24]


@pytest.fixture(scope="module")
def data(corpus_folder):
    return skn.load_data(corpus_folder)


@pytest.fixture(scope="module")
def backbones(tiny, data, tmp_path_factory):
    """``backbones(family, kind)``: a backbone as a folder: full, pruned, or exported with adapters inside."""
    made = {}

    def build(family, kind):
        if kind == "full":
            return tiny(family)
        if (family, kind) not in made:
            run = tuned(tiny(family), data, "adapter" if kind == "adapters" else "prompt")
            folder = tmp_path_factory.mktemp(family) / kind
            if kind == "pruned":
                ranking = skn.rank(skn.probe(run))
                skn.prune(run, ranking, fraction=0.5, out=folder)
            else:
                skn.export(run, folder)
            made[family, kind] = folder
        return made[family, kind]

    return build


def tuned(backbone, data, method="prompt"):
    """A run in memory whose tuned tensors are far from their start."""
    length = 4 if method == "prompt" else 1
    run = skn.tune(backbone, data, WORDS, method=method, prompt_length=length, epochs=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return run


def assert_same_model(model, run):
    encoded = run.encoded("test")
    expected = predict(run.model, encoded)
    assert torch.equal(predict(model, encoded), expected) and expected.std(0).min() > 0
    torch.testing.assert_close(predict(model, encoded, engine=run.engine), expected, rtol=1e-5, atol=1e-5)
    assert full_count(run.model) == parameter_count(model)
    for own, exported in zip(run.model.backbone.ffn_sites, model.backbone.ffn_sites, strict=True):
        assert torch.equal(exported.neurons, own.neurons)


@pytest.mark.parametrize("kind", ["full", "pruned"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_answers_as_the_run(backbones, data, family, kind, tmp_path):
    run = tuned(backbones(family, kind), data)
    model = skn.export(run, tmp_path / "model")
    assert model.config.ffn_widths == ([48] * 3 if kind == "full" else HALF)
    assert_same_model(model, run)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert again.config.id2label == dict(enumerate(WORDS)) and type(again) is type(model)
    assert_same_model(again.eval(), run)


@pytest.mark.parametrize("method", ["bitfit", "adapter"])
@pytest.mark.parametrize("family, kind", [("roberta", "full"), ("bert-headless", "pruned")])
def test_biases_and_adapters_go_too(backbones, data, family, kind, method):
    run = tuned(backbones(family, kind), data, method)
    assert_same_model(skn.export(run), run)


def test_a_prompt_over_adapters(backbones, data):
    run = tuned(backbones("roberta", "adapters"), data)
    model = skn.export(run)
    assert model.config.adapter_bottleneck and len(model.adapters) == 3
    assert_same_model(model, run)


def test_it_is_independent_of_the_run(backbones, data):
    run = tuned(backbones("bert", "full"), data)
    encoded, model = run.encoded("test"), skn.export(run)
    before = predict(run.model, encoded)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(predict(run.model, encoded), before)


# ---- the folder ------------------------------------------------------------------------------------------------


def said(folder):
    return " ".join((folder / "README.md").read_text().split())


def test_the_card_says_what_it_is(backbones, data, tmp_path):
    full, over_pruned = (tuned(backbones("roberta", kind), data) for kind in ("full", "pruned"))
    for run, folder in ((full, tmp_path / "full"), (over_pruned, tmp_path / "narrow")):
        model = skn.export(run, folder)
        card, about = said(folder), folders.read_mark(folder).about
        accuracy = skn.evaluate(run, model, "validation").models[1]["accuracy"]
        assert about["validation"]["accuracy"] == pytest.approx(accuracy)
        assert f"Accuracy on validation: {accuracy:.4f} (95%: " in card and "the larger class alone: " in card
        assert "then exported by skn" in card and f"Parameters: {parameter_count(model):,}." in card
        assert "Classes: negative, positive. Label words: negative, positive. Word scores: LM head." in card
        assert "import skn" in card and "trust_remote_code" not in card
    first = full.provenance["backbone"]
    assert f"`{first}` tuned on" in said(tmp_path / "full") and "pruned" not in said(tmp_path / "full")
    narrow = said(tmp_path / "narrow")
    assert f"(made from `{first}`) tuned on" in narrow and "keep 24, 24, 24 of 48 feed-forward neurons" in narrow
    # The first backbone is named however many steps ago it was.
    skn.export(tuned(tmp_path / "narrow", data), tmp_path / "again")
    assert f"/narrow` (made from `{first}`) tuned on" in said(tmp_path / "again")


def test_the_command_and_what_takes_its_folder(runs, tmp_path, capsys, quiet_exit):
    run, out = runs("bert"), tmp_path / "model"
    capsys.readouterr()
    assert command(["export", "--run", run, "--out", out, "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    shown, about = dict(zip(table["columns"], table["rows"][0], strict=True)), folders.read_mark(out).about
    assert shown["accuracy on validation"] == about["validation"]["accuracy"] and shown["parameters"] > 40_000
    again = tmp_path / "again"
    options = ["--init-from", run, "--data", skn.open_run(run).data.spec.data, "--epochs", 0, "--out", again]
    assert command(["train", "--backbone", out, *options]) == 0
    assert_same_model(load_pruned(out), skn.open_run(again))
    assert command(["evaluate", "--run", again, "--model", out]) == 0
    models = json.loads((again / "evaluate-test.json").read_text())["models"]
    assert [m["name"] for m in models] == ["full", f"model (over {skn.open_run(run).provenance['backbone']})"]
    found = skn.predict(out, ["a dull film"])
    assert found.classes == WORDS
    torch.testing.assert_close(
        found.probabilities, skn.predict(skn.export(skn.open_run(run)), ["a dull film"]).probabilities
    )
    assert models[0]["accuracy"] == models[1]["accuracy"] and models[0]["parameters"] == models[1]["parameters"]


def test_onnx(runs, tmp_path, capsys, quiet_exit):
    assert command(["export", "--run", runs(), "--out", tmp_path / "model", "--onnx", "--portable"]) == 0
    assert "ONNX against PyTorch" in capsys.readouterr().out and (tmp_path / "model" / "model.onnx").is_file()
    assert folders.read_mark(tmp_path / "model").about["onnx"]["largest_difference"] < 1e-4


# ---- refusals --------------------------------------------------------------------------------------------------


def test_a_folder_in_the_way(run, refused, tmp_path):
    export = ["export", "--run", "run", "--out", "model"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    refused([*export, "--overwrite"], "model: is no exported model of skn", "will not be deleted")
    (tmp_path / "model" / "thesis.txt").unlink()
    assert command(export) == 0
    refused(export, "model: exists already; --overwrite replaces it")
    refused(["prune", "--run", "run", "--fraction", 0.5, "--out", "model", "--overwrite"], "model: is no pruned model")
    assert command([*export, "--portable", "--overwrite"]) == 0  # a portable folder is skn's, its code too
    assert command([*export, "--overwrite"]) == 0
    assert not list((tmp_path / "model").glob("*.py"))


def test_what_other_families_lack_is_refused(runs, refused, monkeypatch):
    export = ["export", "--run", runs("gpt2"), "--out", "model"]
    refused([*export, "--portable"], "--portable: a PrunedGPT2ForPromptClassification needs skn where it is loaded")
    monkeypatch.setattr("skn.pruned.onnx_export.PACKAGES", ())
    refused([*export, "--onnx"], "--onnx: writes models of RoBERTa, BERT, ELECTRA and DistilBERT, not")
    refused([*export, "--int8"], "--int8: ")


def test_a_changed_file_is_refused(backbones, data, tmp_path):
    skn.export(tuned(backbones("roberta", "full"), data), tmp_path / "model", portable=True)
    load_pruned(tmp_path / "model")
    (tmp_path / "model" / "modeling_skn.py").write_text("import os")
    with pytest.raises(skn.InputError, match="model/modeling_skn.py: not what skn wrote there"):
        load_pruned(tmp_path / "model")
