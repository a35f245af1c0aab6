"""A prepacked model: calls that look at no module and no weight, and what ends the promise behind them."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from pruned_models import logits, pruned

from skn.errors import InputError
from skn.inference import calls as calls_of_models
from skn.inference.calls import PLAIN_ROWS
from skn.ops import native
from skn.pruned.modeling import PrunedBertForMaskedLM, PrunedRobertaForMaskedLM


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


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_answers_are_the_same_and_nothing_is_looked_at(tiny, calls, no_looks, family, dtype):
    model, inputs, _ = pruned(tiny(family))
    model.to(dtype)
    many = {name: ids.repeat(PLAIN_ROWS, 1) for name, ids in inputs.items()}
    alone = {name: ids[:1] for name, ids in inputs.items()}
    expected = [answers(model, texts) for texts in (inputs, many, alone)]
    assert model.prepack() is model and not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    no_looks()
    bound = 1e-5 if dtype is torch.float32 else 3e-2
    for texts, same in zip((inputs, many, alone), expected, strict=True):
        torch.testing.assert_close(answers(model, texts), same, rtol=bound, atol=bound)
    assert torch.equal(logits(model, inputs), answers(model, inputs))  # with gradients enabled, too
    assert len(calls) == 8


@pytest.mark.parametrize("family", ["roberta", "bert"])
def test_a_masked_lm(tiny, calls, no_looks, family, tmp_path):
    small, inputs, _ = pruned(tiny(family))
    small.save_pretrained(tmp_path)
    model = (PrunedRobertaForMaskedLM if family == "roberta" else PrunedBertForMaskedLM).from_pretrained(tmp_path)
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
    fresh, _, _ = pruned(tiny("roberta"))
    assert torch.equal(answers(fresh.to_int8(**inputs), inputs), found)
    no_looks()
    assert torch.equal(answers(model, inputs), found)


def test_an_edit_and_a_hook_show_again_after_training(tiny):
    model, inputs, _ = pruned(tiny("roberta"))
    before, seen = answers(model.prepack(), inputs), []
    edited(model)
    model.roberta.encoder.layer[0].register_forward_hook(lambda *_: seen.append(1))
    assert torch.equal(answers(model, inputs), before) and not seen  # the promise that the user gave
    model.train().eval()
    assert not torch.equal(answers(model, inputs), before) and seen


def test_requiring_gradients_ends_it(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    model.prepack().requires_grad_()
    assert model(**inputs).logits.requires_grad and not calls
    edited(model)
    after = answers(model, inputs)
    torch.testing.assert_close(after, logits(model, inputs), rtol=1e-5, atol=1e-5)


def test_a_gradient_of_the_inputs_is_answered_by_the_modules(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    rows = model.prepack().get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    model(inputs_embeds=rows, attention_mask=inputs["attention_mask"]).logits.sum().backward()
    assert rows.grad.abs().sum() > 0 and not calls


def loads_a_dict(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["roberta.encoder.layer.1.output.dense.weight"].neg_()
    model.load_state_dict(state)


def casts(model):
    model.to(torch.bfloat16)


def casts_a_part(model):
    model.roberta.to(torch.bfloat16)
    model.lm_head.to(torch.bfloat16)


def takes_bf16x3(model):
    model.bf16x3 = True


@pytest.mark.parametrize("change", [loads_a_dict, casts, casts_a_part, takes_bf16x3])
def test_what_a_method_changes_is_packed_again(tiny, calls, no_looks, change):
    model, inputs, _ = pruned(tiny("roberta"))
    before = answers(model.prepack(), inputs)
    change(model)
    after = answers(model, inputs)
    other, _, _ = pruned(tiny("roberta"))
    change(other)
    assert not torch.equal(after, before)
    assert torch.equal(after, answers(other.prepack(), inputs))
    no_looks()
    assert torch.equal(answers(model, inputs), after)
    assert len(calls) == 4


def test_copies_and_loaded_folders_are_not_prepacked(tiny, tmp_path):
    model, inputs, _ = pruned(tiny("roberta"))
    model.prepack().save_pretrained(tmp_path)
    for other in (copy.deepcopy(model), type(model).from_pretrained(tmp_path)):
        before = answers(other, inputs)
        edited(other)
        assert not torch.equal(answers(other, inputs), before)


def test_packed_weights_go_with_the_model(tiny):
    gc.collect()
    before = len(calls_of_models._prepacked)
    model, _, _ = pruned(tiny("roberta"))
    model.prepack()
    assert len(calls_of_models._prepacked) == before + 1
    del model
    gc.collect()
    assert len(calls_of_models._prepacked) == before


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda model: model.double(), "float32 or bfloat16, not in float64"),
        (lambda model: model.roberta.encoder.register_forward_hook(print), "hooks hang on it"),
    ],
)
def test_a_model_that_encode_cannot_serve_is_refused(tiny, spoil, reason):
    model, inputs, _ = pruned(tiny("roberta"))
    spoil(model)
    with pytest.raises(InputError, match=f"prepack: .*{reason}.*; without prepack"):
        model.prepack()
    assert model(**inputs).logits.requires_grad  # it is not frozen
