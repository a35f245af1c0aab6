"""Resampled neurons: held against two single passes for each example, on encoders, decoders, templates and adapters."""

from __future__ import annotations

import pytest
import torch
from masked_models import keep_random, random_mean

from skn.data.splits import Examples
from skn.data.template import Template
from skn.inference.batches import collate, tokenize
from skn.inference.engine import predict
from skn.inference.hf import Tap
from skn.inference.readouts import PROMPT
from skn.inference.resample import Resample
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.ops import native
from skn.pruned.pruning import prune

TEXTS = [
    "the film is funny",
    "although the plot is slow , the ending is wonderful",
    "dull",
    "a charming cast and a plot",
]
DONOR = torch.tensor([1, 2, 3, 0])
CHOSEN = torch.zeros(3, 48, dtype=torch.bool)
CHOSEN[0, [1, 7]] = True
CHOSEN[2, 20:] = True
CASES = {
    "roberta": ("roberta", "prompt"),
    "adapters": ("roberta", "adapter"),
    "bert, template": ("bert", "{text} It was {mask}."),
    "gpt2": ("gpt2", "prompt"),
    "llama, template": ("llama", "Review: {text} It was"),
    "opt": ("opt", "prompt"),  # its layers flatten the batch
}
ON = [
    *((case, "hf") for case in CASES),
    ("roberta", "fast"),
    ("bert, template", "fast"),
]


@pytest.fixture(autouse=True)
def library(request):
    """Without the native kernels, no backbone runs on the engine fast."""
    called = getattr(request.node, "callspec", None)
    if called and called.params.get("engine") == "fast" and native.isa() is None:
        pytest.skip("no native library")


@pytest.fixture
def setting(tiny):
    def build(family, method, dtype="float32"):
        tokenizer, backbone = load_tokenizer(str(tiny(family))), Backbone.load(str(tiny(family)), dtype=dtype)
        data = Examples(TEXTS, None, [0, 1, 0, 1])
        if "{" in method:
            model = TemplatedModel(backbone, [7, 8])
            return model, tokenize(data, tokenizer, 50, Template.read(method))
        model = TunedModel.fresh(backbone, [7, 8], tokenizer.mask_token_id, 3 if method == "prompt" else 1, method)
        return model.requires_grad_(False), tokenize(data, tokenizer, 50)

    return build


def alone(model, encoded, row, change=None):
    """The logits of a single example, and what each down-projection reads, while ``change`` acts on that."""
    read = []

    def hook(_module, inputs, layer):
        read.append(inputs[0].clone().reshape(-1, inputs[0].shape[-1]))
        if change is not None:
            return (change(layer, read[-1]).reshape(inputs[0].shape),)

    handles = [
        site.down.register_forward_pre_hook(lambda module, inputs, layer=site.layer: hook(module, inputs, layer))
        for site in model.backbone.ffn_sites
    ]
    logits = predict(model, encoded.take([row]), 1, "alone", "hf")
    for handle in handles:
        handle.remove()
    return logits[0], read


def kinds(model, encoded, row):
    """Each position's name: the same in two examples where one position stands for the other."""
    names, around, own = [], 0, 0
    for is_own in collate(encoded, [row]).own[0].tolist():
        around, own = (around, own + 1) if is_own else (around + 1, 0)
        names.append((around, own))
    prompt = [("prompt", place) for place in range(model.prompt_length)]
    return [*names, *prompt] if model.backbone.causal else [*prompt, *names]


@torch.inference_mode()
def expected(model, encoded):
    """Each example by hand: its donor's pass, then its own pass with the donor's values, position by position."""
    rows, chosen = [], [CHOSEN[site.layer, site.neurons.cpu()] for site in model.backbone.ffn_sites]
    for row, donor in enumerate(DONOR.tolist()):
        given = alone(model, encoded, donor)[1]
        theirs = {name: place for place, name in enumerate(kinds(model, encoded, donor))}

        def change(layer, activation, given=given, theirs=theirs, row=row):
            changed = activation.clone()
            for place, name in enumerate(kinds(model, encoded, row)):
                if name in theirs:
                    changed[place, chosen[layer]] = given[layer][theirs[name], chosen[layer]]
            return changed

        rows.append(alone(model, encoded, row, change)[0])
    return torch.stack(rows)


@pytest.mark.parametrize(("case", "engine"), ON)
def test_it_is_two_passes_by_hand(setting, case, engine):
    model, encoded = setting(*CASES[case])
    found = predict(model, encoded, 10_000, engine=engine, mask=Resample(CHOSEN, DONOR))
    torch.testing.assert_close(found, expected(model, encoded), rtol=1e-5, atol=1e-5)
    plain = predict(model, encoded, 10_000, engine=engine)
    assert (found - plain).abs().max() > 1e-3
    torch.testing.assert_close(predict(model, encoded, 10_000, engine=engine), plain, rtol=0, atol=0)  # nothing is left


