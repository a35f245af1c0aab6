"""What the description of an artifact says beside its tensors: of which types, and of as many things as the tensors hold.

A key without a default is in every file of the kind; one with a default some files do not have, of older versions or
of another form. What else a description says is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skn.store.schemas import fault

Pair = tuple[int, int]
Split = Literal["train", "validation", "test"]
Readout = Literal["prompt", "mean", "max"]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where numbers come from (:func:`skn.runs.origin.provenance_of`); of several runs ``seed`` and ``tuned`` are lists.

    ``prompts`` is what ``tuned`` is to one run, by the cells of a sweep.
    """

    backbone: str | None = None
    backbone_digest: str | None = None
    word_scores: str | None = None
    task: str | None = None
    split_digest: str | None = None
    class_names: list[str] | None = None
    method: str | None = None
    prompt_length: int | None = None
    label_words: list[str] | None = None
    seed: int | list[int | None] | None = None
    tuned: str | list[str | None] | None = None
    prompts: dict[str, str] | None = None
    dtype: str | None = None
    device: str | None = None
    backend: str | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    method: str
    position_start: int | None
    classes: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Counted:
    """``moments`` and ``accuracy``."""

    split: Split | None = None
    readout: Readout | None = None
    contrasts: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Hits:
    split: Split
    readout: Readout
    near: int | None = None
    confusion: list[list[int]] | None = None


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """``contrasts`` are pairs of lists of classes; ``attribute`` and ``top`` are of a set that ``select --rsa`` cut."""

    split: Split | None = None
    by: Literal["predictivity", "plain"] = "predictivity"
    readout: Readout = "prompt"
    aggregate: Literal["mean", "min"] | None = None
    contrasts: list[tuple[list[int], list[int]]] | None = None
    runs: list[str | None] = field(default_factory=list)
    with_runs: list[list[str | None]] = field(default_factory=list)
    attribute: str | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        if len(self.runs) > 1 and self.aggregate is None:
            raise ValueError("several runs, and nothing of how they were aggregated")


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Of chosen neurons, of all under a split, of an empty text (which its split says), or of a sweep."""

    split: Split | Literal["empty text"] | None = None
    position: int | None = None
    positions: list[int] | None = None
    neurons: list[Pair] | None = None
    classes: list[str] | None = None
    conditions: list[str] | None = None
    seeds: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Searchlight:
    """An imported table of ranks names its attributes alone."""

    attributes: list[str]
    conditions: list[str] | None = None
    seeds: list[int] | None = None
    top: list[int] | None = None
    permutations: int | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Masked:
    task: str
    seed: int
    attribute: str
    top: list[int]
    mask: str | None = None
    split: Split | None = None
    match: str | None = None
    draws: int | None = None
    draw_seed: int | None = None


SCHEMAS: dict[str, type] = {
    "tuned": Tuned,
    "moments": Counted,
    "hits": Hits,
    "accuracy": Counted,
    "neurons": Neurons,
    "activations": Activations,
    "rsa": Searchlight,
    "masked": Masked,
}

# Kind → what of its description has an entry for each step along these axes of its tensors.
_ENTRIES: dict[str, dict[str, tuple[str, ...]]] = {
    "tuned": {"classes": ("C",)},
    "hits": {"confusion": ("C", "C")},
    "accuracy": {"contrasts": ("K",)},
    "activations": {"neurons": ("F",), "positions": ("F",)},
    "rsa": {"attributes": ("attribute",)},
    "masked": {"top": ("top",)},
}


def odd_description(kind: str, description: Mapping[str, Any], sizes: Mapping[str, int]) -> str | None:
    """What is wrong with the description of a file of this kind whose axes have these ``sizes``, or None."""
    found = fault(SCHEMAS[kind], description, open_=True) if kind in SCHEMAS else None
    found = found or fault(Provenance, description.get("provenance", {}), open_=True, inside="provenance")
    if found:
        return f"its description is damaged ({found})"
    for name, axes in _ENTRIES.get(kind, {}).items():
        value = description.get(name)
        if value is not None and not _has_shape(value, [sizes[axis] for axis in axes]):
            wanted = " × ".join(str(sizes[axis]) for axis in axes)
            return f"its description is damaged ('{name}' has not {wanted} entries, as its tensors have)"
    return None


def _has_shape(value: Any, shape: list[int]) -> bool:
    return not shape or (len(value) == shape[0] and all(_has_shape(part, shape[1:]) for part in value))
