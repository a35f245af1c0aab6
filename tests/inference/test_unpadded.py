"""Texts of one length behind a prompt: the embeddings of the modules, to the bit."""

import pytest
import torch
from pruned_models import SERVED, pruned

from skn.inference.packing import embedded
from skn.inference.unpadded import embedded_unpadded
from skn.model.portable import modeling_skn as portable


@pytest.fixture(params=[*SERVED, "xlm-roberta"])
def model(request, tiny):
    found, _, _ = pruned(tiny(request.param))
    with torch.no_grad():
        found.prompt.normal_(generator=torch.Generator().manual_seed(1))
    return found.requires_grad_(False)


def unpadded(model, text, attention_mask=None, token_type_ids=None):
    backbone, start = model.backbone, model.config.position_start
    start = backbone.position_start if start is None else start
    given = text, attention_mask, token_type_ids
    return embedded_unpadded(backbone, model.prompt_rows(), *given, position_start=start)


def by_modules(model, *texts):
    return embedded(model.backbone, model._inputs(*texts), None)


def some(*shape, below=200):
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("texts", [1, 3])
def test_the_embeddings_are_those_of_the_modules(model, dtype, texts):
    model.to(dtype)
    ids, types = some(texts, 7), some(texts, 7, below=2)
    ones = torch.ones_like(ids)
    for mask, own in ((None, None), (ones, None), (ones, types), (ones.bool(), types)):
        found = unpadded(model, ids, mask, own)
        assert torch.equal(found, by_modules(model, ids, ones, own)) and found.dtype == dtype
    rows = torch.randn(texts, 7, model.prompt.shape[1], dtype=dtype)
    assert torch.equal(unpadded(model, rows), by_modules(model, rows, ones, None))
    if model.backbone.family.encoder.typed and model.config.type_vocab_size > 1:
        assert not torch.equal(unpadded(model, ids, ones, types), unpadded(model, ids))


def test_what_has_to_be_moved_is_left_to_the_other_way(model):
    room = model.backbone.max_positions - model.prompt_length
    ids = some(2, room)
    assert torch.equal(unpadded(model, ids), by_modules(model, ids, torch.ones_like(ids), None))
    assert unpadded(model, some(2, room + 1)) is None
    for row, column in ((0, 0), (1, 6)):
        mask = torch.ones(2, 7, dtype=torch.int64)
        mask[row, column] = 0
        assert unpadded(model, ids[:, :7], mask) is None
    assert unpadded(model, ids, torch.ones(1, room)) is None  # of another number of texts


@pytest.mark.parametrize("table", ["word", "position"])
def test_a_table_that_is_renormalized_is_left_to_its_module(model, table):
    getattr(model.base_model.embeddings, f"{table}_embeddings").max_norm = 0.5
    assert unpadded(model, some(1, 7)) is None


def test_a_prompt_that_starts_elsewhere(tiny):
    """As a run that was imported may have it."""
    model, inputs, _ = pruned(tiny("roberta"))
    ids = inputs["input_ids"][:1, :5]
    first = unpadded(model, ids)
    model.config.position_start = 3
    found = unpadded(model, ids)
    assert torch.equal(found, by_modules(model, ids, torch.ones_like(ids), None)) and not torch.equal(found, first)
    model.config.position_start = 60  # of 66 positions: the modules say what is wrong
    assert unpadded(model, ids) is None


@torch.inference_mode()
def test_calls_take_this_way(tiny, monkeypatch):
    """A text alone is placed by no other function, and the answer is that of the plain modules."""
    model, inputs, _ = pruned(tiny("roberta"))
    alone = {name: ids[2:, : inputs["attention_mask"][2].sum()] for name, ids in inputs.items()}
    plain = portable.PrunedRobertaForPromptClassification(model.config).eval()
    plain.load_state_dict(model.state_dict())
    expected = plain(**alone).logits
    monkeypatch.setattr(type(model), "_inputs", lambda *_: pytest.fail("the text was placed in a batch"))
    torch.testing.assert_close(model(**alone).logits, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.prepack()(**alone).logits, expected, rtol=1e-5, atol=1e-5)
