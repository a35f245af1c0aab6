"""A prepacked model: calls that look at no module and no weight, and what ends the promise behind them."""

from __future__ import annotations

import copy
import gc
import re

import pytest
import torch
from pruned_models import SERVED, logits, pruned
from transformers import AutoModelForMaskedLM

from skn.errors import InputError
from skn.inference import calls as calls_of_models
from skn.inference.calls import plain_rows
from skn.inference.prepacked import prepacked
from skn.neurons.statistics import NeuronStatistics
from skn.ops import backends, native


@pytest.fixture(autouse=True)
def library():
    if native.isa() is None:
        pytest.skip("no native library")


@pytest.fixture
def no_looks(monkeypatch):
    """Fail where a call looks at modules or weights."""

    def forbid():
        for name in ("refusal", "packed_weights", "encoder_weights"):
            monkeypatch.setattr(calls_of_models, name, lambda *_, name=name: pytest.fail(f"a call asked for {name}"))

    return forbid


def answers(model, inputs):
    with torch.inference_mode():
        return logits(model, inputs)


def edited(model):
    model.base_model.encoder.layer[1].output.dense.weight.data.neg_()


@pytest.mark.parametrize("family", SERVED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_answers_are_the_same_and_nothing_is_looked_at(tiny, calls, no_looks, family, dtype):
    model, inputs, _ = pruned(tiny(family))
    model.to(dtype)
    many = {name: ids.repeat(plain_rows(dtype), 1) for name, ids in inputs.items()}
    alone = {name: ids[:1] for name, ids in inputs.items()}
    expected = [answers(model, texts) for texts in (inputs, many, alone)]
    assert model.requires_grad_(False).prepack() is model
    no_looks()
    bound = 1e-5 if dtype is torch.float32 else 3e-2
    for texts, same in zip((inputs, many, alone), expected, strict=True):
        torch.testing.assert_close(answers(model, texts), same, rtol=bound, atol=bound)
    assert torch.equal(logits(model, inputs), answers(model, inputs))  # with gradients enabled, too
    assert len(calls) == 8


@pytest.mark.parametrize("family", ["roberta", "bert", "electra", "distilbert"])
def test_a_masked_lm(tiny, calls, no_looks, family, tmp_path):
    small, inputs, _ = pruned(tiny(family))
    small.save_pretrained(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    expected = answers(model, inputs)
    model.prepack()
    no_looks()
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(answers(model, inputs)[real], expected[real], rtol=1e-5, atol=2e-5)
    assert len(calls) == 2


def test_int8(tiny, calls, no_looks):
    """A conversion of a prepacked model shows, and the converted model stays prepacked."""
    model, inputs, _ = pruned(tiny("roberta"))
    plain = answers(model.prepack(), inputs)
    model.to_int8(**inputs)
    found = answers(model, inputs)
    assert not torch.equal(found, plain)
    assert torch.equal(answers(copy.deepcopy(model), inputs), found)
    no_looks()
    assert torch.equal(answers(model, inputs), found)


def test_an_edit_through_data_and_a_hook_show_again_after_training(tiny):
    model, inputs, _ = pruned(tiny("roberta"))
    before, seen = answers(model.prepack(), inputs), []
    edited(model)
    handle = model.roberta.encoder.layer[0].register_forward_hook(lambda *_: seen.append(1))
    assert torch.equal(answers(model, inputs), before) and not seen  # the promise that the user gave
    model.train().eval()
    after = answers(model, inputs)
    assert not torch.equal(after, before) and seen
    handle.remove()
    torch.testing.assert_close(answers(model, inputs), after, rtol=1e-5, atol=1e-5)
    edited(model)
    torch.testing.assert_close(answers(model, inputs), before, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_modules(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    model.prepack().requires_grad_(False)
    part = model.roberta.encoder.layer[1].requires_grad_()
    model(**inputs).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in part.parameters()) and not calls


def test_statistics_of_a_prepacked_model(tiny, no_looks):
    """Their hooks are seen, and afterwards the model is prepacked again."""
    model, inputs, _ = pruned(tiny("roberta"))
    found = NeuronStatistics(model.prepack(), classes=1)
    with torch.inference_mode(), found.record(attention_mask=torch.ones(3, 4 + inputs["input_ids"].shape[1])):
        model(**inputs)
    assert found.compute().count.tolist() == [3]
    no_looks()
    answers(model, inputs)


def test_what_ends_the_promise_while_statistics_record_ends_it(tiny):
    model, inputs, _ = pruned(tiny("roberta"))
    found = NeuronStatistics(model.prepack(), classes=1)
    with torch.inference_mode(), found.record(attention_mask=torch.ones(3, 4 + inputs["input_ids"].shape[1])):
        model.train().eval()
        before = logits(model, inputs)
    edited(model)
    assert not torch.allclose(answers(model, inputs), before, rtol=1e-5, atol=1e-5)


def test_a_gradient_of_the_inputs_is_answered_by_the_modules(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    rows = model.prepack().get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    model(inputs_embeds=rows, attention_mask=inputs["attention_mask"]).logits.sum().backward()
    assert rows.grad.abs().sum() > 0 and not calls


def negated(model, **how):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = next(name for name in state if name.endswith("encoder.layer.1.output.dense.weight"))
    state[weight].neg_()
    model.load_state_dict(state, **how)


def loads_and_answers_meanwhile(model, inputs):
    """As where another thread calls the model before the weights are loaded."""
    handle = model.register_load_state_dict_pre_hook(lambda *_: answers(model, inputs))
    negated(model)
    handle.remove()


def takes_a_step(model, inputs):
    model.requires_grad_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**inputs).logits[:, 0].sum().backward()
    optimizer.step()
    model.requires_grad_(False)


def casts_a_part(model, _inputs):
    model.roberta.to(torch.bfloat16)
    model.lm_head.to(torch.bfloat16)


def takes_bf16x3(model, _inputs):
    model.bf16x3 = True


CHANGES = {
    "load_state_dict": lambda model, _: negated(model),
    "assign=True": lambda model, _: negated(model, assign=True),
    "of a wrapper": lambda model, _: negated(torch.nn.Sequential(model)),
    "of the encoder": lambda model, _: negated(model.roberta),
    "and a call meanwhile": loads_and_answers_meanwhile,
    "a step": takes_a_step,
    "a cast": lambda model, _: model.to(torch.bfloat16),
    "a cast and back": lambda model, _: model.to(torch.bfloat16).to(torch.float32),
    "a cast of a part": casts_a_part,
    "bf16x3": takes_bf16x3,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_torch_or_the_model_can_tell_is_packed_again(tiny, calls, no_looks, change):
    model, inputs, _ = pruned(tiny("roberta"))
    before = answers(model.prepack(), inputs)
    CHANGES[change](model, inputs)
    after = answers(model, inputs)
    assert not torch.equal(after, before)
    assert torch.equal(after, answers(copy.deepcopy(model).prepack(), inputs))
    no_looks()
    assert torch.equal(answers(model, inputs), after)


def test_copies_and_loaded_folders_are_not_prepacked(tiny, tmp_path):
    model, inputs, _ = pruned(tiny("roberta"))
    model.prepack().save_pretrained(tmp_path)
    for other in (copy.deepcopy(model), type(model).from_pretrained(tmp_path)):
        before = answers(other, inputs)
        edited(other)
        assert not torch.equal(answers(other, inputs), before)


def test_packed_weights_go_with_the_model(tiny):
    gc.collect()
    before = len(prepacked)
    model, _, _ = pruned(tiny("roberta"))
    model.prepack()
    assert len(prepacked) == before + 1
    del model
    gc.collect()
    assert len(prepacked) == before


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda model: model.double(), "float32 or bfloat16, not in float64"),
        (lambda model: model.roberta.encoder.register_forward_hook(print), "hooks hang on it"),
        (lambda model: model.train(), "the model is in training mode; call eval() first"),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_refused_model_is_as_it_was_and_not_prepacked(tiny, spoil, reason, again):
    model, inputs, _ = pruned(tiny("roberta"))
    if again:
        model.prepack()
    spoil(model)
    training = model.training
    with pytest.raises(InputError, match=f"^prepack: .*{re.escape(reason)}"):
        model.prepack()
    assert model.base_model not in prepacked and model.training == training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_without_a_kernel_it_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(backends, "has_kernel", lambda *_: False)
    model, _, _ = pruned(tiny("roberta"))
    with pytest.raises(InputError, match="^prepack: no kernel of encode serves cpu"):
        model.prepack()
