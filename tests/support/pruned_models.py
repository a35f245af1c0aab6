"""A small pruned model with inputs, and a count of the calls that the operator ``encode`` answers."""

from __future__ import annotations

import pytest
import torch

from skn import ops
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.pruned.pruning import prune

# Families whose pruned models answer through `encode`, two of them by classes that are made from transformers'.
SERVED = ["roberta", "bert", "bert-headless", "electra", "distilbert"]

TEXTS = ["the film is funny", "although the plot is slow , the ending is wonderful", "dull"]


@pytest.fixture
def calls(monkeypatch):
    """Count how often ``encode`` ran."""
    seen = []
    real = ops.encode
    monkeypatch.setattr(ops, "encode", lambda *a, **k: seen.append(1) or real(*a, **k))
    return seen


def pruned(folder):
    """Return a pruned model over the model in ``folder``, its inputs, its tokenizer."""
    tokenizer, backbone = load_tokenizer(str(folder)), Backbone.load(str(folder))
    model = TunedModel.fresh(backbone, [7, 200], tokenizer.mask_token_id, 4)
    keep = torch.zeros(3, 48, dtype=torch.bool)
    for layer, width in enumerate((5, 48, 31)):
        keep[layer, :width] = True
    small = prune(model.requires_grad_(False), keep, torch.ones(3, 48, dtype=torch.float64), ["bad", "good"])
    inputs = dict(tokenizer(TEXTS, padding=True, return_tensors="pt"))
    return small, inputs, tokenizer


def logits(model, inputs):
    return model(**inputs).logits.detach()
