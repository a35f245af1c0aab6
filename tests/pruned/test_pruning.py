"""A pruned model is the full model with the removed neurons frozen at their mean."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import transformers
from masked_models import CLASSES, TEXTS, keep_random, mean_masked, setup

from skn.errors import InputError
from skn.inference.engine import predict
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.pruned.modeling import PrunedBertForMaskedLM, PrunedRobertaForMaskedLM
from skn.pruned.pruning import parameter_count, prune

WIDTHS = {"equal": (10, 10, 10), "per layer": (5, 48, 31)}


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "bert", "bert-headless"])
@pytest.mark.parametrize("method", ["prompt", "bitfit", "adapter"])
def test_pruned_equals_mean_masked(tiny, family, method, widths):
    model, _, encoded, mean = setup(tiny, family, method)
    keep = keep_random(widths)
    small = prune(model, keep, mean, CLASSES)
    assert small.config.ffn_widths == list(widths)
    expected = mean_masked(model, encoded, keep, mean)
    torch.testing.assert_close(predict(small, encoded, 60), expected, rtol=1e-5, atol=1e-5)


def test_folding_the_kept_neurons_too_would_fail(tiny):
    """The counter-test: the original code folds every neuron's mean; the kept ones then count twice."""
    model, _, encoded, mean = setup(tiny, "roberta")
    keep = keep_random((10, 10, 10))
    small = prune(model, keep, mean, CLASSES)
    for layer, site in enumerate(model.backbone.ffn_sites):
        wrong = (site.down.weight[:, keep[layer]].double() @ mean[layer, keep[layer]]).float()
        small.roberta.encoder.layer[layer].output.dense.bias.data += wrong
    difference = (predict(small, encoded, 60) - mean_masked(model, encoded, keep, mean)).abs().max()
    assert difference > 1e-2


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless"])
def test_saves_and_loads_as_a_hugging_face_model(tiny, family, tmp_path):
    model, tokenizer, encoded, mean = setup(tiny, family)
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    small.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(again) is type(small) and again.config.id2label == {0: "bad", 1: "good"}
    torch.testing.assert_close(predict(again, encoded, 60), predict(small, encoded, 60), rtol=1e-6, atol=1e-6)
    for name, tensor in small.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    answer = transformers.pipeline("text-classification", str(tmp_path))(TEXTS[1])
    logits = predict(small, encoded, 1)[1]
    assert answer[0]["label"] == CLASSES[int(logits.argmax())]
    assert answer[0]["score"] == pytest.approx(logits.softmax(0).max().item(), abs=1e-5)


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless"])
def test_masked_lm_class_loads_the_same_folder(tiny, family, tmp_path):
    """Its score of a label word at the mask equals what the backbone says."""
    model, _, _, mean = setup(tiny, family)
    prune(model, keep_random((5, 48, 31)), mean, CLASSES).save_pretrained(tmp_path)
    lm = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert isinstance(lm, PrunedRobertaForMaskedLM if family == "roberta" else PrunedBertForMaskedLM)
    ids = torch.tensor([[4, 20, 30, 40]])
    with torch.no_grad():
        logits = lm(ids).logits
        embeds = lm.get_input_embeddings()(ids)[0]
        batch = lm.backbone.assemble(embeds[:1], ids[:, 1:], torch.ones_like(ids[:, 1:]))
        torch.testing.assert_close(logits[0, 0, [7, 200]], lm.backbone.scores(batch, torch.tensor([7, 200]))[0])


@pytest.mark.parametrize("family", ["roberta", "bert-headless"])
def test_pruned_again_keeps_original_indices(tiny, family, tmp_path):
    """Pruning in two steps equals masking the full model in one."""
    model, _, encoded, mean = setup(tiny, family)
    first, second = keep_random((30, 30, 30)), keep_random((12, 12, 12)) & keep_random((30, 30, 30))
    prune(model, first, mean, CLASSES).save_pretrained(tmp_path)
    backbone = Backbone.load(str(tmp_path))
    assert torch.equal(backbone.present, first)
    twice = prune(TunedModel.from_tensors(backbone, model.tuned_tensors(), "prompt"), second, mean, CLASSES)
    assert torch.equal(twice.backbone.present, second)
    torch.testing.assert_close(
        predict(twice, encoded, 60), mean_masked(model, encoded, second, mean), rtol=1e-5, atol=1e-5
    )


