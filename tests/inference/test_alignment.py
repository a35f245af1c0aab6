"""Which positions of two examples stand for each other, and how many stand alone."""

from __future__ import annotations

import pytest
import torch

from skn.inference.alignment import same_tokens, share_alone
from skn.inference.batches import Encoded

# Tokens by kind: "." around the texts, "a" the text's own; and the token of the other example for each, −1 without one.
CASES = {
    "texts alone": ("aaaa", "aa", [0, 1, -1, -1]),
    "a longer text": ("aa", "aaaa", [0, 1]),
    "the tokenizer's own tokens": (".aaa.", ".a.", [0, 1, -1, -1, 2]),
    "a template": ("..a...", "..aaa...", [0, 1, 2, 5, 6, 7]),
    "a text in front": ("aaa..", "a..", [0, -1, -1, 1, 2]),
    "a pair": (".aa..aaa.", ".aaa..a.", [0, 1, 2, 4, 5, 6, -1, -1, 7]),
    "an empty text": ("..", ".aa.", [0, 3]),
}


def own(kinds: str, padding: int = 0) -> torch.Tensor:
    return torch.tensor([[kind == "a" for kind in kinds] + [False] * padding])


@pytest.mark.parametrize("padding", [(0, 0), (3, 0), (0, 2)])
@pytest.mark.parametrize("case", CASES)
def test_tokens_by_hand(case, padding):
    one, other, expected = CASES[case]
    lengths = (torch.tensor([len(kinds)]) for kinds in (one, other))
    sides = zip((one, other), padding, lengths, strict=True)
    given = [part for kinds, more, length in sides for part in (own(kinds, more), length)]
    assert same_tokens(*given)[0].tolist() == expected + [-1] * padding[0]


def test_the_share_by_hand():
    """Three texts with a prompt of 2: of 2 + 5, 2 + 2 and 2 + 3 positions, 3 + 0 + 1 stand alone."""
    encoded = Encoded([[9] * 5, [9] * 2, [9] * 3], None, torch.tensor([0, 1, 0]), 0)
    assert share_alone(encoded, torch.tensor([1, 2, 1]), prompt_length=2) == 4 / 16
    assert share_alone(encoded, torch.tensor([1, 0, 0]), prompt_length=0) == 3 / 10
