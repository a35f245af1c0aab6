"""The characters of a text that each of its tokens stands for."""

from __future__ import annotations

from typing import Any

from skn.data.splits import Examples
from skn.data.template import Template
from skn.inference.filling import filled

# Which text (0, or 1 for the second of a pair), its first character, and the one behind the last.
Span = tuple[int, int, int]


def own_spans(
    examples: Examples, tokenizer: Any, max_tokens: int, template: Template | None = None
) -> list[list[Span | None]] | None:
    """Return a span for each token of :func:`skn.inference.batches.tokenize`; None for a token that is not of the text.

    Returns None for a tokenizer written in Python, which does not tell characters.
    """
    if not tokenizer.is_fast:
        return None
    if template is not None:
        return filled(template, examples, tokenizer, max_tokens, spans=True)[0]["span"]
    texts = (examples.text,) if examples.pair is None else (examples.text, examples.pair)
    asked = {"truncation": True, "max_length": max_tokens, "return_offsets_mapping": True, "verbose": False}
    encoded = tokenizer(*texts, **asked)
    return [
        [None if part is None else (part, *span) for part, span in zip(encoded.sequence_ids(row), offsets, strict=True)]
        for row, offsets in enumerate(encoded["offset_mapping"])
    ]
