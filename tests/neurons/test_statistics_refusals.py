"""What NeuronStatistics refuses, and that nothing is added then."""

from __future__ import annotations

import builtins

import pytest
import torch
import transformers
from recorded import LAYERS, WIDTH, batches_of, model_of, record_all
from torch import nn

from skn.errors import InputError
from skn.neurons.statistics import NeuronStatistics
from skn.pruned.modeling import PrunedBertConfig, PrunedBertForPromptClassification

pytestmark = pytest.mark.usefixtures("one_thread")
INPUTS = {
    "input_ids": torch.full((3, 4), 7),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]),
}
LABELS, MASK = torch.tensor([0, 1, 1]), INPUTS["attention_mask"]
OFTEN = {
    "no label": ((None, MASK), "labels"),
    "a label too large": ((torch.tensor([0, 2, 1]), MASK), "label 2 of example 1 lies outside 0 to 1"),
    "a label too small": ((torch.tensor([0, 1, -100]), MASK), "label -100 of example 2"),
    "labels that are no whole numbers": ((torch.rand(3), MASK), "whole numbers"),
    "labels of two axes": ((LABELS[:, None], MASK), r"\[3, 1\]"),
    "labels of another batch": ((LABELS[:2], MASK), "2 labels, the model reads 3 examples"),
    "a mask of other examples": ((LABELS, MASK[:2]), r"attention_mask is \[2, 4\]"),
    "a mask of other tokens": ((LABELS, MASK[:, 1:]), r"attention_mask is \[3, 3\], the model's layers read \[3, 4\]"),
    "a mask with an empty text": ((LABELS, MASK * torch.tensor([[1], [0], [1]])), "example 1 has no real token"),
    "a mask to be added": ((LABELS, (1 - MASK) * -1e9), "other values than 0 and 1"),
    "a mask of four axes": ((LABELS, MASK[:, None, None]), r"\[B, S\]"),
}


@pytest.fixture(scope="module")
def model():
    return model_of("bert")


