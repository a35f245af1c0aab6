"""Read a run's permutation tests for its report, of every split and read-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from skn.errors import InputError
from skn.inference.readouts import OF_GATE, READOUTS
from skn.neurons.probe_files import HELD_OUT
from skn.neurons.significance import Significance
from skn.neurons.stored_tests import tests_in
from skn.runs.run import Run
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance

Place = tuple[str, str]  # read-out and split
AGAIN = "make both again with 'skn probe --overwrite'"


def read_tests(run: Run, identity: dict[str, Any]) -> dict[Place, Artifact]:
    """Load the permutation tests by read-out and split, the run's own read-out first."""
    own = run.config.main_readout
    readouts = sorted((name + part for name in READOUTS for part in ("", OF_GATE)), key=lambda name: name != own)
    files = {(readout, split): run.file("significance", readout, split) for readout in readouts for split in HELD_OUT}
    return {place: run.own(file, "significance", identity) for place, file in files.items() if stands(file)}


def tests_of(stored: Mapping[Place, Artifact]) -> dict[Place, Significance]:
    """Return the tests in the files, whose neurons must agree in number.

    Raises :class:`InputError` if the tests on test are not of the neurons that the tests on validation chose.
    """
    tests = {(readout, split): tests_in(found, split, readout) for (readout, split), found in stored.items()}
    for (readout, split), test in tests.items():
        before = readout, "validation"
        if split == "test" and before in tests and test.p_chosen is not None:
            _same_probe(stored[before], stored[readout, split])
            _same_choice(tests[before], test, str(stored[before].path), str(stored[readout, split].path))
    return tests


def _same_probe(validation: Artifact, test: Artifact) -> None:
    where, other = str(test.path), str(validation.path)
    compare_provenance(test.provenance, validation.provenance, where, "pass", other=other, way_out=AGAIN)


def _same_choice(validation: Significance, test: Significance, chose: str, where: str) -> None:
    if not torch.equal(~test.p_chosen.isnan(), validation.beyond_chance):
        raise InputError(f"{where}: tests other neurons than {chose} chose; {AGAIN}")
    if len(test.chance) != len(validation.chance):
        made = f"{len(test.chance):,} relabellings, {chose} has {len(validation.chance):,}"
        raise InputError(f"{where}: {made}; {AGAIN}")
