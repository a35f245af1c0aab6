"""Cut a searchlight into sets: for each attribute the best neurons over all layers, at several counts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

import skn
from skn.errors import InputError
from skn.names import pick
from skn.neurons.attribute_sets import AttributeSets
from skn.neurons.selection import random_factors, top_over_layers
from skn.neurons.specificity import condition_weights
from skn.rsa.conditions import refuse_repeated
from skn.seeds import generator
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.folders import refuse_occupied, replaced
from skn.tables import Table


def cut_sets(
    rsa: Path,
    counts: list[int],
    out: Path,
    attributes: list[str] | None = None,
    *,
    kind: str = "binary",
    seed: int = 0,
    overwrite: bool = False,
) -> Table:
    """Write the sets. Returns a table of how many neurons of the largest set each layer holds.

    Writes the folder ``out``: ``sets.json`` and a ``neurons`` file for each attribute and count. ``rsa`` needs only its
    ``rank``. If it has ``distance``, the sets also keep how far each attribute sets the conditions apart. ``kind``
    "scale" gives each chosen neuron a factor of its own in [0, 1). Raises :class:`InputError`.
    """
    if seed != 0 and kind != "scale":
        raise InputError(
            f"--seed {seed}: draws the factors of --kind scale, and has no effect with {kind}; leave it out"
        )
    ranking = artifacts.load(rsa, "rsa")
    names = _attributes(ranking)
    chosen = pick(attributes, names, "--attributes", f"{rsa}: attributes")
    _check_ranks(ranking, chosen, names, counts)
    refuse_occupied(out, "folder of neuron sets", overwrite)
    origin = {"file": rsa.name, "digest": hashlib.sha256(rsa.read_bytes()).hexdigest()[:16]}
    with replaced(out, "folder of neuron sets") as folder:
        sets = AttributeSets(
            folder, chosen, counts, kind=kind, seed=seed, rsa=origin, weights=_weights(ranking, chosen, names)
        )
        for attribute in chosen:
            for count in counts:
                _save(sets, attribute, count, ranking, ranking["rank"][names.index(attribute)])
        sets.save()
    return _layers(out, ranking, chosen, names, counts)


def _attributes(ranking: Artifact) -> list[str]:
    names = ranking.meta["attributes"]
    refuse_repeated(names, str(ranking.path), "attribute")
    return names


def _check_ranks(ranking: Artifact, chosen: list[str], names: list[str], counts: list[int]) -> None:
    """Check that ranks are 1 to the number of neurons, and that there are enough ranks for every count."""
    for name in chosen:
        rank = ranking["rank"][names.index(name)]
        known = rank[~rank.isnan()]
        outside = known[(known < 1) | (known > rank.numel())]
        if len(outside):
            raise InputError(
                f"{ranking.path}: attribute '{name}' has rank {outside[0].item():g} among {rank.numel()} neurons; "
                f"ranks are 1 to {rank.numel()}"
            )
        if not len(known):
            raise InputError(
                f"{ranking.path}: attribute '{name}' ranks no neuron, as it has no tau; --attributes leaves it out"
            )
        for count in counts:
            if not 1 <= count <= len(known):
                raise InputError(f"--top {count}: attribute '{name}' ranks {len(known)} neurons; use 1 to {len(known)}")


def _weights(ranking: Artifact, chosen: list[str], names: list[str]) -> dict[str, dict[str, float]] | None:
    """Return how far each attribute sets each condition apart; None if the file has no distances."""
    distance, conditions = ranking.get("distance"), ranking.meta.get("conditions")
    if distance is None:
        return None
    pairs = distance.shape[1]
    if not isinstance(conditions, list) or len(conditions) * (len(conditions) - 1) != 2 * pairs:
        raise InputError(
            f"{ranking.path}: does not name the conditions of its {pairs} pairs; make it again with 'skn rsa'"
        )
    weights = condition_weights(distance.numpy())
    rows = {name: weights[names.index(name)].tolist() for name in chosen}
    return {name: dict(zip(conditions, row, strict=True)) for name, row in rows.items()}


def _save(sets: AttributeSets, attribute: str, count: int, ranking: Artifact, rank: Tensor) -> None:
    tensors = {"selected": top_over_layers(rank, count)}
    if sets.kind == "scale":
        tensors["factor"] = random_factors(tensors["selected"], generator(sets.seed, attribute, count))
    provenance = {**ranking.provenance, "skn_version": skn.__version__}
    artifacts.save(sets.file(attribute, count), "neurons", tensors, provenance, attribute=attribute, top=count)


def _layers(out: Path, ranking: Artifact, chosen: list[str], names: list[str], counts: list[int]) -> Table:
    """A table of how many neurons of the largest set each layer holds."""
    largest = max(counts)
    rows = [
        [name, *torch.sum(top_over_layers(ranking["rank"][names.index(name)], largest), dim=1).tolist()]
        for name in chosen
    ]
    layers = [f"layer {layer}" for layer in range(ranking["rank"].shape[1])]
    sizes = ", ".join(map(str, counts))
    return Table(f"Neuron sets of {sizes} ({out}); of the {largest} best in each layer", ["attribute", *layers], rows)
