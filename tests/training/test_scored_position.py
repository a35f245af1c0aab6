"""The last layer computes the scored position alone: loss and gradients of all positions, or all positions."""

from __future__ import annotations

import pytest
import torch
from pruned_models import pruned
from torch import nn
from torch.nn.modules import module as hooks_of_all
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from skn.model.adapter import TunedAdapter
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.training.losses import Part, losses

ENCODERS = ["roberta", "xlm-roberta", "bert", "bert-headless"]
METHODS = ["prompt", "bitfit", "adapter"]
INPUTS = {
    "input_ids": torch.arange(40, 70).reshape(3, 10),
    "attention_mask": (torch.arange(10) < torch.tensor([[10], [4], [7]])).long(),
    "token_type_ids": (torch.arange(10) > 3).long().expand(3, -1),
    "labels": torch.tensor([0, 1, 1]),
}


@pytest.fixture
def positions(monkeypatch):
    """The number of positions that each call returns from the encoder."""
    seen = []
    last_hidden = Backbone.last_hidden

    def watched(self, batch):
        hidden = last_hidden(self, batch)
        seen.append(hidden.shape[1])
        return hidden

    monkeypatch.setattr(Backbone, "last_hidden", watched)
    return seen


def tuned(backbone: Backbone, method: str) -> TunedModel:
    """A model whose every tuned tensor is random; a fresh adapter has a zero gradient in its down-projection."""
    model = TunedModel.fresh(backbone, [7, 8], 4, 4 if method == "prompt" else 1, method)
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * 0.3)
    return model


def both(model: TunedModel, inputs=INPUTS) -> tuple[list, list]:
    """Loss and gradients of the training, and of all positions."""
    (loss,) = losses([Part(model, **inputs)])
    return _of(model, loss), _of(model, model(**inputs)["loss"])


def _of(model: TunedModel, loss: torch.Tensor) -> list[torch.Tensor]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [loss.detach(), *torch.autograd.grad(loss, parameters)]


def assert_equal(found: list, expected: list) -> None:
    """Up to 1e-6 of each tensor's greatest element, or of the loss where a gradient is zero but for rounding."""
    for ours, plain in zip(found, expected, strict=True):
        assert (ours - plain).abs().max() <= 1e-6 * max(plain.abs().max(), expected[0])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ENCODERS)
def test_loss_and_gradients_are_those_of_all_positions(tiny, positions, family, method, attention):
    backbone = Backbone.load(str(tiny(family)))
    backbone.model.set_attn_implementation(attention)
    model = tuned(backbone, method)
    assert_equal(*both(model))
    assert positions == [1, 10 + model.prompt_length]
    unpadded = {**INPUTS, "attention_mask": torch.ones_like(INPUTS["input_ids"])}
    assert_equal(*both(model, unpadded))  # transformers makes no mask then


def test_a_pruned_backbone(tiny, positions):
    small, _, _ = pruned(tiny("roberta"))
    small.requires_grad_(False)
    assert_equal(*both(tuned(small.backbone, "prompt")))
    assert positions == [1, 14]


def test_a_decoder_computes_all_positions(tiny, positions):
    model = TunedModel.fresh(Backbone.load(str(tiny("gpt2"))), [7, 8], None, 3)
    found, expected = both(model, {name: INPUTS[name] for name in ("input_ids", "attention_mask", "labels")})
    assert positions == [13, 13] and all(map(torch.equal, found, expected))


class OtherLinear(nn.Linear):
    """A wrapper, say."""


def _subclass(layer):
    layer.attention.self.__class__ = type("Own", (type(layer.attention.self),), {})


def _other_package(layer):
    layer.output.dense.__class__ = OtherLinear


def _hook(layer):
    layer.intermediate.register_forward_hook(lambda _m, _i, activation: activation * 2)


def _adapter_and_hook(layer):
    layer.output.dense.register_forward_hook(TunedAdapter(32, 2).requires_grad_(False).behind)
    layer.output.dense.register_forward_hook(lambda _m, _i, output: output * 2)


def _hook_before_the_layer(layer):
    layer.register_forward_pre_hook(lambda _m, inputs: (inputs[0] * 2, *inputs[1:]))


def _own_forward(layer):
    forward = layer.forward
    layer.forward = lambda *arguments, **named: forward(*arguments, **named) * 2


def _awake_dropout(layer):
    layer.attention.self.dropout.train()


@pytest.mark.parametrize(
    "change",
    [_subclass, _other_package, _hook, _adapter_and_hook, _hook_before_the_layer, _own_forward, _awake_dropout],
)
def test_an_unknown_part_of_the_last_layer_computes_all_positions(tiny, positions, change):
    model = tuned(Backbone.load(str(tiny("roberta"))), "prompt")
    change(model.backbone.base.encoder.layer[-1])
    found, expected = both(model)
    assert positions == [14, 14] and all(map(torch.equal, found, expected))


def _hook_on_the_model(model, monkeypatch):
    model.backbone.base.register_forward_hook(lambda *_: None)


def _hook_on_every_module(model, monkeypatch):
    monkeypatch.setitem(hooks_of_all._global_forward_hooks, 1, lambda *_: None)


def _own_attention(model, monkeypatch):
    monkeypatch.setitem(AttentionInterface._global_mapping, "mine", sdpa_attention_forward)
    model.backbone.model.set_attn_implementation("mine")


@pytest.mark.parametrize("change", [_hook_on_the_model, _hook_on_every_module, _own_attention])
def test_an_unknown_model_computes_all_positions(tiny, positions, monkeypatch, change):
    model = tuned(Backbone.load(str(tiny("roberta"))), "prompt")
    change(model, monkeypatch)
    both(model)
    assert positions == [14, 14]


def test_an_unknown_part_of_an_earlier_layer_is_called_as_before(tiny, positions):
    model = tuned(Backbone.load(str(tiny("roberta"))), "prompt")
    _hook(model.backbone.base.encoder.layer[0])
    assert_equal(*both(model))
    assert positions == [1, 14]


def test_the_backbone_itself_is_not_changed(tiny):
    backbone = Backbone.load(str(tiny("roberta")))
    modules = dict(backbone.model.named_modules())
    both(tuned(backbone, "prompt"))
    after = dict(backbone.model.named_modules())
    assert after.keys() == modules.keys() and all(after[name] is modules[name] for name in modules)
