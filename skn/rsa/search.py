"""The searchlight over every neuron, its significance, and the stability of the best neurons (Li et al., 2023)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError
from skn.rsa import searchlight as taus
from skn.rsa.attributes import Attributes, read_attributes
from skn.rsa.mantel import mantel
from skn.rsa.partial_tau import Partial
from skn.rsa.patterns import read_patterns
from skn.rsa.results import Results
from skn.rsa.searchlight import FEWEST_CONDITIONS, benjamini_hochberg, distances, places
from skn.rsa.stability import Stability, without_a_condition, without_a_seed
from skn.store.folders import refuse_occupied, replaced

TOPS = (500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000)  # the sizes of the masks of Li et al. 2023


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How a searchlight reads and tests.

    ``conditions`` names the conditions of distances without names. ``shape`` (L, F) is the shape of neurons that csv
    files list flat. ``permutations`` of the conditions, drawn by ``seed``, give valid p and q; with 0 there are only
    the parametric p and q. ``partial`` adds each attribute's tau with the other attributes held constant.
    ``leave_one_out`` drops each seed and each condition in turn, and measures whether the best ``top`` neurons stay the
    same.
    """

    conditions: list[str] | None = None
    shape: tuple[int, int] | None = None
    permutations: int = 0
    seed: int = 0
    partial: bool = False
    leave_one_out: bool = False
    top: Sequence[int] | None = None


def searchlight(
    activations: Path | str,
    attributes: Path | str,
    *,
    options: SearchOptions | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    **named: object,
) -> Results:
    """Rank every neuron by how its distances between conditions resemble the distances of each attribute.

    For each neuron and attribute, the result has Kendall's tau-b of the pairs' distances, p, q and rank (Li et al.,
    2023). With permutations, it also has the Mantel p and the family-wise p.

    Args:
        activations: [seed, condition, L, F]: a file of ``skn activate --sweep``, a safetensors file that names its
            seeds and conditions, or a folder of EMOTION-SEED.csv.
        attributes: a csv file with a column for each attribute: ratings under a first column "condition", or distances
            of pairs; or a square matrix of distances with names in the first row and column, or a folder of such files.
        options: a :class:`SearchOptions`; its fields may be given by name instead, ``permutations=1000``.
        out: a folder for rsa.safetensors, rank.csv and rsa.json.
        overwrite: replace the folder of an earlier searchlight.

    Returns:
        ``values`` float64 [attribute, neuron] by name ("tau", "p", "q", "rank", …); ``table()`` shows what is
        significant.

    Raises:
        InputError: the files do not fit each other; there are fewer than three conditions; the folder ``out`` exists.

    Example::

        >>> results = skn.searchlight(activations, ratings, permutations=20)
        >>> results.values["tau"].shape, results.tests()[0]
        ((2, 20), 'p')
    """
    if options is not None and named:
        raise TypeError(f"searchlight: give options, or {', '.join(named)} by name, not both")
    options = options or SearchOptions(**named)
    if not isinstance(options.permutations, int) or options.permutations < 0:
        raise InputError(f"--permutations {options.permutations}: a whole number, 0 or more")
    if options.seed != 0 and not options.permutations:
        raise InputError(f"--seed {options.seed}: has no effect without --permutations, which it draws; leave it out")
    source, given_file = Path(activations), Path(attributes)
    if out is not None:
        refuse_occupied(Path(out), "searchlight", overwrite)
    seconds = Seconds()
    with seconds("reading"):
        patterns = read_patterns(source, options.shape)
        if len(patterns.conditions) < FEWEST_CONDITIONS:
            raise InputError(f"{source}: {len(patterns.conditions)} conditions; {FEWEST_CONDITIONS} or more are needed")
        given = read_attributes(given_file, options.conditions, patterns.conditions)
        used = given.among(patterns.conditions, given_file)
    tops = _tops(options.top, patterns.values[0, 0].numel())
    partial = Partial(used.distance, used.names) if options.partial else None
    result = Results(patterns, used, options.permutations, options.seed, tops, left_out=_left_out(given, used))
    with seconds("searchlight"):
        distance = distances(patterns.values)
        _search(result, distance, used, partial)
    if options.permutations:
        with seconds(f"{options.permutations} permutations"):
            _permute(result, distance, used, options, partial)
    if options.leave_one_out:
        with seconds("leave one out"):
            result.stability = _leave_out(result, distance)
    if out is not None:
        with seconds("writing"), replaced(Path(out), "searchlight") as folder:
            result.write(folder, {"activations": source.name, "attributes": given_file.name})
    result.seconds = str(seconds)
    return result


def _tops(wanted: Sequence[int] | None, neurons: int) -> list[int]:
    """Return the k of the top-k sets in rising order: the user's, or those of the original that fit.

    Raises :class:`InputError`.
    """
    if wanted is None:
        return [k for k in TOPS if k <= neurons] or [max(1, neurons // 10)]
    tops = sorted(set(wanted))
    if tops[0] < 1 or tops[-1] > neurons:
        raise InputError(f"--top {','.join(map(str, tops))}: outside 1 to {neurons}, the neurons that there are")
    return tops


def _left_out(given: Attributes, used: Attributes) -> str | None:
    """Return a line if the activations have fewer conditions than the attributes."""
    if len(given.conditions) == len(used.conditions):
        return None
    return (
        f"the activations have {len(used.conditions)} of the attributes' {len(given.conditions)} conditions: "
        f"their {len(used.distance)} pairs are used"
    )


# ---- the computation ---------------------------------------------------------------------------------------


def _search(result: Results, distance: Tensor, attributes: Attributes, partial: Partial | None) -> None:
    scores = taus.searchlight(distance, attributes.distance)
    result.values |= {"tau": scores.tau, "p": scores.p, "q": scores.q, "q_all": scores.q_all, "rank": scores.rank}
    if partial:
        tau = np.ascontiguousarray(partial(torch.from_numpy(scores.tau.T)).T.numpy())
        p = partial.parametric_p(tau)
        result.values |= {"partial_tau": tau, "partial_p": p, "partial_q": _by_attribute(p)}


def _permute(
    result: Results, distance: Tensor, attributes: Attributes, options: SearchOptions, partial: Partial | None
) -> None:
    permuted = mantel(distance, attributes.distance, options.permutations, options.seed, partial)
    for statistic, prefix in (("tau", ""), ("partial", "partial_")):
        if statistic in permuted:
            p, family = permuted[statistic].p, permuted[statistic].family
            result.values |= {
                f"{prefix}p_mantel": p,
                f"{prefix}q_mantel": _by_attribute(p),
                f"{prefix}p_family": family,
            }


def _by_attribute(p: np.ndarray) -> np.ndarray:
    return np.stack([benjamini_hochberg(row) for row in p])


def _leave_out(result: Results, distance: Tensor) -> dict[str, Stability | None]:
    full, attributes, patterns = places(result.values["tau"]), result.attributes.distance, result.patterns
    return {
        "seeds": without_a_seed(patterns.values, attributes, patterns.seeds, full, result.tops),
        "conditions": without_a_condition(distance, attributes, patterns.conditions, full, result.tops),
    }


class Seconds:
    """Measures how long each part takes: ``with seconds("reading"): …``. ``str()`` lists the parts."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.of[part] = time.perf_counter() - start

    def __str__(self) -> str:
        return "seconds: " + ", ".join(f"{part} {spent:.2f}" for part, spent in self.of.items())
