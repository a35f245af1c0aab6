"""Bits and permutation tests as files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.neurons.bits import Bits
from skn.neurons.significance import Significance
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands


def save_bits(folder: Path, split: str, readout: str, bits: Bits, provenance: Mapping[str, Any]) -> None:
    """Write ``bits[-readout]-SPLIT.safetensors``."""
    tensors = {"bits": bits.packed, "label": bits.label, "row": bits.row}
    said = {"split": split, "readout": readout, "width": bits.width, "classes": bits.classes}
    artifacts.save(artifacts.path_in(folder, "bits", readout, split), "bits", tensors, provenance, **said)


def load_bits(folder: Path, split: str, readout: str, provenance: Mapping[str, Any] | None = None) -> Bits | None:
    """Return the bits that a probe kept, which must belong to the run of ``provenance``; None if there are none."""
    file = artifacts.path_in(folder, "bits", readout, split)
    if not stands(file):
        return None
    found = artifacts.load(file, "bits", provenance)
    return Bits(found["bits"], found["label"], found["row"], found.meta["width"], found.meta["classes"])


def save_significance(
    folder: Path, split: str, readout: str, tests: Significance, provenance: Mapping[str, Any]
) -> None:
    """Write ``significance[-readout]-SPLIT.safetensors``."""
    named = {"p": tests.p, "p_family": tests.p_family, "p_chosen": tests.p_chosen, "chance": tests.chance}
    tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
    said = {"split": split, "readout": readout, "permutations": len(tests.chance)}
    file = artifacts.path_in(folder, "significance", readout, split)
    artifacts.save(file, "significance", tensors, provenance, **said)


def load_significance(
    folder: Path, split: str, readout: str, provenance: Mapping[str, Any] | None = None
) -> Significance | None:
    """Return the tests that a probe made, which must belong to the run of ``provenance``; None if there are none."""
    file = artifacts.path_in(folder, "significance", readout, split)
    if not stands(file):
        return None
    return tests_in(artifacts.load(file, "significance", provenance), split, readout)


def tests_in(found: Artifact, split: str, readout: str) -> Significance:
    """Return the tests in a loaded file. Raises :class:`InputError` if the file has not the tests of its name."""
    held = found.meta["split"], found.meta["readout"]
    if held != (split, readout):
        raise InputError(
            f"{found.path}: holds the tests of {held[0]} at the read-out {held[1]}, expected {split} at {readout}; "
            f"make it again with 'skn probe --overwrite'"
        )
    return Significance(found["p"], found["p_family"], found["chance"], found.get("p_chosen"))