@pytest.mark.parametrize(("family", "engine"), [("gpt2", "hf"), ("roberta", "fast")])
def test_neurons_of_a_pruned_model_have_their_original_numbers(setting, family, engine):
    model, encoded = setting(family, "prompt")
    small = prune(model, keep_random((9, 48, 20)), random_mean(), ["bad", "good"])
    found = predict(small, encoded, 10_000, engine=engine, mask=Resample(CHOSEN, DONOR))
    torch.testing.assert_close(found, expected(small, encoded), rtol=1e-5, atol=1e-5)
    assert (found - predict(small, encoded, 10_000, engine=engine)).abs().max() > 1e-3


@pytest.mark.parametrize("chosen", [torch.zeros_like(CHOSEN), CHOSEN & (torch.arange(3) < 1)[:, None]])
@pytest.mark.parametrize("engine", ["hf", "fast"])
def test_layers_without_masked_neurons(setting, engine, chosen):
    """Also where no layer has any, as a curve that begins at no neuron asks for."""
    model, encoded = setting("roberta", "prompt")
    found = predict(model, encoded, 10_000, engine=engine, mask=Resample(chosen, DONOR))
    plain = predict(model, encoded, 10_000, engine=engine)
    assert torch.equal(found, plain) == (not chosen.any())
    other = predict(model, encoded, 10_000, engine="hf", mask=Resample(chosen, DONOR))
    torch.testing.assert_close(found, other, rtol=1e-5, atol=1e-5)


def test_the_default_is_fast_where_the_backbone_allows_it(setting):
    if native.isa() is None:
        pytest.skip("no native library")
    for case, engine in (("roberta", "fast"), ("gpt2", "hf"), ("adapters", "hf")):
        model, encoded = setting(*CASES[case])
        mask = Resample(CHOSEN, DONOR)
        assert torch.equal(
            predict(model, encoded, 30, mask=mask), predict(model, encoded, 30, engine=engine, mask=mask)
        )


@pytest.mark.parametrize("engine", ["fast"])
def test_in_bfloat16_fast_is_no_worse_than_hf(setting, engine):
    (model, encoded), exact = setting("roberta", "prompt", "bfloat16"), expected(*setting("roberta", "prompt"))
    errors = {
        name: (predict(model, encoded, 99, engine=name, mask=Resample(CHOSEN, DONOR)) - exact).abs().max()
        for name in (engine, "hf")
    }
    assert errors[engine] < max(1.5 * errors["hf"], 0.01)


@pytest.mark.parametrize("engine", ["fast"])
def test_in_bf16x3_it_is_near_float32(setting, engine):
    model, encoded = setting("roberta", "prompt", "bf16x3")
    found = predict(model, encoded, 99, engine=engine, mask=Resample(CHOSEN, DONOR))
    exact = expected(*setting("roberta", "prompt"))
    assert 1e-7 < (found - exact).abs().max() / exact.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("case", "engine"),
    [("roberta", "hf"), ("gpt2", "hf"), ("bert, template", "hf"), ("roberta", "fast"), ("bert, template", "fast")],
)
def test_batches_change_nothing(setting, case, engine):
    model, encoded = setting(*CASES[case])
    mask = Resample(CHOSEN, DONOR)
    found = [predict(model, encoded, tokens, engine=engine, mask=mask) for tokens in (1, 30, 10_000)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-6, atol=1e-6)


def test_donors_run_in_batches_of_the_same_size(setting):
    """A batch of short texts can have long donors."""
    model, encoded = setting("roberta", "prompt")
    batches = Resample(CHOSEN, DONOR).donors(encoded, [0, 2, 3], 40, model.prompt_length)
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == [0, 1, 2]
    assert all(batch.input_ids.shape[1] + 3 <= 40 // len(batch.rows) or len(batch.rows) == 1 for batch in batches)
    assert len(batches) > 1


@pytest.mark.parametrize("engine", ["hf", "fast"])
def test_a_tap_reads_the_masked_batch_alone(setting, engine):
    model, encoded = setting("roberta", "prompt")
    every = torch.ones(3, 48, dtype=torch.bool)
    read = {}

    def add(site, _readout, activation, batch):
        for row, value in zip(batch.rows.tolist(), activation, strict=True):
            assert (row, site.layer) not in read
            read[row, site.layer] = value.clone()

    predict(model, encoded, 40, engine=engine, mask=Resample(every, DONOR), tap=Tap([PROMPT], add))
    resampled = dict(read)
    read.clear()
    predict(model, encoded, 40, engine="hf", tap=Tap([PROMPT], add))
    for (row, layer), value in resampled.items():
        torch.testing.assert_close(value, read[DONOR[row].item(), layer], rtol=1e-5, atol=1e-5)
