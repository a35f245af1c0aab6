"""Read-outs: the columns of each example, and that reading them waits for no device."""

from __future__ import annotations

import pytest
import torch

from skn.data.splits import Examples
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.batches import collate, tokenize
from skn.inference.readouts import READOUTS, Places, check_readouts, main_readout, places
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel

TEXTS = ["the film is funny", "although the plot is slow , the ending is wonderful", "dull"]


def batch_of(tiny, family, template=None):
    folder = str(tiny(family))
    tokenizer, backbone = load_tokenizer(folder), Backbone.load(folder)
    encoded = tokenize(Examples(TEXTS, None, [0, 1, 0]), tokenizer, 40, template and Template.read(template))
    if template:
        model = TemplatedModel(backbone, [7, 8])
    else:
        model = TunedModel.fresh(backbone, [7, 8], tokenizer.mask_token_id, 5)
    batch = collate(encoded, [0, 1, 2])
    return tokenizer, batch, model.assemble(*batch.inputs)


def columns(readout, batch, prompted):
    """The columns of each example, as lists."""
    found = places(readout, batch, prompted)
    if isinstance(found, slice):
        return [list(range(prompted.inputs_embeds.shape[1]))[found]] * len(batch.rows)
    if found.pool is None:
        return found.columns.tolist()
    return [row[:count] for row, count in zip(found.columns.tolist(), found.length.tolist(), strict=True)]


@pytest.mark.parametrize(("family", "template"), [("roberta", None), ("gpt2", None), ("roberta", "{text} It was {mask} ."), ("gpt2", "{text}\nIt was")])  # fmt: skip
def test_the_columns(tiny, family, template):
    """Counted by hand: the prompt's five columns stand first, or behind a text that is moved to the right."""
    tokenizer, batch, prompted = batch_of(tiny, family, template)
    width = prompted.inputs_embeds.shape[1]
    lengths = batch.lengths.tolist()
    special, first = (1, 1) if family == "roberta" else (0, 0)
    if template is None and family == "roberta":
        starts = [5] * 3
        assert columns("prompt", batch, prompted) == [[0, 1, 2, 3, 4]] * 3
        assert columns("mask", batch, prompted) == [[0]] * 3
        assert columns("last", batch, prompted) == [[4 + length] for length in lengths]
    elif template is None:
        starts = [width - 5 - length for length in lengths]
        assert columns("prompt", batch, prompted) == [list(range(width - 5, width))] * 3
        assert columns("last", batch, prompted) == [[width - 1]] * 3
    else:
        starts = [0] * 3
        assert columns("last", batch, prompted) == [[length - 1] for length in lengths]
    tail = 0 if template is None else len(tokenizer.encode(template.replace("{text}", "").replace("{mask}", tokenizer.mask_token or ""), add_special_tokens=False))  # fmt: skip
    own = [
        list(range(start + first, start + length - special - tail))
        for start, length in zip(starts, lengths, strict=True)
    ]
    assert columns("mean", batch, prompted) == columns("max", batch, prompted) == own


def test_an_empty_text_is_read_at_the_scored_position(tiny):
    tokenizer, backbone = load_tokenizer(str(tiny("roberta"))), Backbone.load(str(tiny("roberta")))
    model = TunedModel.fresh(backbone, [7, 8], tokenizer.mask_token_id, 5)
    batch = collate(tokenize(Examples(["", "dull"], None, [0, 1]), tokenizer, 40), [0, 1])
    assert columns("mean", batch, model.assemble(*batch.inputs))[0] == [0]


def test_tokens_that_are_not_together_are_pooled_alone():
    tokens = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]], dtype=torch.bool)
    activation = torch.arange(8.0).view(2, 4, 1)
    assert Places.pooled("mean", tokens).read(activation).flatten().tolist() == [1.0, 5.5]
    assert Places.pooled("max", tokens).read(activation).flatten().tolist() == [2.0, 6.0]


@pytest.mark.parametrize("readout", READOUTS)
def test_reading_waits_for_no_device(tiny, readout):
    """On activations without values: whoever asked the device for one would fail."""
    _, batch, prompted = batch_of(tiny, "roberta")
    activation = torch.empty(3, prompted.inputs_embeds.shape[1], 48, device="meta")
    at = places(readout, batch, prompted)
    read = activation[:, at] if isinstance(at, slice) else at.read(activation)
    assert read.is_meta and read.shape == (3, 5 if readout == "prompt" else 1, 48)


@pytest.mark.parametrize(
    ("asked", "templated", "causal", "says"),
    [
        (["prompt"], True, False, "at prompt: this run has a template and no tuned prompt; read mask, mean or max"),
        (["mask"], False, True, "at mask: a decoder has no mask; read last, mean or max"),
        (["means"], False, False, "at means: expected prompt, mask, last, mean, max; did you mean 'mean'"),
    ],
)
def test_a_readout_that_a_run_does_not_have(asked, templated, causal, says):
    with pytest.raises(InputError) as refusal:
        check_readouts(asked, templated, causal, option="at")
    assert says in str(refusal.value)


def test_each_kind_of_run_has_a_main_readout():
    assert [main_readout(*kind) for kind in ((False, False), (False, True), (True, False), (True, True))] == [
        "prompt", "prompt", "mask", "last",
    ]  # fmt: skip
