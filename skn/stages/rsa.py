"""``skn rsa``: the searchlight over every neuron, its significance, and how stable the best neurons are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skn.commands.parse import parse_counts
from skn.console import console, listed, print_table, say
from skn.errors import InputError
from skn.rsa.attributes import Attributes, read_attributes
from skn.rsa.mantel import mantel
from skn.rsa.partial_tau import Partial
from skn.rsa.patterns import read_patterns
from skn.rsa.results import Results
from skn.rsa.searchlight import ALPHA, FEWEST_CONDITIONS, MEANING, benjamini_hochberg, distances, places, searchlight
from skn.rsa.stability import Stability, without_a_condition, without_a_seed
from skn.runs.sweep import Sweep
from skn.store import atomic
from skn.store.output import refuse_occupied

TOPS = (500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000)  # as Li et al. 2023 mask


@dataclass(frozen=True)
class RsaRequest:
    """The options of ``skn rsa``."""

    attributes: Path
    activations: Path | None = None
    sweep: Path | None = None
    conditions: str | None = None
    shape: str | None = None
    permutations: int = 0
    seed: int = 0
    partial: bool = False
    leave_one_out: bool = False
    top: str | None = None


def rsa(request: RsaRequest, out: Path | None = None, overwrite: bool = False) -> Path:
    """Write rsa.safetensors, rank.csv and rsa.json into a folder, and print what is significant; returns the folder.

    Raises :class:`InputError`, with nothing written.
    """
    source, out = _source_and_out(request, out)
    refuse_occupied(out, "rsa.safetensors", "folder of 'skn rsa'", overwrite)
    seconds = Seconds()
    with seconds("reading"):
        patterns = read_patterns(source, request.shape)
        if len(patterns.conditions) < FEWEST_CONDITIONS:
            raise InputError(f"{source}: {len(patterns.conditions)} conditions; {FEWEST_CONDITIONS} or more are needed")
        given = read_attributes(request.attributes, request.conditions, patterns.conditions)
        attributes = given.among(patterns.conditions, request.attributes)
    tops = parse_tops(request.top, patterns.values[0, 0].numel())
    partial = Partial(attributes.distance, attributes.names) if request.partial else None
    say(f"attributes: {attributes.origin}")
    if len(given.conditions) > len(attributes.conditions):
        say(
            f"the activations have {len(attributes.conditions)} of the attributes' {len(given.conditions)} conditions: "
            f"their {len(attributes.distance)} pairs are used"
        )
    result = Results(patterns, attributes, request.permutations, request.seed, tops)
    with seconds("searchlight"):
        distance = distances(patterns.values)
        _search(result, distance, attributes, partial)
    if request.permutations:
        with seconds(f"{request.permutations} permutations"):
            _permute(result, distance, attributes, request, partial)
    if request.leave_one_out:
        with seconds("leave one out"):
            result.stability = _leave_out(result, distance)
    with seconds("writing"), atomic.replaced_folder(out) as folder:
        result.write(folder, {"activations": source.name, "attributes": request.attributes.name})
    _show(out, result)
    say(seconds)
    return out


def parse_tops(text: str | None, neurons: int) -> list[int]:
    """The k of top-k sets, rising: "500,1000", or those of the original that fit. Raises :class:`InputError`."""
    if text is None:
        return [k for k in TOPS if k <= neurons] or [max(1, neurons // 10)]
    tops = parse_counts(text, "--top")
    if tops[-1] > neurons:
        raise InputError(f"--top {text}: outside 1 to {neurons}, the neurons that there are")
    return tops


def _source_and_out(request: RsaRequest, out: Path | None) -> tuple[Path, Path]:
    if (request.activations is None) == (request.sweep is None):
        raise InputError("one of --activations and --sweep is needed; 'skn rsa --help' shows an example")
    if request.sweep is not None:
        return Sweep.open(request.sweep).activations_file, out or request.sweep / "rsa"
    if out is None:
        raise InputError("--out is needed with --activations")
    return request.activations, out


# ---- what is computed --------------------------------------------------------------------------------------


def _search(result: Results, distance: Tensor, attributes: Attributes, partial: Partial | None) -> None:
    found = searchlight(distance, attributes.distance)
    result.values |= {"tau": found.tau, "p": found.p, "q": found.q, "q_all": found.q_all, "rank": found.rank}
    if partial:
        tau = np.ascontiguousarray(partial(torch.from_numpy(found.tau.T)).T.numpy())
        p = partial.parametric_p(tau)
        result.values |= {"partial_tau": tau, "partial_p": p, "partial_q": _by_attribute(p)}


def _permute(
    result: Results, distance: Tensor, attributes: Attributes, request: RsaRequest, partial: Partial | None
) -> None:
    found = mantel(distance, attributes.distance, request.permutations, request.seed, partial)
    for statistic, prefix in (("tau", ""), ("partial", "partial_")):
        if statistic in found:
            p, family = found[statistic].p, found[statistic].family
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


# ---- what is printed ---------------------------------------------------------------------------------------


def _show(out: Path, result: Results) -> None:
    rows = []
    for summary in result.summaries():
        layer, neuron, tau = summary["best"][0] if summary["best"] else (None, None, None)
        best = [None, None] if tau is None else [[layer, neuron], tau]
        rows.append([summary["name"], *summary["significant"].values(), *best])
    layers, width = result.patterns.values.shape[2:]
    title = f"Of {layers * width} neurons, significant at {ALPHA} ({out})"
    columns = ["attribute", *result.tests(), "best neuron", "tau"]
    print_table(title, columns, rows, {"best neuron": listed, "tau": ".3f"})
    for test in result.tests():
        console.print(f"  {test}: {MEANING[test]}", soft_wrap=True)
    console.print(f"  {_advice(result.permutations, layers * width)}", soft_wrap=True)
    _show_constant(result)
    for what, stability in (result.stability or {}).items():
        _show_stability(what, stability, result)


def _advice(permutations: int, neurons: int) -> str:
    if not permutations:
        return "--permutations 1000 gives p and q that hold where pairs share conditions"
    needed = math.ceil(neurons / (ALPHA * (permutations + 1)))  # neurons at the least p whose q is ALPHA
    return (
        f"{permutations} permutations: no p is below 1/{permutations + 1}, so that q_mantel reaches {ALPHA} only where "
        f"{needed} neurons or more of an attribute have that p"
    )


def _show_constant(result: Results) -> None:
    unknown = np.isnan(result.values["tau"])
    everywhere = unknown.all(axis=1)
    for name in np.array(result.attributes.names)[everywhere]:
        console.print(f"attribute '{name}' is the same for all pairs: it has no tau (NaN)", soft_wrap=True)
    constant = int(unknown[~everywhere].any(axis=0).sum())
    console.print(
        f"neurons that are constant over all pairs, without tau (NaN) and rank (NA): {constant}", soft_wrap=True
    )


def _show_stability(what: str, stability: Stability | None, result: Results) -> None:
    if stability is None:
        console.print(f"leaving out {what}: too few of them")
        return
    rows = []
    for a, name in enumerate(result.attributes.names):
        values = stability.jaccard[:, a]
        if np.isnan(values).all():
            rows.append([name, None, None, None])
            continue
        dropped, k = np.unravel_index(np.nanargmin(values), values.shape)
        lowest = f"top {result.tops[k]} without {stability.names[dropped]}"
        rows.append([name, np.nanmean(values), values[dropped, k], lowest])
    tops = ", ".join(map(str, result.tops))
    title = f"Jaccard index of the top-k sets without one of {len(stability.names)} {what}, k = {tops}"
    print_table(title, ["attribute", "mean", "lowest", "lowest at"], rows, {"mean": ".3f", "lowest": ".3f"})


class Seconds:
    """How long each part took: ``with seconds("reading"): …``, then printed."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.of[part] = time.perf_counter() - start

    def __str__(self) -> str:
        return "seconds: " + ", ".join(f"{part} {spent:.2f}" for part, spent in self.of.items())
