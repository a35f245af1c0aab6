"""The permutation tests that belong to a ranking: on the split that decided, and on test."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from skn.neurons.probe_files import HELD_OUT
from skn.neurons.probed import Probe
from skn.neurons.selection import Contrast
from skn.neurons.significance import Significance, permutation_tests

log = logging.getLogger(__name__)


def tests_of(
    seeds: Sequence[Probe],
    split: str,
    readout: str,
    *,
    contrasts: Sequence[Contrast] | None,
    aggregate: str,
    permutations: int,
) -> dict[str, Significance]:
    """Return the tests of one task's seeds by split. They are missing if the probe kept neither tests nor bits.

    All seeds are permuted by the same relabellings. Raises :class:`InputError` if the seeds have other examples.
    """
    if not permutations:
        return {}
    splits = [name for name in HELD_OUT if name == split or name == "test"]
    if len(seeds) == 1 and contrasts is None:
        made = {name: seeds[0].significance_of(name, readout) for name in splits}
        if all(tests is not None and len(tests.chance) == permutations for tests in made.values()):
            return made
    found: dict[str, Significance] = {}
    for name in splits:
        bits = [probe.bits_of(name, readout) for probe in seeds]
        lacking = [probe.where for probe, kept in zip(seeds, bits, strict=True) if kept is None]
        if lacking:
            log.info("%s: the probe kept no bits of %s, so the ranking has no p there", ", ".join(lacking), name)
            continue
        chosen = found[split].beyond_chance if name != split and split in found else None
        how = {"contrasts": contrasts, "aggregate": aggregate, "permutations": permutations}
        tests = permutation_tests(bits, seeds[0].present, chosen=chosen, **how)
        if tests is not None:
            found[name] = tests
    return found
