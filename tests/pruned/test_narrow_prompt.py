"""A run over any family can be pruned: prompt and label words stand inside the narrow model."""

from __future__ import annotations

import pytest
import torch
import transformers
from masked_models import CLASSES, TEXTS, keep_random, mean_masked, setup
from tiny_models import DECODERS, ENCODERS

from skn.errors import InputError
from skn.inference.engine import predict
from skn.model.tuned import TunedModel
from skn.pruned.pruning import prune, pruned_model

BY_HAND = ("roberta", "xlm-roberta", "camembert", "bert")
FAMILIES = [family for family in (*ENCODERS, *DECODERS) if family not in BY_HAND]


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_equals_mean_masked_and_loads_again(tiny, family, tmp_path):
    model, tokenizer, encoded, mean = setup(tiny, family)
    keep = keep_random((5, 48, 31))
    small = prune(model, keep, mean, CLASSES)
    found = predict(small, encoded, 60)
    torch.testing.assert_close(found, mean_masked(model, encoded, keep, mean), rtol=1e-5, atol=1e-5)
    small.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is type(small) and again.config.id2label == {0: "bad", 1: "good"}
    torch.testing.assert_close(predict(again, encoded, 60), found, rtol=1e-6, atol=1e-6)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    for side in ("left", "right"):
        given = tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt")
        torch.testing.assert_close(again(**given).logits.detach(), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["modernbert", "gpt2"])
def test_the_pipeline_answers(tiny, family, tmp_path):
    model, tokenizer, encoded, mean = setup(tiny, family)
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    small.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = predict(small, encoded, 60).softmax(1).max(1).values.tolist()
    classify = transformers.pipeline("text-classification", str(tmp_path))
    assert [answer["score"] for answer in classify(TEXTS)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", ["distilbert", "qwen3"])
def test_the_same_folder_is_a_language_model_too(tiny, family, tmp_path):
    model, _, _, mean = setup(tiny, family)
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    small.save_pretrained(tmp_path)
    auto = transformers.AutoModelForMaskedLM if family in ENCODERS else transformers.AutoModelForCausalLM
    lm, ids = auto.from_pretrained(tmp_path), torch.tensor([[7, 20, 30]])
    assert "prompt" not in lm.state_dict() and lm.config.ffn_widths == [5, 48, 31]
    own = small.backbone.base(ids).last_hidden_state
    assert torch.equal(lm.backbone.base(ids).last_hidden_state, own)
    with pytest.raises(InputError, match="has no place for label_ids"):
        pruned_model(small, small.backbone.present, freeze="zero")


def test_a_long_text_keeps_its_first_tokens(tiny):
    model, _, _, mean = setup(tiny, "gpt2")
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    room = small.backbone.max_positions - small.prompt_length
    ids = torch.randint(10, 200, (1, room + 9), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(small(ids).logits, small(ids[:, :room]).logits)


@pytest.mark.parametrize("method", ["bitfit", "prompt"])
def test_pruned_again_and_trained(tiny, method, tmp_path):
    model, _, encoded, mean = setup(tiny, "distilbert", method)
    first, second = keep_random((30, 30, 30)), keep_random((12, 12, 12)) & keep_random((30, 30, 30))
    small = prune(model, first, mean, CLASSES)
    torch.testing.assert_close(
        predict(small, encoded, 60), mean_masked(model, encoded, first, mean), rtol=1e-5, atol=1e-5
    )
    held = {name: getattr(small, name).detach() for name in ("prompt", "mask_embedding", "label_ids")}
    twice = prune(TunedModel.from_tensors(small.backbone, held, "prompt"), second, mean, CLASSES)
    torch.testing.assert_close(
        predict(twice, encoded, 60), mean_masked(model, encoded, second, mean), rtol=1e-5, atol=1e-5
    )
    ids = torch.tensor([[7, 20, 30]])
    twice.train()(ids, labels=torch.tensor([1])).loss.backward()
    assert twice.distilbert.transformer.layer[1].ffn.lin2.bias.grad.abs().max() > 0


@pytest.mark.parametrize("family", ["mpnet", "qwen3"])
def test_a_family_that_encode_does_not_serve_says_so(tiny, family):
    model, tokenizer, _, mean = setup(tiny, family)
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    why = f"a {family} backbone is no encoder of the BERT kind"
    with pytest.raises(InputError, match=f"^prepack: {why}$"):
        small.prepack()
    ids = torch.tensor([[7, 20, 30]])
    before = small(ids).logits
    with pytest.raises(InputError, match=f"^int8: {why}$"):
        small.to_int8(ids)
    assert torch.equal(small(ids).logits, before) and small.train().training
