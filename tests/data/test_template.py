"""Templates: their places, the words before the answer, and the refusals."""

from __future__ import annotations

import re

import pytest

from skn.data.label_words import ids_in_template
from skn.data.template import Template
from skn.errors import InputError
from skn.model.pretrained import load_tokenizer


def checked(written, causal=False, pairs=False):
    template = Template.read(written)
    template.check(causal, pairs)
    return template


def test_filling_keeps_the_spans_of_the_places():
    whole, spans = checked("{text} It was {mask}.").fill({"text": "fine {mask} day"}, "<mask>")
    assert whole == "fine {mask} day It was <mask>."
    assert [(whole[first:behind], place) for first, behind, place in spans] == [
        ("fine {mask} day", "text"),
        ("<mask>", "mask"),
    ]


def test_doubled_braces_are_braces():
    assert checked("{{{text}}} {mask}").fill({"text": "a"}, "M")[0] == "{a} M"


@pytest.mark.parametrize(
    ("written", "causal", "before"),
    [("{text} It was {mask}.", False, " It was "), ("{mask}: {text}", False, ""), ("Review: {text}\nSentiment:", True, "\nSentiment:")],
)  # fmt: skip
def test_the_words_before_the_answer(written, causal, before):
    template = checked(written, causal)
    assert template.before_answer() == before and template.causal == causal


@pytest.mark.parametrize(
    ("written", "causal", "pairs", "says"),
    [
        ("It was {mask}.", False, False, "{text} stands in it 0 times"),
        ("{text} {text} {mask}", False, False, "{text} stands in it 2 times"),
        ("{text} It was.", False, False, "{mask} stands in it 0 times; an encoder fills one mask, as in '{text} It was {mask}.'"),
        ("{text} {mask}", True, False, "a decoder goes on after the last word"),
        ("{text} {mask}", False, True, "{pair} stands in it 0 times; the second text"),
        ("{text} {pair} {mask}", False, False, "the data has no second text"),
        ("{texts} {mask}", False, False, "{texts} is no place; the places are {text}, {pair} and {mask} (did you mean {text}?)"),
        ("{} {mask}", False, False, "{} is no place"),
        ("{text!r} {mask}", False, False, "{text} is no place"),
        ("{text", False, False, "write {{ and }} for braces"),
    ],
)  # fmt: skip
def test_refusals(written, causal, pairs, says):
    with pytest.raises(InputError) as refusal:
        checked(written, causal, pairs)
    text = str(refusal.value)
    assert repr(written) in text and says in text and "\n" not in text


@pytest.mark.parametrize(
    ("family", "written", "space"),
    [("roberta", "{text} It was {mask}.", " "), ("gpt2", "{text}\nFeeling:", " "),
     ("gpt2", "{text} Feeling: ", " "), ("gpt2", "{text}\n", "")],
)  # fmt: skip
def test_label_words_have_the_space_of_their_place(tiny, family, written, space):
    """The token of the word is the one that stands there when the word is written out."""
    tokenizer = load_tokenizer(str(tiny(family)))
    ids = ids_in_template(tokenizer, ["wonderful", "dull"], checked(written, family == "gpt2"))
    before = written.replace("{text}", "x").replace("{mask}.", "").replace("{mask}", "").rstrip(" ")
    for word, token in zip(["wonderful", "dull"], ids, strict=True):
        assert tokenizer.encode(before + space + word, add_special_tokens=False)[len(tokenizer.encode(before, add_special_tokens=False))] == token  # fmt: skip


def test_words_that_begin_alike_are_refused(tiny):
    tokenizer = load_tokenizer(str(tiny("gpt2")))
    with pytest.raises(InputError, match="'zq' and 'zqz' begin with the same token"):
        ids_in_template(tokenizer, ["zq", "zqz"], checked("{text}\nSo:", causal=True))


def test_an_encoder_fills_one_token(tiny):
    tokenizer = load_tokenizer(str(tiny("roberta")))
    with pytest.raises(InputError, match="'wonderfuldull' is not one token of this backbone at its place"):
        ids_in_template(tokenizer, ["wonderfuldull", "dull"], checked("{text} It was {mask}."))


def test_the_proposed_word_is_one_token_at_its_place(tiny):
    """'negative' is one token at the start of a text alone, so it is no proposal for a place after a space."""
    tokenizer = load_tokenizer(str(tiny("roberta")))
    template = checked("{text} It was {mask}.")
    with pytest.raises(InputError, match="'negative' is not one token") as refused:
        ids_in_template(tokenizer, ["negative", "dull"], template)
    proposed = re.search("; '(.*)' is$", str(refused.value)).group(1)
    assert proposed != "negative" and ids_in_template(tokenizer, [proposed], template)
