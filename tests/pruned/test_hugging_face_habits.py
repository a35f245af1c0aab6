"""What users of transformers expect of a classifier, of a pruned one."""

from __future__ import annotations

import logging

import pytest
import torch
from pruned_models import pruned
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, pipeline

TEXTS = ["a funny film", "dull and far too long for what it is", "good"]


@pytest.fixture(scope="module", params=["roberta", "bert"])
def folder(request, tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("pruned")
    model, _, tokenizer = pruned(tiny(request.param))
    model.save_pretrained(path)
    tokenizer.model_max_length = model.backbone.max_positions - model.prompt_length
    tokenizer.save_pretrained(path)
    return path, tokenizer


@pytest.fixture
def model(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder[0]).eval()


def inputs(folder, side="right", texts=TEXTS):
    return folder[1](texts, padding=True, padding_side=side, return_tensors="pt")


@pytest.mark.parametrize("gradients", [False, True])
def test_padding_on_the_left_changes_nothing(folder, model, gradients):
    with torch.set_grad_enabled(gradients):
        right, left = (model(**inputs(folder, side)).logits for side in ("right", "left"))
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_embeddings_instead_of_ids(folder, model):
    given = inputs(folder)
    embeds = model.get_input_embeddings()(given.pop("input_ids")).detach().requires_grad_()
    answer = model(inputs_embeds=embeds, **given)
    torch.testing.assert_close(answer.logits, model(**inputs(folder)).logits)
    answer.logits.sum().backward()
    assert embeds.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(**inputs(folder), inputs_embeds=embeds)


@torch.no_grad()
def test_hidden_states_attentions_and_tuples(folder, model):
    given, layers = inputs(folder), model.config.num_hidden_layers
    plain, more = model(**given), model(**given, output_hidden_states=True)
    length = model.prompt_length + given["input_ids"].shape[1]
    assert len(more.hidden_states) == layers + 1
    assert more.hidden_states[0].shape == (3, length, model.config.hidden_size)
    torch.testing.assert_close(more.logits, plain.logits, rtol=1e-5, atol=1e-5)
    (logits,) = model(**given, return_dict=False)
    assert torch.equal(logits, plain.logits)
    with pytest.raises(ValueError, match="attn_implementation='eager'"):
        model(**given, output_attentions=True)
    eager = AutoModelForSequenceClassification.from_pretrained(folder[0], attn_implementation="eager").eval()
    attentions = eager(**given, output_attentions=True).attentions
    assert len(attentions) == layers and attentions[0].shape[-1] == length


def test_a_text_longer_than_the_model(folder, model):
    """As the tokenizer would have cut it: the promise of the card, kept by the pipeline too."""
    path, tokenizer = folder
    room = tokenizer.model_max_length
    long = "the film is funny and good " * 40
    with torch.no_grad():
        cut = model(**tokenizer([long, TEXTS[0]], padding=True, truncation=True, max_length=room, return_tensors="pt"))
        whole = model(**tokenizer([long, TEXTS[0]], padding=True, return_tensors="pt"))
    torch.testing.assert_close(whole.logits, cut.logits, rtol=1e-5, atol=1e-5)
    found = pipeline("text-classification", model=str(path))(long)[0]
    torch.testing.assert_close(found["score"], cut.logits.softmax(1)[0].max().item(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_encoder_alone(folder):
    encoder, masked = (
        AutoModel.from_pretrained(folder[0]).eval(),
        AutoModelForMaskedLM.from_pretrained(folder[0]).eval(),
    )
    given = inputs(folder)
    hidden = encoder(**given).last_hidden_state
    expected = masked(**given, output_hidden_states=True).hidden_states[-1]
    real = given["attention_mask"].bool()
    torch.testing.assert_close(hidden[real], expected[real], rtol=1e-5, atol=1e-5)


def test_gradients_that_nobody_wants_cost_nothing(folder, model, monkeypatch, caplog):
    from skn.pruned import served

    fast, scored_hidden = [], served.scored_hidden
    monkeypatch.setattr(served, "scored_hidden", lambda *given: fast.append(1) or scored_hidden(*given))
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING):
        model(**inputs(folder))
        model(**inputs(folder))
    assert not fast and sum("called with gradients" in line for line in caplog.messages) <= 1
    model.requires_grad_(False)
    assert not model(**inputs(folder)).logits.requires_grad
    embeds = model.get_input_embeddings()(inputs(folder)["input_ids"]).requires_grad_()
    served = len(fast)
    model(inputs_embeds=embeds, attention_mask=inputs(folder)["attention_mask"]).logits.sum().backward()
    assert embeds.grad is not None and len(fast) == served
