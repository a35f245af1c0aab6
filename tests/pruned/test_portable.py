"""A portable folder: its own Python files are the model where skn is not installed, and answer as skn's classes do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from edited_folders import copied
from pruned_models import TEXTS, pruned
from refusals import command
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, pipeline

import skn
from skn.inference.engine import predict
from skn.model import portable
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.pruned.modeling import CODE, make_portable
from skn.pruned.pruning import prune

FAMILIES = ["roberta", "bert", "bert-headless", "adapters"]
LONG = "the film is funny and good " * 40

WITHOUT_SKN = """
import json, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "skn":
            raise ModuleNotFoundError("No module named 'skn'", name="skn")

sys.meta_path.insert(0, Nothing())
try:
    import skn
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("skn is here")

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline

place, names, texts, long = json.loads(sys.argv[1])
said = {}
for name in names:
    folder, trusting = f"{place}/{name}", {"trust_remote_code": True}
    model = AutoModelForSequenceClassification.from_pretrained(folder, **trusting).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, **trusting)
    given = {side: tokenizer(texts, padding=True, padding_side=side, return_tensors="pt") for side in ("right", "left")}
    masked = AutoModelForMaskedLM.from_pretrained(folder, **trusting).eval()
    with torch.no_grad():
        found = {side: model(**inputs).logits for side, inputs in given.items()}
        found["long"] = model(**tokenizer([long, texts[0]], padding=True, return_tensors="pt")).logits
        found["words"] = masked(**given["right"]).logits
        if name != "adapters":
            encoder = AutoModel.from_pretrained(folder, **trusting).eval()
            found["encoder"] = encoder(**given["right"]).last_hidden_state
    model.train()
    model(**given["right"], labels=torch.zeros(len(texts), dtype=torch.int64)).loss.backward()
    found["gradient"] = model.prompt.grad
    model.save_pretrained(f"{place}/{name}-again")
    tokenizer.save_pretrained(f"{place}/{name}-again")
    save_file(found, f"{place}/{name}.safetensors")
    said[name] = pipeline("text-classification", folder, **trusting)([*texts, long])
try:
    AutoModelForSequenceClassification.from_pretrained(f"{place}/damaged", trust_remote_code=True)
except ValueError as error:
    said["damaged"] = str(error)
