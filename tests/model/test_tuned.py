"""A tuned model is whole when it is made, and several stand on one backbone without a trace of each other."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel

METHODS = ["prompt", "bitfit", "adapter"]
INSIDE = METHODS[1:]
IDS = torch.arange(40, 58).reshape(2, 9)
COPIES = {
    "deep copy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": lambda model: saved(model),
}


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture
def backbone(tiny) -> Backbone:
    return Backbone.load(str(tiny("roberta")))


def made(backbone: Backbone, method: str, seed: int) -> TunedModel:
    """A model whose every tuned tensor is random."""
    model = TunedModel.fresh(backbone, [7, 8], 4, 4 if method == "prompt" else 1, method, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@torch.no_grad()
def answer(model: TunedModel) -> torch.Tensor:
    return model(IDS, torch.ones_like(IDS))["logits"]


@torch.no_grad()
def plain_hidden(backbone: Backbone) -> torch.Tensor:
    prompt = torch.zeros(1, backbone.hidden_size)
    return backbone.last_hidden(backbone.assemble(prompt, IDS, torch.ones_like(IDS)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["roberta", "bert-headless"])
def test_a_model_from_stored_tensors_is_the_model_that_stored_them(tiny, family, method):
    model = made(Backbone.load(str(tiny(family))), method, 1)
    tensors = model.tuned_tensors()
    again = TunedModel.from_tensors(Backbone.load(str(tiny(family))), tensors, method, position_start=1)
    assert again.position_start == 1 and again.prompt_length == model.prompt_length
    again = TunedModel.from_tensors(Backbone.load(str(tiny(family))), tensors, method)
    assert torch.equal(answer(again), answer(model))
    stored = again.tuned_tensors()
    assert list(stored) == list(tensors) and all(torch.equal(stored[name], tensors[name]) for name in tensors)
    tensors["prompt"] += 1
    assert torch.equal(again.tuned_tensors()["prompt"], stored["prompt"])


def test_a_causal_model_from_stored_tensors(tiny):
    model = TunedModel.fresh(Backbone.load(str(tiny("gpt2"))), [7, 8], None, 3, seed=2)
    again = TunedModel.from_tensors(Backbone.load(str(tiny("gpt2"))), model.tuned_tensors(), "prompt")
    assert torch.equal(answer(again), answer(model)) and "mask_embedding" not in model.tuned_tensors()


@pytest.mark.parametrize("method", METHODS)
def test_tensors_that_do_not_fit_are_refused(backbone, method):
    """Name for name: without it, of another shape, and beside a name too many."""
    tensors = made(backbone, method, 1).tuned_tensors()
    names = ["mask_embedding", "prompt", *list(tensors)[-2:]]
    for name in {*names, "label_ids"}:
        with pytest.raises(InputError, match=f"do not fit this backbone and method: \\['{name}'\\]"):
            TunedModel.from_tensors(backbone, {n: t for n, t in tensors.items() if n != name}, method)
    for name in set(names):
        wrong = tensors | {name: tensors[name][..., :-1]}
        with pytest.raises(InputError, match=f"tuned tensor '{name}' is .*, this model needs"):
            TunedModel.from_tensors(backbone, wrong, method)
    with pytest.raises(InputError, match="\\['more'\\]"):
        TunedModel.from_tensors(backbone, tensors | {"more": tensors["prompt"]}, method)
    other = "adapter" if method == "bitfit" else "bitfit"
    with pytest.raises(InputError, match="do not fit"):
        TunedModel.from_tensors(backbone, tensors, other)


@pytest.mark.parametrize("method", INSIDE)
def test_models_on_one_backbone_do_not_see_each_other(tiny, backbone, method):
    before, digest = plain_hidden(backbone), backbone.digest()
    alone = [answer(made(Backbone.load(str(tiny("roberta"))), method, seed)) for seed in range(3)]
    shared = [made(backbone, method, seed) for seed in range(3)]
    for seed in (2, 0, 1, 1, 0):
        assert torch.equal(answer(shared[seed]), alone[seed])
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    assert torch.equal(plain_hidden(backbone), before) and backbone.digest() == digest
    assert (plain_hidden(shared[0].backbone) - before).abs().max() > 1e-3
    assert not any(p.requires_grad for p in backbone.model.parameters())
    over = made(shared[0].backbone, "prompt", 5)  # the backbone under the model, not the model
    assert torch.equal(answer(over), answer(made(backbone, "prompt", 5)))


@pytest.mark.parametrize("method", INSIDE)
def test_a_forward_that_fails_leaves_nothing_behind(backbone, method):
    model, before = made(backbone, method, 1), plain_hidden(backbone)
    expected, site = answer(model), model.backbone.ffn_sites[2]

    def fail(*_):
        raise KeyError("in the middle")

    handle = site.activation.register_forward_hook(fail)
    with pytest.raises(KeyError, match="in the middle"):
        answer(model)
    handle.remove()
    assert torch.equal(plain_hidden(backbone), before) and torch.equal(answer(model), expected)


@pytest.mark.parametrize("method", INSIDE)
def test_a_model_inside_another_on_one_backbone(backbone, method):
    outer, inner = made(backbone, method, 1), made(backbone, method, 2)
    expected, seen = (answer(outer), answer(inner)), []
    outer.backbone.ffn_sites[1].activation.register_forward_hook(lambda *_: seen.append(answer(inner)))
    assert torch.equal(answer(outer), expected[0]) and torch.equal(seen[0], expected[1])


@pytest.mark.parametrize("method", METHODS)
def test_models_on_one_backbone_in_threads(backbone, method):
    models = [made(backbone, method, seed) for seed in range(3)]
    expected = [*map(answer, models), plain_hidden(backbone)]
    calls = [*(lambda model=model: answer(model) for model in models), lambda: plain_hidden(backbone)]
    with ThreadPoolExecutor(4) as pool:
        found = [[pool.submit(call) for call in calls] for _ in range(20)]
    for round_ in found:
        assert all(torch.equal(one.result(), right) for one, right in zip(round_, expected, strict=True))


@pytest.mark.parametrize("method", INSIDE)
def test_a_model_has_the_weights_of_its_backbone_and_no_copies(backbone, method):
    model = made(backbone, method, 1)
    own = {id(parameter) for parameter in model.extra.parameters()}
    plain = {id(tensor) for tensor in (*backbone.model.parameters(), *backbone.model.buffers())}
    for tensor in (*model.backbone.model.parameters(), *model.backbone.model.buffers()):
        assert id(tensor) in own or id(tensor) in plain


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_copy_is_a_model_of_its_own(backbone, method, duplicate):
    model = made(backbone, method, 1)
    before, other = answer(model), duplicate(model)
    assert torch.equal(answer(other), before) and other.backbone.model is not backbone.model
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(-1)
    assert (answer(other) - before).abs().max() > 1e-3 and torch.equal(answer(model), before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1)
    assert torch.equal(answer(model), answer(other))
    copied = made(other.backbone, method, 1)  # over the copy's own backbone
    assert torch.equal(answer(copied), before)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_all_that_is_tuned_and_nothing_else(backbone, method):
    model = made(backbone, method, 1)
    model(IDS, torch.ones_like(IDS), labels=torch.tensor([0, 1]))["loss"].backward()
    tuned = [model.prompt] if method == "prompt" else list(model.extra.parameters())
    assert tuned and all(p.grad is not None for p in tuned) and sum(p.grad.abs().sum() for p in tuned) > 0
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in tuned}
    assert all(p.grad is None for p in backbone.model.parameters())
