"""The characters of each token, with and without a template, of texts and of pairs, also where they are truncated."""

from __future__ import annotations

import pytest
import transformers

from skn.data.splits import Examples
from skn.data.template import Template
from skn.inference.batches import tokenize
from skn.inference.spans import own_spans

TEXTS = ["the soup was tasty", "what a  beautiful 🙂 soundtrack", "the manager was rude and the hotel was overpriced"]
PAIRS = ["it is so", "the diner was excellent , in my view", "no"]


@pytest.mark.parametrize("max_tokens", [12, 60])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(
    ("family", "written"),
    [
        ("roberta", None),
        ("bert", None),
        ("roberta", "It was {mask} : {text}{pair} ."),
        ("gpt2", "Once:{pair} {text}\nIt was"),
    ],
)
def test_every_own_token_has_the_characters_it_stands_for(tiny, family, written, pairs, max_tokens):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny(family))
    examples = Examples(TEXTS, PAIRS if pairs else None, [0] * 3)
    template = None if written is None else Template.read(written if pairs else written.replace("{pair}", ""))
    encoded = tokenize(examples, tokenizer, max_tokens, template)
    spans = own_spans(examples, tokenizer, max_tokens, template)
    for row, (several, ids, own) in enumerate(zip(spans, encoded.input_ids, encoded.own, strict=True)):
        assert [span is not None for span in several] == [bool(is_own) for is_own in own]
        seen = {}
        for span, token in zip(several, ids, strict=True):
            if span is not None:
                part, first, behind = span
                text = (TEXTS, PAIRS)[part][row]
                seen.setdefault(part, []).append(span)
                piece = tokenizer.decode([token]).strip().removeprefix("##")
                if "�" not in piece and "[UNK]" not in piece:
                    assert text[first:behind].strip() == piece
        if not encoded.truncated:  # nothing but blanks lies between the tokens
            assert set(seen) == ({0, 1} if pairs else {0})
            for part, spans_of_part in seen.items():
                text = (TEXTS, PAIRS)[part][row]
                covered = {at for _, first, behind in spans_of_part for at in range(first, behind)}
                assert all(text[at] == " " for at in range(len(text)) if at not in covered)


def test_a_tokenizer_that_does_not_tell(tiny):
    class Slow:
        is_fast = False

    assert own_spans(Examples(TEXTS, None, [0] * 3), Slow(), 12) is None