print(json.dumps(said))
"""


def made(tiny, name):
    """A portable model and its tokenizer."""
    model, _, tokenizer = pruned(tiny("roberta" if name == "adapters" else name))
    if name == "adapters":
        backbone = Backbone.load(str(tiny("roberta")))
        tuned = TunedModel.fresh(backbone, [7, 200], tokenizer.mask_token_id, 1, "adapter").requires_grad_(False)
        for parameter in tuned.extra.parameters():
            parameter.add_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        model = prune(tuned, backbone.present, torch.zeros(3, 48, dtype=torch.float64), ["bad", "good"])
    make_portable(model)
    return model, tokenizer


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory) -> Path:
    """Portable folders by name, and beside each what a process without skn made of it."""
    place = tmp_path_factory.mktemp("portable")
    for name in FAMILIES:
        model, tokenizer = made(tiny, name)
        model.save_pretrained(place / name)
        tokenizer.model_max_length = model.backbone.max_positions - model.prompt_length
        tokenizer.save_pretrained(place / name)
    copied(place / "roberta", place / "damaged", lambda tensors: tensors.pop("prompt"))
    environment = os.environ | {"HF_MODULES_CACHE": str(place / "modules"), "HF_HUB_OFFLINE": "1"}
    asked = json.dumps([str(place), FAMILIES, TEXTS, LONG])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SKN, asked], env=environment, capture_output=True, text=True, cwd=place
    )
    assert done.returncode == 0, done.stderr
    (place / "said.json").write_text(done.stdout.splitlines()[-1])
    return place


@pytest.fixture(params=FAMILIES)
def both(request, place):
    """The folder's model by skn's classes, its tokenizer, and what the process without skn found."""
    folder = place / request.param
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert type(model).__module__ == "skn.pruned.modeling"
    return folder, model, load_file(place / f"{request.param}.safetensors")


def test_logits_without_skn(both, place):
    folder, model, found = both
    classify = pipeline("text-classification", str(folder))
    given = classify.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(found["right"], model(**given).logits.detach())  # by the same modules
    with torch.inference_mode():  # by the operator, where it serves
        for answer in (model(**given).logits, found["left"]):
            torch.testing.assert_close(answer, found["right"], rtol=1e-5, atol=1e-5)
        long = model(**classify.tokenizer([LONG, TEXTS[0]], padding=True, return_tensors="pt")).logits
    torch.testing.assert_close(found["long"], long, rtol=1e-5, atol=1e-5)
    said = json.loads((place / "said.json").read_text())[folder.name]
    for own, other in zip(classify([*TEXTS, LONG]), said, strict=True):
        assert other == {"label": own["label"], "score": pytest.approx(own["score"], abs=1e-5)}


def test_masked_lm_encoder_and_training_without_skn(both):
    folder, model, found = both
    given = pipeline("text-classification", str(folder)).tokenizer(TEXTS, padding=True, return_tensors="pt")
    real, loaded = given["attention_mask"].bool(), {"words": AutoModelForMaskedLM, "encoder": AutoModel}
    for name in found.keys() & loaded.keys():
        answer = loaded[name].from_pretrained(folder).eval()(**given)
        torch.testing.assert_close(found[name][real], answer[0][real].detach(), rtol=1e-5, atol=2e-5)
    assert found["gradient"].shape == model.prompt.shape
    assert model.prompt.numel() == 0 or found["gradient"].abs().max() > 0


def test_a_damaged_folder_is_refused_without_skn(place):
    said = json.loads((place / "said.json").read_text())
    assert "no whole model of skn, missing weights: prompt; prune or export it again" in said["damaged"]


def test_the_code_is_a_copy(both, place):
    folder, model, _ = both
    source = Path(portable.__file__).parent
    for copy in (folder, place / f"{folder.name}-again"):  # saved by skn, and again without it
        assert sorted(file.name for file in copy.glob("*.py")) == sorted(CODE)
        for name in CODE:
            assert (copy / name).read_bytes() == (source / name).read_bytes()
    again = AutoModelForSequenceClassification.from_pretrained(place / f"{folder.name}-again")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_skn_takes_its_own_classes_where_the_code_is_trusted_too(both, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    folder, model, _ = both
    trusted = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    assert type(trusted) is type(model)
    assert type(AutoConfig.from_pretrained(folder, trust_remote_code=True)) is type(model.config)


def test_saved_anew_it_stays_portable(both, tmp_path):
    folder, model, _ = both
    model.config.auto_map = {"AutoConfig": "somebody/model--modeling_skn.Pruned"}  # as a hub's folder has it
    model.save_pretrained(tmp_path / "deep" / "model")
    assert {*CODE} <= {file.name for file in (tmp_path / "deep" / "model").iterdir()}
    config = [json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "deep" / "model")]
    assert config[0]["auto_map"] == config[1]["auto_map"] and "--" not in str(config[0]["auto_map"])


def test_what_is_tuned_over_it_is_portable_only_if_that_is_asked_for(place, corpus_folder, tmp_path):
    run = skn.tune(place / "bert", skn.load_data(corpus_folder), prompt_length=3, epochs=0)
    skn.export(run, tmp_path / "plain"), skn.export(run, tmp_path / "portable", portable=True)
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert {*CODE} <= {file.name for file in (tmp_path / "portable").iterdir()}
    card = (tmp_path / "portable" / "README.md").read_text()
    assert "trust_remote_code=True" in card and "import skn  #" not in card


def test_prune_portable(run, quiet_exit):
    assert command(["prune", "--run", run, "--fraction", 0.5, "--portable"]) == 0
    folder = run / "pruned"
    assert {*CODE} <= {file.name for file in folder.iterdir()}
    loaded, expected = skn.open_run(run), skn.prune(skn.open_run(run), fraction=0.5)
    encoded = loaded.encoded("test")
    again = AutoModelForSequenceClassification.from_pretrained(folder)
    assert torch.equal(predict(again, encoded), predict(expected, encoded))
