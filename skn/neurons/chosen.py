"""The neurons that a user chooses by name or by rank, as (layer, neuron) pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.neurons.neuron_sets import NeuronSets

Neuron = tuple[int, int] | Literal["best"]


def chosen_neurons(
    run: LoadedRun, neurons: Sequence[Neuron] | Neuron, best: int | None, ranking: NeuronSets | None
) -> list[tuple[int, int]]:
    """Return the ``best`` neurons of the ranking, by default the run's own, and behind them the named ``neurons``.

    Raises :class:`InputError` for a neuron that does not exist, and for a ranking that cannot give its best.
    """
    if neurons == "best" or (isinstance(neurons, tuple) and len(neurons) == 2 and isinstance(neurons[0], int)):
        neurons = [neurons]
    return [*best_neurons(run, best, ranking), *(_located(run, name, ranking) for name in neurons)]


def _located(run: LoadedRun, neuron: Neuron, ranking: NeuronSets | None) -> tuple[int, int]:
    """Return the (layer, neuron) that is asked for. Raises :class:`InputError` if the neuron does not exist."""
    present = run.model.backbone.present
    if neuron == "best":
        return best_neurons(run, 1, ranking, "--neuron best")[0]
    if not (isinstance(neuron, tuple) and len(neuron) == 2 and all(isinstance(part, int) for part in neuron)):
        raise InputError(f"--neuron {neuron}: expected (layer, neuron) such as (9, 1893), or 'best'")
    (layer, unit), (layers, width) = neuron, present.shape
    name = f"--neuron {layer},{unit}"
    if not (0 <= layer < layers and 0 <= unit < width):
        raise InputError(f"{name}: out of range; this backbone has layers 0:{layers} and neurons 0:{width}")
    if not present[layer, unit]:
        raise InputError(f"{name}: was pruned away in this backbone")
    return layer, unit


def best_neurons(
    run: LoadedRun, count: int | None, ranking: NeuronSets | None, option: str = "--best"
) -> list[tuple[int, int]]:
    """Return the ``count`` best neurons of the ranking. Raises :class:`InputError` if the ranking cannot give them."""
    if count is None:
        return []
    if not isinstance(count, int) or count < 1:
        raise InputError(f"{option} {count}: a number of neurons, 1 or more")
    sets = ranking or NeuronSets.load(run.file("neurons"), run.provenance, run.model.backbone.present)
    if sets.score is None:
        raise InputError(f"{option}: {sets.name} is a fixed set without scores; name LAYER,NEURON, or run 'skn select'")
    return sets.best(count)
