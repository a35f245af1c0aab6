"""The permutation tests of one probe, or of several seeds together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from skn.errors import InputError
from skn.names import one_of
from skn.neurons.probe_files import HELD_OUT
from skn.neurons.probed import Probe
from skn.neurons.selection import Contrast
from skn.neurons.significance import PERMUTATIONS, Significance, permutation_tests


def significance(
    probe: Probe | Sequence[Probe],
    split: str = "test",
    *,
    readout: str | None = None,
    contrasts: Sequence[Contrast] | None = None,
    aggregate: str = "mean",
    among: Tensor | None = None,
    permutations: int = PERMUTATIONS,
) -> Significance:
    """Test which neurons predict the label beyond chance, against relabelled examples.

    The p of a neuron accounts for its positions, directions and contrasts. The family-wise p accounts for all tested neurons, too (max-T,
    Westfall and Young, 1993). Choose neurons on validation and test these on test with ``among``: validation also chose the prompt's
    checkpoint, so its own p are optimistic.

    Args:
        probe: the probe of one run, or the probes of several runs that are seeds of one task on the same examples.
        split: "validation" or "test".
        readout: as in ``skn.rank``.
        contrasts: ``skn.Contrast`` objects, as in ``skn.rank``.
        aggregate: how seeds are joined: "mean" or "min".
        among: [L, F] bool, the neurons to test, such as ``ranking.cut(0.01)``. By default all.
        permutations: how many relabellings. The least p is 1 / (1 + permutations).

    Returns:
        ``p`` and ``p_family`` [L, F] float64, NaN for neurons that are not tested, and ``chance`` [permutations]: what the best of the
        tested neurons reaches under each relabelling.

    Raises:
        InputError: a probe kept no bits; the seeds have other examples; a contrast has no examples on one side.

    Example::

        >>> tests = skn.significance(probe, "test", permutations=199)
        >>> tests.p.shape, bool((tests.p_family >= tests.p).all()), len(tests.chance)
        (torch.Size([3, 48]), True, 199)
    """
    one_of(split, HELD_OUT, "--split")
    one_of(aggregate, ("mean", "min"), "--aggregate")
    probes = [probe] if isinstance(probe, Probe) else list(probe)
    if not probes or not all(isinstance(one, Probe) for one in probes):
        raise InputError(f"probe {probe!r}: give what skn.probe returned, or a list of these")
    bits = [(one, one.bits_of(split, readout)) for one in probes]
    for one, kept in bits:
        if kept is None:
            raise InputError(f"{one.where}: the probe kept no bits of {split}; probe again with permutations and bits")
    found = permutation_tests(
        [kept for _, kept in bits],
        probes[0].present,
        permutations=permutations,
        contrasts=contrasts,
        aggregate=aggregate,
        among=among,
    )
    if found is None:
        raise InputError(
            f"{probes[0].where}: nothing to test on {split}: no neuron, or no contrast with examples on both sides"
        )
    return found
