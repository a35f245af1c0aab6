"""A stock model with fewer neurons is the whole model under a mask, for every family, and needs no code of skn."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
import transformers
from masked_models import answers, keep_random, masked_answers, random_mean, texts, whole_model
from pruned_models import pruned
from safetensors.torch import load_file, save_file
from tiny_models import DECODERS, ENCODERS

import skn
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.neurons.masking import Mask

FAMILIES = (*ENCODERS, *DECODERS, "bert-headless")
WITHOUT_BIAS = ("mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo2")
KEEP = keep_random((10, 10, 10))

WITHOUT_SKN = """
import json, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "skn":
            raise ModuleNotFoundError("No module named 'skn'", name="skn")

sys.meta_path.insert(0, Nothing())

import torch, transformers
from safetensors.torch import load_file, save_file

place, classes = json.loads(sys.argv[1])
for name, auto in classes.items():
    model, report = getattr(transformers, auto).from_pretrained(f"{place}/{name}", output_loading_info=True)
    assert not report["unexpected_keys"] and not report["mismatched_keys"], report
    with torch.no_grad():
        found = model.eval()(**load_file(f"{place}/{name}-texts"))[0]
    save_file({"found": found}, f"{place}/{name}-found")
assert "skn" not in sys.modules
"""


@pytest.mark.parametrize("freeze", ["mean", "zero"])
@pytest.mark.parametrize("family", FAMILIES)
def test_stock_equals_masked(tiny, family, freeze):
    whole, mean = whole_model(tiny(family), family), random_mean()
    expected = masked_answers(whole, Mask(freeze, ~KEEP, mean))
    assert (expected - answers(whole)).abs().max() > 1e-2
    if freeze == "mean" and family in WITHOUT_BIAS:
        with pytest.raises(InputError, match='no bias in its down-projection.*give freeze="zero"'):
            skn.stock_model(whole, KEEP, mean)
        return
    small = skn.stock_model(whole, KEEP, mean if freeze == "mean" else None, freeze=freeze)
    assert type(small) is type(whole) and not small.training
    assert [site.down.weight.numel() for site in Backbone(small).ffn_sites] == [10 * 32] * 3
    torch.testing.assert_close(answers(small), expected, rtol=1e-5, atol=1e-5)


def test_loads_in_a_process_without_skn(tiny, tmp_path):
    causal, masked = "AutoModelForCausalLM", "AutoModelForMaskedLM"
    classes = {"llama": causal, "phi3": causal, "gpt2": causal, "modernbert": masked, "bert-headless": "AutoModel"}
    expected = {}
    for name in classes:
        whole, freeze = whole_model(tiny(name), name), "zero" if name == "phi3" else "mean"
        expected[name] = masked_answers(whole, Mask(freeze, ~KEEP, random_mean()))
        skn.stock_model(whole, KEEP, random_mean(), freeze=freeze).save_pretrained(tmp_path / name)
        save_file(texts(whole.config), tmp_path / f"{name}-texts")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SKN, json.dumps([str(tmp_path), classes])],
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in classes:
        found = load_file(tmp_path / f"{name}-found")["found"]
        here = texts(whole_model(tiny(name), name).config)["attention_mask"].bool()
        torch.testing.assert_close(found[here], expected[name], rtol=1e-5, atol=1e-5)


def test_new_biases_of_llama_are_zero_and_the_model_stays_as_it_is(tiny):
    whole = whole_model(tiny("llama"), "llama")
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    small = skn.stock_model(whole, KEEP, random_mean())
    assert small.config.mlp_bias and not whole.config.mlp_bias
    for layer in small.model.layers:
        assert not layer.mlp.gate_proj.bias.any() and not layer.mlp.up_proj.bias.any()
        layer.self_attn.q_proj.weight.data.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())


def test_dtype_ties_and_generation_settings_stay(tiny):
    whole = whole_model(tiny("gpt2"), "gpt2").to(torch.bfloat16)
    whole.generation_config.max_new_tokens = 7
    small = skn.stock_model(whole, KEEP, freeze="zero")
    assert {parameter.dtype for parameter in small.parameters()} == {torch.bfloat16}
    assert small.lm_head.weight is small.transformer.wte.weight and small.generation_config.max_new_tokens == 7
    assert small.config.n_inner == 10 and whole.config.n_inner == 48


def test_an_opt_without_biases_gets_them(tiny):
    config = transformers.OPTConfig(**vars_of(tiny), enable_bias=False)
    torch.manual_seed(1)
    whole = transformers.OPTForCausalLM(config).eval()
    small = skn.stock_model(whole, KEEP, random_mean())
    expected = masked_answers(whole, Mask("mean", ~KEEP, random_mean()))
    torch.testing.assert_close(answers(small), expected, rtol=1e-5, atol=1e-5)


def vars_of(tiny):
    fields = whole_model(tiny("opt"), "opt").config.to_dict()
    return {name: value for name, value in fields.items() if name not in ("enable_bias", "model_type", "architectures")}


def test_a_loaded_backbone_without_a_head_gives_the_encoder(tiny):
    backbone = Backbone.load(str(tiny("bert-headless")))
    assert type(skn.stock_model(backbone, KEEP, freeze="zero")) is transformers.BertModel


def test_layers_of_different_widths_are_named(tiny):
    whole = whole_model(tiny("llama"), "llama")
    with pytest.raises(InputError, match=r"one feed-forward width.*\(layers 0, 2: 10; layer 1: 48\)"):
        skn.stock_model(whole, keep_random((10, 48, 10)), freeze="zero")


def test_refusals(tiny):
    whole = whole_model(tiny("llama"), "llama")
    with pytest.raises(InputError, match="freeze=.mean. needs the neurons' means"):
        skn.stock_model(whole, KEEP)
    with pytest.raises(InputError, match=r"keep: expected \[3, 48\] bool, not \[2, 48\]"):
        skn.stock_model(whole, KEEP[:2], freeze="zero")
    with pytest.raises(InputError, match="layer 0 would keep no neuron"):
        skn.stock_model(whole, torch.zeros_like(KEEP), freeze="zero")
    with pytest.raises(InputError, match=r"mean: expected a mean for each neuron \[3, 48\], not \[48\]"):
        skn.stock_model(whole, KEEP, torch.zeros(48))
    nan = torch.full((3, 48), torch.nan)
    with pytest.raises(InputError, match="layer 0: a removed neuron's mean is NaN"):
        skn.stock_model(whole, KEEP, nan)
    whole.model.layers[1].mlp.up_proj = torch.nn.Sequential(whole.model.layers[1].mlp.up_proj)
    with pytest.raises(InputError, match="layer 1: its feed-forward sublayer has a Sequential"):
        skn.stock_model(whole, KEEP, freeze="zero")


def test_a_class_of_skn_is_refused(tiny):
    small, *_ = pruned(tiny("roberta"))
    with pytest.raises(InputError, match="PrunedRobertaForPromptClassification is no class of transformers' own"):
        skn.stock_model(small, _first(small), freeze="zero")


def _first(small):
    keep = torch.zeros_like(KEEP)
    for site in small.backbone.ffn_sites:
        keep[site.layer, site.neurons[0]] = True
    return keep
