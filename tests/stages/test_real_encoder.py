"""On the real encoder: the same weights in two architectures, and the demo from end to end."""

from __future__ import annotations

import json
import runpy

import pytest
import torch
from repository import REPOSITORY
from transformers import AutoTokenizer, BertModel

from skn.cli import run
from skn.data.splits import Examples
from skn.inference.batches import collate, tokenize
from skn.inference.hf import hooks
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.stages import demo
from skn.store import artifacts

SCRIPT = REPOSITORY / "scripts" / "minilm_as_roberta.py"


@pytest.fixture(scope="module")
def roberta(minilm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("minilm-roberta")
    runpy.run_path(str(SCRIPT))["as_roberta"](BertModel.from_pretrained(minilm)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return str(folder)


def activations(folder: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    backbone, tokenizer = Backbone.load(folder), load_tokenizer(folder)
    texts = ["a stirring , funny and finally transporting film", "dull", "the plot is not slow but i left early"]
    batch = collate(tokenize(Examples(texts, None, [0, 1, 0]), tokenizer, 100), [0, 1, 2])
    prompt = torch.randn(16, backbone.hidden_size, generator=torch.Generator().manual_seed(0)) / 30
    prompted = backbone.assemble(prompt, batch.input_ids, batch.attention_mask, batch.token_type_ids)
    seen: list[torch.Tensor] = []
    with torch.inference_mode(), hooks(backbone, lambda _site, act: seen.append(act)):
        scores = backbone.scores(prompted, torch.tensor([4997, 3893]))
    real = prompted.attention_mask.bool()
    return [act[real] for act in seen], scores


def test_same_weights_in_the_roberta_architecture_give_the_same_activations(minilm, roberta):
    (bert, bert_scores), (other, other_scores) = activations(minilm), activations(roberta)
    for first, second in zip(bert, other, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other_scores, bert_scores, rtol=1e-5, atol=1e-5)


def test_demo(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "ROWS", 400)
    assert run(["demo", "--out", str(out), "--epochs", "1", "--controls", "1"]) == 0
    page = (out / "run" / "report" / "index.html").read_text()
    assert page.count("data:image/png;base64,") >= 5
    tuned = artifacts.load(out / "run" / "tuned.safetensors", "tuned")
    assert json.loads((out / "run" / "mask-zero.json").read_text())["layers"] == [3, 6]
    assert "normalised input embedding" in tuned.provenance["word_scores"]
    assert run(["demo", "--out", str(out)]) == 2
