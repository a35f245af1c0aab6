"""Tokenize texts inside a template, and keep which tokens are the texts' own and which token is scored."""

from __future__ import annotations

from typing import Any

from skn.data.splits import Examples
from skn.data.template import MASK, PAIR, TEXT, Template
from skn.errors import InputError


def filled(
    template: Template, examples: Examples, tokenizer: Any, max_tokens: int, spans: bool = False
) -> tuple[dict[str, list], int]:
    """Tokenize texts inside a template. Returns the columns of :class:`skn.inference.batches.Encoded`, and how many texts
    were truncated. With ``spans``, a column "span" has the characters of each token (:mod:`skn.inference.spans`).

    A text that is too long loses its last tokens, the longer text of a pair first. The template stays whole. Raises
    :class:`InputError` for a template that leaves no room for a text.
    """
    pairs = [None] * len(examples.text) if examples.pair is None else examples.pair
    rows = [
        template.fill({TEXT: text, PAIR: pair}, tokenizer.mask_token)
        for text, pair in zip(examples.text, pairs, strict=True)
    ]
    encoded = tokenizer(
        [whole for whole, _ in rows], return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
    )
    names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
    columns: dict[str, list] = {name: [] for name in (*names, "own", "scored", *(["span"] if spans else []))}
    truncated = 0
    for row, (_, inside) in enumerate(rows):
        ids, added = encoded["input_ids"][row], encoded["special_tokens_mask"][row]
        offsets = encoded["offset_mapping"][row]
        places = [None if new else _place(*span, inside) for new, span in zip(added, offsets, strict=True)]
        count = _without_end(added) if template.causal else len(ids)
        kept = _kept(places[:count], max_tokens, template)
        truncated += len(kept) < count
        for name in names:
            columns[name].append([encoded[name][row][i] for i in kept])
        columns["own"].append([int(places[i] in (TEXT, PAIR)) for i in kept])
        if spans:
            columns["span"].append([_within(*offsets[i], places[i], inside) for i in kept])
        answers = [at for at, i in enumerate(kept) if places[i] == MASK and ids[i] == tokenizer.mask_token_id]
        columns["scored"].append(answers[0] if answers else len(kept) - 1)
    return columns, truncated


def _without_end(added: list[int]) -> int:
    """Return the number of tokens before the special tokens that a tokenizer adds at the end, after which no word follows."""
    count = len(added)
    while count > 1 and added[count - 1]:
        count -= 1
    return count


def _place(start: int, end: int, spans: list[tuple[int, int, str]]) -> str | None:
    """Return the place in which a token of these characters lies: the last one that it touches."""
    touched = [place for first, behind, place in spans if start < behind and end > first]
    return touched[-1] if touched else None


def _within(start: int, end: int, place: str | None, spans: list[tuple[int, int, str]]) -> tuple[int, int, int] | None:
    """Return the part of a token's characters that lies in its text, counted from the text's beginning."""
    if place not in (TEXT, PAIR):
        return None
    first, behind = next((first, behind) for first, behind, name in spans if name == place)
    return int(place == PAIR), max(start, first) - first, min(end, behind) - first


def _kept(places: list[str | None], max_tokens: int, template: Template) -> list[int]:
    """Return the tokens that stay when the texts lose their last tokens."""
    own = {name: [i for i, place in enumerate(places) if place == name] for name in (TEXT, PAIR)}
    count = len(own[TEXT]) + len(own[PAIR])
    excess = max(0, len(places) - max_tokens)
    if not places or excess >= count > 0 or excess > count:
        raise InputError(
            f"--template {template.written!r}: its words take {len(places) - count} of the {max_tokens} tokens that fit, which "
            "leaves no room for a text; shorten it, or give a greater --max-length"
        )
    dropped = {max(own.values(), key=len).pop() for _ in range(excess)}
    return [i for i in range(len(places)) if i not in dropped]
