"""Check the description of an artifact: the types of its values, and lists as long as the tensors' axes.

Every file of a kind has the keys without a default. Files of older versions or of another form may lack the keys with a
default. Other keys are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skn.store.schemas import fault

Pair = tuple[int, int]
Split = Literal["train", "validation", "test"]
Readout = Literal[
    "prompt", "mask", "last", "mean", "max", "prompt-gate", "mask-gate", "last-gate", "mean-gate", "max-gate"
]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The provenance of numbers (:func:`skn.runs.origin.provenance_of`). For several runs, ``seed`` and ``tuned`` are
    lists.

    ``prompts`` maps the cells of a sweep to the digests of their prompts. ``tuned`` is such a digest of one run.
    """

    backbone: str | None = None
    backbone_digest: str | None = None
    word_scores: str | None = None
    task: str | None = None
    split_digest: str | None = None
    class_names: list[str] | None = None
    method: str | None = None
    template: str | None = None
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
    """The description of ``moments``, ``accuracy`` and ``auroc``."""

    split: Split | None = None
    readout: Readout | None = None
    contrasts: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Hits:
    split: Split
    readout: Readout
    threshold_at: Literal["mean", "zero"] = "mean"
    near: int | None = None
    confusion: list[list[int]] | None = None


@dataclass(frozen=True, kw_only=True)
class Bits:
    split: Split
    readout: Readout
    width: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Significance:
    split: Split
    readout: Readout
    permutations: int


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """``contrasts`` are pairs of lists of classes. Only a set of ``select --rsa`` has ``attribute`` and ``top``."""

    split: Split | None = None
    by: Literal["predictivity", "plain", "auroc"] = "predictivity"
    readout: Readout = "prompt"
    aggregate: Literal["mean", "min"] | None = None
    contrasts: list[tuple[list[int], list[int]]] | None = None
    runs: list[str | None] = field(default_factory=list)
    with_runs: list[list[str | None]] = field(default_factory=list)
    attribute: str | None = None
    top: int | None = None
    by_chance: dict[str, tuple[float, tuple[float, float]]] | None = None

    def __post_init__(self) -> None:
        if len(self.runs) > 1 and self.aggregate is None:
            raise ValueError("several runs, and nothing of how they were aggregated")


@dataclass(frozen=True, kw_only=True)
class Activations:
    """The description of activations: of chosen neurons, of a split, of an empty text (as ``split`` then says), or of a
    sweep.
    """

    split: Split | Literal["empty text"] | None = None
    position: int | None = None
    positions: list[int] | None = None
    neurons: list[Pair] | None = None
    classes: list[str] | None = None
    conditions: list[str] | None = None
    seeds: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Exemplars:
    split: Split


@dataclass(frozen=True, kw_only=True)
class Searchlight:
    """The description of a searchlight. An imported table of ranks has only ``attributes``."""

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
    "bits": Bits,
    "significance": Significance,
    "auroc": Counted,
    "neurons": Neurons,
    "activations": Activations,
    "exemplars": Exemplars,
    "rsa": Searchlight,
    "masked": Masked,
}

# Kind → the values of its description that need an entry for each index of these axes of its tensors.
_ENTRIES: dict[str, dict[str, tuple[str, ...]]] = {
    "tuned": {"classes": ("C",)},
    "hits": {"confusion": ("C", "C")},
    "accuracy": {"contrasts": ("K",)},
    "activations": {"neurons": ("F",), "positions": ("F",)},
    "rsa": {"attributes": ("attribute",)},
    "masked": {"top": ("top",)},
}


def odd_description(kind: str, description: Mapping[str, Any], sizes: Mapping[str, int]) -> str | None:
    """Say what is wrong with a description of this ``kind``, given the ``sizes`` of the tensors' axes; None if it is
    right.
    """
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