@pytest.fixture
def stats(model):
    """With a batch inside; at the end it must be the only one, and another can be added."""
    stats = NeuronStatistics(model, 2, threshold=torch.zeros(LAYERS, WIDTH))
    record_all(stats, model, [(INPUTS, LABELS)])
    before = stats.state_dict()
    yield stats
    assert all(torch.equal(state, before[name]) for name, state in stats.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert record_all(stats, model, [(INPUTS, LABELS)]).count.tolist() == [2, 4]


@pytest.mark.parametrize("given, says", OFTEN.values(), ids=list(OFTEN))
def test_a_bad_batch(stats, model, given, says):
    with pytest.raises(InputError, match=says), stats.record(*given):
        model(**INPUTS)


def test_a_model_that_is_called_twice(stats, model):
    with pytest.raises(InputError, match="ran twice"), stats.record(LABELS, MASK):
        model(**INPUTS)
        model(**INPUTS)


def test_a_model_that_is_not_called(stats):
    with pytest.raises(InputError, match="did not run"), stats.record(LABELS, MASK):
        pass


def test_a_model_that_runs_in_part(stats, model):
    with pytest.raises(InputError, match="layer 1 did not run"), stats.record(LABELS, MASK):
        model.encoder.layer[0](torch.randn(3, 4, 16))


def test_an_exception_of_ones_own(stats, model):
    with pytest.raises(ZeroDivisionError), stats.record(LABELS, MASK):
        model(**INPUTS)
        1 / 0  # noqa: B018


def test_a_record_inside_a_record(stats, model):
    with pytest.raises(InputError, match="already open"), stats.record(LABELS, MASK):
        with stats.record(LABELS, MASK):
            model(**INPUTS)


def test_generation():
    model = model_of("gpt2")
    stats = NeuronStatistics(model, 1)
    with pytest.raises(InputError, match="each step of a generation"), stats.record():
        model.generate(torch.full((2, 3), 7), max_new_tokens=3, do_sample=False)
    assert stats.compute().count.tolist() == [0]


@pytest.mark.parametrize("mask", [MASK, None])
def test_a_text_without_a_listed_position(model, mask):
    position, says = (-3, "example 1 has 2 real tokens and no position -3") if mask is not None else (4, "position 4")
    stats = NeuronStatistics(model, 1, [0, position])
    with pytest.raises(InputError, match=says), stats.record(attention_mask=mask):
        model(**INPUTS)
    assert stats.compute().count.tolist() == [0]


def test_a_prompt_of_the_models_own():
    """A pruned classifier reads its prompt before the text: the mask has ones for it."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = PrunedBertConfig(**sizes, intermediate_size=8, ffn_widths=[3, 8], prompt_length=5)
    model = PrunedBertForPromptClassification(config).eval()
    stats = NeuronStatistics(model, 2, "first")
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    with pytest.raises(InputError, match="a prompt's included"), stats.record(LABELS, mask), torch.no_grad():
        model(INPUTS["input_ids"], mask)
    with stats.record(LABELS, torch.cat([torch.ones(3, 5), mask], dim=1)), torch.no_grad():
        model(INPUTS["input_ids"], mask)
    assert stats.compute().count.tolist() == [1, 2]


def test_models_that_cannot_be_read(model):
    def of(model, says):
        with pytest.raises(InputError, match=says):
            NeuronStatistics(model, 2)

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    of(
        transformers.MegatronBertModel(transformers.MegatronBertConfig(vocab_size=20, **sizes)),
        "'megatron-bert' is not",
    )
    of(transformers.AlbertModel(transformers.AlbertConfig(vocab_size=20, **sizes)), "ALBERT runs one layer's weights")
    of(nn.Linear(2, 2), "Hugging Face model, got Linear")
    of("roberta-base", "Hugging Face model, got str")
    of(nn.DataParallel(model), "model.module")
    of(torch.compile(model), "compiled")
    of(model.encoder, "without the family's layers")
    of(model_of_chunks(), "chunk_size_feed_forward")


def model_of_chunks():
    model = model_of("bert")
    model.config.chunk_size_feed_forward = 2
    return model


@pytest.mark.parametrize(
    "change, says",
    [
        ({"classes": 0}, "classes must be"),
        ({"classes": 2.0}, "classes must be"),
        ({"readout": "cls"}, "'first', 'last', 'mean', 'max' or a list of positions"),
        ({"readout": []}, "at least one"),
        ({"readout": [0.5]}, "whole numbers"),
        ({"readout": 3}, "whole numbers"),
        ({"threshold": torch.zeros(LAYERS, 1, WIDTH)}, r"must be a tensor \[3, 24\]"),
        ({"threshold": torch.zeros(LAYERS, WIDTH), "readout": [0]}, r"must be a tensor \[3, 1, 24\]"),
        ({"threshold": 0.5}, "got float"),
        ({"threshold": torch.full((LAYERS, WIDTH), torch.nan)}, "neuron 0,0 is NaN"),
    ],
)
def test_settings(model, change, says):
    with pytest.raises(InputError, match=says):
        NeuronStatistics(**{"model": model, "classes": 2} | change)


def test_states_that_do_not_add(stats, model):
    zeros = torch.zeros(LAYERS, WIDTH)
    others = [
        NeuronStatistics(model, 3, threshold=zeros),
        NeuronStatistics(model, 2, "first", threshold=zeros),
        NeuronStatistics(model, 2, threshold=zeros + 1),
        NeuronStatistics(model, 2),
    ]
    for other in others:
        with pytest.raises(InputError, match="do not add"):
            stats.merge(other)


def test_states_that_do_not_load(stats):
    own = stats.state_dict()
    for change, says in (
        ({"count": own["count"].float()}, "state 'count' is float32"),
        ({"total": own["total"][:1]}, "state 'total'"),
        ({"threshold": own["threshold"] + 1}, "another threshold"),
        ({"more": own["count"]}, "these states are"),
    ):
        with pytest.raises(InputError, match=says):
            stats.load_state_dict(own | change)


def test_results_that_are_not_there(stats, model, monkeypatch):
    with pytest.raises(InputError, match="second pass"):
        NeuronStatistics(model, 2).compute().accuracy()
    with pytest.raises(InputError, match="3 classes: say which"):
        NeuronStatistics(model, 3, threshold=torch.zeros(LAYERS, WIDTH)).compute().accuracy()
    with pytest.raises(InputError, match="0 positive"):
        NeuronStatistics(model, 2, threshold=torch.zeros(LAYERS, WIDTH)).compute().predictivity()
    original = builtins.__import__

    def without_pandas(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(InputError, match="pip install pandas"):
        stats.compute().to_pandas()


def test_the_order_of_batches_changes_rounding_only(model):
    batches = batches_of(model, size=2)
    first, second = (record_all(NeuronStatistics(model, 2), model, b) for b in (batches, batches[::-1]))
    assert torch.equal(first.count, second.count)
    torch.testing.assert_close(first.variance, second.variance, rtol=1e-12, atol=1e-12)
