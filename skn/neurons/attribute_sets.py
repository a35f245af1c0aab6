"""The folder that ``skn select --rsa`` writes: for each attribute its best neurons over all layers, at several counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from skn.errors import InputError
from skn.names import file_name
from skn.neurons.neuron_sets import NeuronSets
from skn.store import documents
from skn.store.folders import check_files
from skn.store.foreign_files import stands

SET_KINDS = ("binary", "scale")


@dataclass(frozen=True, kw_only=True)
class SetsDocument:
    """The content of ``sets.json``; see :class:`AttributeSets`."""

    attributes: Annotated[list[str], Field(min_length=1)]
    top: Annotated[list[PositiveInt], Field(min_length=1)]
    kind: Literal["binary", "scale"]
    seed: int
    rsa: dict[str, Any]
    weights: dict[str, dict[str, float]] | None

    def __post_init__(self) -> None:
        for values in (self.attributes, self.top):
            if len(set(values)) < len(values):
                raise ValueError("an attribute or a count twice")


@dataclass(frozen=True)
class AttributeSets:
    """The content of ``sets.json``. The sets themselves are fixed sets, one file for each attribute and count.

    ``weights`` [attribute][condition] says how far each attribute sets a condition apart from the others. ``weights``
    is None if the ranking has no distances.
    """

    path: Path
    attributes: list[str]
    top: list[int]
    kind: str
    seed: int
    rsa: dict[str, Any]
    weights: dict[str, dict[str, float]] | None

    @classmethod
    def open(cls, path: Path) -> AttributeSets:
        """Open a folder of sets. Raises :class:`InputError` if the folder holds no sets, or lacks one of its files."""
        file = path / "sets.json"
        if not stands(file):
            raise InputError(
                f"{path}: no neuron sets (no sets.json in it); 'skn select --rsa FILE --out DIR' makes them"
            )
        again = "make it again with 'skn select --rsa'"
        sets = cls(path, **documents.read(file, "sets", SetsDocument, again))
        if sets.weights is not None and not set(sets.attributes) <= sets.weights.keys():
            raise InputError(f"{file}: damaged (weights are of other attributes); {again}")
        for attribute in sets.attributes:
            for count in sets.top:
                if not stands(sets.file(attribute, count)):
                    raise InputError(f"{sets.file(attribute, count)}: missing; make it again with 'skn select --rsa'")
        check_files(path, made_by_skn=True)
        return sets

    def save(self) -> None:
        stored = {name: value for name, value in vars(self).items() if name != "path"}
        documents.write(self.path / "sets.json", "sets", stored)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def file(self, attribute: str, count: int) -> Path:
        return self.path / f"{file_name(attribute, 'attribute')}-top{count}.safetensors"

    def load(self, attribute: str, count: int, provenance: dict[str, Any], present: Tensor) -> NeuronSets:
        """Load the set of an attribute, and check it against a model as :meth:`NeuronSets.load` does."""
        neuron_set = NeuronSets.load(self.file(attribute, count), provenance, present)
        is_set = neuron_set.selected is not None and (self.kind == "binary" or neuron_set.factor is not None)
        of = {"attribute": attribute, "top": count}
        if not is_set or any(neuron_set.meta.get(name, value) != value for name, value in of.items()):
            raise InputError(
                f"{neuron_set.path}: not the {count} best of '{attribute}', as {self.path / 'sets.json'} says; make the "
                f"folder again with 'skn select --rsa'"
            )
        return neuron_set

    def digest(self, attribute: str, counts: Sequence[int]) -> str:
        """Return the first 16 digits of the SHA-256 of an attribute's files: they hold the neurons and the neurons'
        factors.
        """
        hasher = hashlib.sha256()
        for count in counts:
            hasher.update(self.file(attribute, count).read_bytes())
        return hasher.hexdigest()[:16]
