"""Pruned classes of every family: any width in each layer, and the answers of the whole model under a mask."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
import transformers
from edited_folders import copied
from masked_models import answers, keep_random, masked_answers, random_mean, whole_model
from tiny_models import DECODERS, ENCODERS

import skn
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.neurons.masking import Mask

FAMILIES = (*ENCODERS, *DECODERS)
WIDTHS = (5, 48, 31)


def auto_of(family):
    return transformers.AutoModelForMaskedLM if family in ENCODERS else transformers.AutoModelForCausalLM


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_equals_masked_and_loads_again(tiny, family, tmp_path):
    whole, mean, keep = whole_model(tiny(family), family), random_mean(), keep_random(WIDTHS)
    expected = masked_answers(whole, Mask("mean", ~keep, mean))
    assert (expected - masked_answers(whole, Mask("zero", ~keep))).abs().max() > 1e-3
    small = skn.pruned_model(whole, keep, mean)
    assert small.config.ffn_widths == list(WIDTHS) and not small.training
    torch.testing.assert_close(answers(small), expected, rtol=1e-5, atol=1e-5)
    small.save_pretrained(tmp_path)
    again = auto_of(family).from_pretrained(tmp_path)
    assert type(again) is type(small) and torch.equal(answers(again), answers(small))
    assert torch.equal(Backbone(again).present, keep)


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_again_keeps_original_numbers(tiny, family, tmp_path):
    whole, mean, first = whole_model(tiny(family), family), random_mean(), keep_random((30, 48, 40))
    second = first & keep_random((12, 20, 30))
    skn.pruned_model(whole, first, mean).save_pretrained(tmp_path)
    twice = skn.pruned_model(Backbone.load(str(tmp_path)), second, mean)
    assert torch.equal(Backbone(twice).present, second) and type(twice).__name__.startswith("Pruned")
    expected = masked_answers(whole, Mask("mean", ~second, mean))
    torch.testing.assert_close(answers(twice), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["mpnet", "distilbert", "modernbert", "bert-headless"])
def test_an_encoder_without_a_head_stays_one(tiny, family, tmp_path):
    whole = whole_model(tiny(family), family)
    base, mean, keep = getattr(whole, Backbone(whole).family.base, whole), random_mean(), keep_random(WIDTHS)
    small = skn.pruned_model(base, keep, mean)
    small.save_pretrained(tmp_path)
    again = Backbone.load(str(tmp_path))
    assert again.headless and again.model.get_output_embeddings() is None
    expected = masked_answers(base, Mask("mean", ~keep, mean))
    for encoder in (again.base, transformers.AutoModel.from_pretrained(tmp_path)):
        torch.testing.assert_close(answers(encoder), expected, rtol=1e-5, atol=1e-5)
    words = torch.nn.functional.normalize(again.embedding.weight, dim=-1)
    torch.testing.assert_close(answers(again.model), expected @ words.T * 4, rtol=1e-4, atol=1e-4)


def test_zero_and_the_decoder_alone(tiny, tmp_path):
    whole, keep = whole_model(tiny("gemma2"), "gemma2"), keep_random(WIDTHS)
    small = skn.pruned_model(whole, keep, freeze="zero")
    torch.testing.assert_close(answers(small), masked_answers(whole, Mask("zero", ~keep)), rtol=1e-5, atol=1e-5)
    small.save_pretrained(tmp_path)
    decoder = transformers.AutoModel.from_pretrained(tmp_path)
    assert type(decoder).__name__ == "PrunedGemma2Model"
    assert torch.equal(answers(decoder), answers(small.model))


def test_a_pruned_decoder_generates_and_trains(tiny):
    whole, keep = whole_model(tiny("llama"), "llama"), keep_random(WIDTHS)
    small = skn.pruned_model(whole, keep, freeze="zero")
    ids = torch.tensor([[20, 30, 40]])
    told = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "attention_mask": torch.ones_like(ids)}
    made = small.generate(ids, **told)
    assert torch.equal(made[:, -1], small(made[:, :-1]).logits[:, -1].argmax(-1))
    small.train()(input_ids=ids, labels=ids).loss.backward()
    assert all(small.model.layers[1].mlp.down_proj.bias.grad != 0)


def test_a_pickle_and_a_fresh_process_find_the_classes(tiny, tmp_path):
    small = skn.pruned_model(whole_model(tiny("phi3"), "phi3"), keep_random(WIDTHS), freeze="zero")
    assert torch.equal(answers(pickle.loads(pickle.dumps(small))), answers(small))
    small.save_pretrained(tmp_path)
    code = (
        "import sys, torch, transformers, skn\n"
        "from skn.pruned.narrow import PrunedPhi3ForCausalLM\n"
        "assert 'transformers.models.llama.modeling_llama' not in sys.modules\n"
        "model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "assert type(model) is PrunedPhi3ForCausalLM and model.config.ffn_widths == [5, 48, 31]\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_damaged_folder_is_refused(tiny, tmp_path):
    small = skn.pruned_model(whole_model(tiny("gpt2"), "gpt2"), keep_random(WIDTHS), freeze="zero")
    small.save_pretrained(tmp_path / "small")
    load = transformers.AutoModelForCausalLM.from_pretrained
    kept = "transformer.h.1.mlp.act.kept_neurons"
    copied(tmp_path / "small", tmp_path / "missing", lambda tensors: tensors.pop(kept))
    with pytest.raises(InputError, match=f"no whole model of skn, missing weights: {kept}"):
        load(tmp_path / "missing")
    copied(tmp_path / "small", tmp_path / "numbers", lambda tensors: tensors[kept].fill_(48))
    with pytest.raises(InputError, match=f"{kept} holds numbers outside of 0 to 47"):
        load(tmp_path / "numbers")


def test_refusals(tiny):
    whole, keep = whole_model(tiny("qwen3"), "qwen3"), keep_random(WIDTHS)
    with pytest.raises(InputError, match="a decoder without its head"):
        skn.pruned_model(whole.model, keep, freeze="zero")
    keep[2] = False
    with pytest.raises(InputError, match="layer 2 would keep no neuron"):
        skn.pruned_model(whole, keep, freeze="zero")
