"""A layer that is not what the fast forward knows runs plainly: the answers are those of the modules as they stand."""

from __future__ import annotations

import peft
import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from pruned_models import logits, pruned
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import l1_unstructured

from skn.errors import InputError
from skn.inference.engine import choose_engine
from skn.inference.fast import refusal
from skn.ops import native


@pytest.fixture(autouse=True)
def library():
    if native.isa() is None:
        pytest.skip("no native library")


class Wrapped(nn.Module):
    """In the manner of LoRA: the layer stands below, and its weight is still to be had here."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.weight, self.bias = base_layer.weight, base_layer.bias

    def forward(self, x):
        return self.base_layer(x) * 1.5


class Louder(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 1.5


class Scale(nn.Module):
    def forward(self, weight):
        return weight * 1.5


def wrapped(model):
    attention = model.roberta.encoder.layer[1].attention.self
    attention.query = Wrapped(attention.query)


def subclass(model):
    up = model.roberta.encoder.layer[0].intermediate
    louder = Louder(up.dense.in_features, up.dense.out_features)
    louder.load_state_dict(up.dense.state_dict())
    up.dense = louder


def parametrized(model):
    parametrize.register_parametrization(model.roberta.encoder.layer[2].output.dense, "weight", Scale())


def forward_replaced(model):
    dense = model.roberta.encoder.layer[1].attention.output.dense
    real = dense.forward
    dense.forward = lambda x: real(x) * 1.5


def activation(model):
    model.roberta.encoder.layer[0].intermediate.intermediate_act_fn = nn.ReLU()


def norm(model):
    model.roberta.encoder.layer[0].output.LayerNorm.eps = 0.5


def no_bias(model):
    model.roberta.encoder.layer[0].attention.self.value.bias = None


def masked_weight(model):
    l1_unstructured(model.roberta.encoder.layer[1].output.dense, "weight", 0.5)


def attention(model):
    model.roberta.encoder.layer[1].attention.self.scaling = 0.1


def quantized(model):
    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, inplace=True)


CHANGES = (
    wrapped, subclass, parametrized, forward_replaced, activation, norm, no_bias, masked_weight, attention, quantized,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_stands_there_answers(tiny, calls, change):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.no_grad():
        before = logits(model, inputs)
    assert calls.pop()
    change(model)
    with torch.no_grad():
        found = logits(model, inputs)
    torch.testing.assert_close(found, logits(model, inputs), rtol=1e-5, atol=1e-5)  # with gradients: the plain modules
    assert not calls and (found - before).abs().max() > 1e-4
    assert choose_engine(model.backbone) == "hf"
    with pytest.raises(InputError, match="engine=.fast.: encode would pass by what stands in the encoder"):
        choose_engine(model.backbone, "fast")


def test_lora(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.no_grad():
        before = logits(model, inputs)
    settings = peft.LoraConfig(target_modules=["query", "value"], init_lora_weights=False, lora_dropout=0.0)
    tuned = peft.get_peft_model(model, settings).eval()
    with torch.no_grad():
        found = logits(tuned, inputs)
    assert len(calls) == 1 and (found - before).abs().max() > 1e-2
    torch.testing.assert_close(found, logits(tuned, inputs), rtol=1e-5, atol=1e-5)
    merged = tuned.merge_and_unload()
    with torch.no_grad():
        torch.testing.assert_close(logits(merged, inputs), found, rtol=1e-4, atol=1e-4)
    assert len(calls) == 2  # plain linear layers again


@pytest.mark.parametrize("family", ["roberta", "bert-headless"])
def test_lora_at_the_words_that_are_scored(tiny, family):
    model, inputs, _ = pruned(tiny(family))
    before = logits(model, inputs)
    targets = ["decoder"] if family == "roberta" else ["word_embeddings"]
    peft.get_peft_model(model, peft.LoraConfig(target_modules=targets, init_lora_weights=False)).eval()
    with torch.no_grad():
        found = logits(model, inputs)
        hidden = model.backbone.last_hidden(model.assemble(**inputs))[:, 0]
        words = [7, 200]
        if family == "roberta":
            expected = model.lm_head(hidden)[:, words]
        else:
            table = model.get_input_embeddings()(torch.tensor(words))
            expected = hidden @ nn.functional.normalize(table, dim=-1).T * 4
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - before).abs().max() > 1e-2


@pytest.mark.parametrize("offload", ["cpu_offload", "dispatch_model"])
def test_weights_that_accelerate_keeps_elsewhere(tiny, calls, offload):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.no_grad():
        before = logits(model, inputs)
        if offload == "cpu_offload":
            model = cpu_offload(model, execution_device=torch.device("cpu"))
        else:
            model = dispatch_model(model, {"": "cpu"}, main_device="cpu", force_hooks=True)
        torch.testing.assert_close(logits(model, inputs), before, rtol=1e-5, atol=1e-5)


def test_a_hook_on_every_module_is_not_passed_by(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append(1))
    try:
        with torch.no_grad():
            logits(model, inputs)
    finally:
        handle.remove()
    assert seen and not calls


def test_dropout_that_is_awake_is_not_passed_by(tiny):
    model, _, _ = pruned(tiny("roberta"))
    model.roberta.encoder.layer[0].train()
    assert "its dropout is awake" in refusal(model.backbone)


def test_a_freed_weight_is_not_read(tiny):
    model, _, _ = pruned(tiny("roberta"))
    model.roberta.encoder.layer[0].output.dense.weight.data.untyped_storage().resize_(0)
    assert "layer 0, output.dense: weight: its memory was freed" in refusal(model.backbone)