COPIES = {"deep copy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("family", ["roberta", "bert-headless"])
def test_a_copy_has_adapters_of_its_own(tiny, family, duplicate):
    model, _, encoded, mean = setup(tiny, family, "adapter")
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    before, other = predict(small, encoded, 60), duplicate(small)
    assert torch.equal(predict(other, encoded, 60), before)
    with torch.no_grad():
        other.adapters[1].up.bias.add_(torch.linspace(-1, 1, 32))
    assert (predict(other, encoded, 60) - before).abs().max() > 1e-3
    assert torch.equal(predict(small, encoded, 60), before)


def test_adapters_are_saved_once_and_loaded(tiny, tmp_path):
    model, _, encoded, mean = setup(tiny, "roberta", "adapter")
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES)
    small.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    parts = ("down.weight", "down.bias", "up.weight", "up.bias")
    own = {f"adapters.{layer}.{part}" for layer in range(3) for part in parts}
    assert {name for name in again.state_dict() if "adapter" in name} == own
    assert torch.equal(predict(again, encoded, 60), predict(small, encoded, 60))


def test_a_pruned_model_trains(tiny):
    """In training it is an ordinary module: the prompt and the narrow layers get gradients."""
    model, tokenizer, _, mean = setup(tiny, "bert")
    small = prune(model, keep_random((5, 48, 31)), mean, CLASSES).requires_grad_(True)
    loss = small(**tokenizer(TEXTS, padding=True, return_tensors="pt"), labels=torch.tensor([0, 1, 0])).loss
    loss.backward()
    assert small.prompt.grad.abs().max() > 0
    assert small.bert.encoder.layer[0].intermediate.dense.weight.grad.shape == (5, 32)


def test_roberta_base_shape_leaves_two_thirds():
    """Layers 3–11 with 61 neurons leave 66.6% of roberta-base."""
    with torch.device("meta"):
        config = transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1)
        full = transformers.RobertaForMaskedLM(config)
        widths = [3072] * 3 + [61] * 9
        small = PrunedRobertaForMaskedLM(PrunedRobertaForMaskedLM.config_class(**_sizes(config), ffn_widths=widths))
    full.tie_weights(), small.tie_weights()
    assert parameter_count(small) / parameter_count(full) == pytest.approx(0.666, abs=5e-4)


def _sizes(config) -> dict:
    return {"max_position_embeddings": config.max_position_embeddings, "type_vocab_size": config.type_vocab_size}


def test_refusals(tiny):
    model, _, _, mean = setup(tiny, "bert")
    with pytest.raises(InputError, match="layer 1 would keep no neuron"):
        prune(model, keep_random((5, 0, 5)), mean, CLASSES)
    bad = mean.clone()
    bad[2, 3] = torch.nan
    keep = keep_random((5, 5, 5))
    keep[2, 3] = False
    with pytest.raises(InputError, match="layer 2: a removed neuron's mean is NaN"):
        prune(model, keep, bad, CLASSES)
    adapted, *_ = setup(tiny, "distilbert", "adapter")
    with pytest.raises(InputError, match="a distilbert with adapters cannot be pruned or exported"):
        prune(adapted, keep, mean, CLASSES)


def test_bfloat16_stays_bfloat16(tiny):
    model, _, encoded, mean = setup(tiny, "roberta", dtype="bfloat16")
    keep = keep_random((10, 10, 10))
    small = prune(model, keep, mean, CLASSES)
    assert small.roberta.encoder.layer[0].output.dense.weight.dtype == torch.bfloat16
    torch.testing.assert_close(predict(small, encoded, 60), mean_masked(model, encoded, keep, mean), rtol=0.1, atol=0.1)
