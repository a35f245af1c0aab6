"""Texts inside a template: the tokens of the plain tokenizer, the texts' own tokens, and truncation of the text alone."""

from __future__ import annotations

import pytest
from tiny_models import DECODERS, ENCODERS

from skn.data.splits import Examples
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.batches import tokenize
from skn.model.pretrained import load_tokenizer

TEXTS = ["the film is funny", "although the plot is slow , the ending is wonderful", "dull"]
TEMPLATES = {False: "{text} It was {mask} .", True: "Review: {text}\nSentiment:"}


def encoded_in(tokenizer, written, texts=TEXTS, pairs=None, room=64):
    return tokenize(Examples(texts, pairs, [0] * len(texts)), tokenizer, room, Template.read(written))


@pytest.mark.parametrize("family", [*ENCODERS[:4], "gpt2"])
def test_the_tokens_are_those_of_the_whole_text(tiny, family):
    tokenizer, causal = load_tokenizer(str(tiny(family))), family in DECODERS
    encoded = encoded_in(tokenizer, TEMPLATES[causal])
    for row, text in enumerate(TEXTS):
        whole = TEMPLATES[causal].replace("{text}", text).replace("{mask}", tokenizer.mask_token or "")
        assert encoded.input_ids[row] == tokenizer(whole)["input_ids"]
        scored, ids = encoded.scored[row], encoded.input_ids[row]
        assert scored == len(ids) - 1 if causal else ids[scored] == tokenizer.mask_token_id
        own = [token for token, is_own in zip(ids, encoded.own[row], strict=True) if is_own]
        assert tokenizer.decode(own).strip() == text


def test_a_pair_has_two_spans(tiny):
    tokenizer = load_tokenizer(str(tiny("roberta")))
    encoded = encoded_in(tokenizer, "{text} ? {mask} , {pair}", TEXTS[:1], ["a fine ending"])
    own = [token for token, is_own in zip(encoded.input_ids[0], encoded.own[0], strict=True) if is_own]
    assert tokenizer.decode(own).split() == "the film is funny a fine ending".split()
    assert 0 in encoded.own[0][encoded.own[0].index(1) : len(encoded.own[0]) - 1]


@pytest.mark.parametrize("family", ["roberta", "gpt2"])
def test_only_the_text_is_truncated(tiny, family):
    tokenizer, written = load_tokenizer(str(tiny(family))), TEMPLATES[family == "gpt2"]
    whole, short = encoded_in(tokenizer, written), encoded_in(tokenizer, written, room=14)
    assert short.truncated == sum(len(ids) > 14 for ids in whole.input_ids) > 0
    for full, cut, own_full, own_cut in zip(whole.input_ids, short.input_ids, whole.own, short.own, strict=True):
        assert len(cut) == min(14, len(full))
        words = [[token for token, own in zip(ids, mask, strict=True) if not own] for ids, mask in ((full, own_full), (cut, own_cut))]  # fmt: skip
        assert words[0] == words[1]  # the template is whole
    for at, ids in zip(short.scored, short.input_ids, strict=True):
        assert family == "gpt2" or ids[at] == tokenizer.mask_token_id


def test_the_longer_text_of_a_pair_is_truncated_first(tiny):
    tokenizer = load_tokenizer(str(tiny("roberta")))
    encoded = encoded_in(tokenizer, "{text} {mask} {pair}", [TEXTS[1]], ["dull"], room=10)
    assert "dull" in tokenizer.decode(encoded.input_ids[0]) and len(encoded.input_ids[0]) == 10


def test_a_mask_in_the_text_is_not_the_scored_one(tiny):
    tokenizer = load_tokenizer(str(tiny("roberta")))
    encoded = encoded_in(tokenizer, TEMPLATES[False], ["a <mask> film"])
    assert encoded.scored[0] == max(
        i for i, token in enumerate(encoded.input_ids[0]) if token == tokenizer.mask_token_id
    )


def test_a_template_without_room_for_a_text(tiny):
    with pytest.raises(InputError, match="which leaves no room for a text"):
        encoded_in(load_tokenizer(str(tiny("roberta"))), TEMPLATES[False], room=6)
