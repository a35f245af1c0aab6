"""Which mask the top of a run's page speaks of, if several were measured: always the same one, whatever their order in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skn.neurons.mask_options import KINDS

Document = Mapping[str, Any]


def shown_mask(masks: Sequence[Document]) -> tuple[Document, Document] | None:
    """Return a mask's file and the row with its largest set; None without any.

    Files on test come first, which alone a claim quotes. Then rows with random masks, larger sets, and kinds in the order
    of ``--kind``.
    """
    pairs = [(mask, row) for mask in masks for row in mask["rows"] if row["neurons"]]

    def place(pair: tuple[Document, Document]) -> tuple:
        mask, row = pair
        return *_on_test(mask), not has_random(row), -row["neurons"], *_order(mask)

    return min(pairs, key=place, default=None)


def shown_harm(harms: Sequence[Document]) -> Document | None:
    """Return the file of ``skn mask --on`` of which the page speaks, by the same order; None without any."""
    return min(harms, key=lambda harm: (*_on_test(harm), *_order(harm)), default=None)


def has_random(row: Document) -> bool:
    """Whether a row has random masks to compare with."""
    return bool((row["controls"] or {}).get("accuracy"))


def _on_test(document: Document) -> tuple[bool]:
    return (document["split"] != "test",)


def _order(document: Document) -> tuple[int, str]:
    return list(KINDS).index(document["kind"]) if document["kind"] in KINDS else len(KINDS), document["stem"]
