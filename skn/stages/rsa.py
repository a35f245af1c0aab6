"""``skn rsa``: the searchlight over every neuron, its significance, and the stability of the best neurons."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from skn.console import say, show, tell
from skn.errors import InputError
from skn.rsa.results import Results
from skn.rsa.search import SearchOptions, searchlight
from skn.rsa.searchlight import ALPHA, MEANING
from skn.rsa.stability import Stability
from skn.runs.sweep import Sweep
from skn.store import artifacts
from skn.store.foreign_files import stands
from skn.tables import Table


def rsa(
    attributes: Path,
    activations: Path | None,
    sweep: Path | None,
    options: SearchOptions,
    out: Path | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write rsa.safetensors, rank.csv and rsa.json into a folder, and print what is significant. Returns the folder.

    Raises :class:`InputError` and then writes nothing.
    """
    source, out = _source_and_out(activations, sweep, out)
    result = searchlight(source, attributes, options=options, out=out, overwrite=overwrite)
    say(f"attributes: {result.attributes.origin}")
    if result.left_out:
        say(result.left_out)
    _show(out, result)
    say(result.seconds)
    return out


def _source_and_out(activations: Path | None, sweep: Path | None, out: Path | None) -> tuple[Path, Path]:
    if (activations is None) == (sweep is None):
        raise InputError("one of --activations and --sweep is needed; 'skn rsa --help' shows an example")
    if sweep is not None:
        return _activations_of(Sweep.open(sweep)), out or sweep / "rsa"
    if out is None:
        raise InputError("--out is needed with --activations")
    return activations, out


def _activations_of(sweep: Sweep) -> Path:
    """Return the sweep's file of activations.

    Raises :class:`InputError` if it was made with other prompts than the sweep's.
    """
    file = sweep.activations_file
    if stands(file):
        again = f"'skn activate --sweep {sweep.path} --overwrite' reads this sweep's"
        sweep.refuse_foreign(file, artifacts.load(file, "activations").provenance, again)
    return file


def _show(out: Path, result: Results) -> None:
    layers, width = result.patterns.values.shape[2:]
    show(result.table(str(out)))
    for test in result.tests():
        tell(f"  {test}: {MEANING[test]}")
    tell(f"  {_advice(result.permutations, layers * width)}")
    _show_constant(result)
    for what, stability in (result.stability or {}).items():
        _show_stability(what, stability, result)


def _advice(permutations: int, neurons: int) -> str:
    if not permutations:
        return "--permutations 1000 gives p and q that hold where pairs share conditions"
    # how many neurons must have the least possible p, so that their q is ALPHA
    needed = math.ceil(neurons / (ALPHA * (permutations + 1)))
    return (
        f"{permutations} permutations: no p is below 1/{permutations + 1}, so that q_mantel reaches {ALPHA} only where "
        f"{needed} neurons or more of an attribute have that p"
    )


def _show_constant(result: Results) -> None:
    unknown = np.isnan(result.values["tau"])
    if unknown.all():
        tell("no neuron has a tau (NaN): all neurons, or all attributes, are the same for all pairs")
        return
    everywhere = unknown.all(axis=1)
    for name in np.array(result.attributes.names)[everywhere]:
        tell(f"attribute '{name}' is the same for all pairs: it has no tau (NaN)")
    constant = int(unknown[~everywhere].any(axis=0).sum())
    tell(f"neurons that are constant over all pairs, without tau (NaN) and rank (NA): {constant}")


def _show_stability(what: str, stability: Stability | None, result: Results) -> None:
    if stability is None:
        tell(f"leaving out {what}: too few of them")
        return
    rows = []
    for a, name in enumerate(result.attributes.names):
        values = stability.jaccard[:, a]
        if np.isnan(values).all():
            rows.append([name, None, None, None])
            continue
        dropped, k = np.unravel_index(np.nanargmin(values), values.shape)
        lowest = f"top {result.tops[k]} without {stability.names[dropped]}"
        rows.append([name, float(np.nanmean(values)), float(values[dropped, k]), lowest])
    tops = ", ".join(map(str, result.tops))
    title = f"Jaccard index of the top-k sets without one of {len(stability.names)} {what}, k = {tops}"
    columns = ["attribute", "mean", "lowest", "lowest at"]
    show(Table(title, columns, rows, {"mean": ".3f", "lowest": ".3f"}))
