"""What a report shows, read from a run by the stage and turned into a page by :mod:`skn.reports.run_page`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skn.training.outcome import TrainResult

Ends = tuple[float, float]  # of a 95% interval


@dataclass(frozen=True)
class Histogram:
    """One neuron's ``activation`` [N] at one prompt position, and each example's class, ``label`` [N]."""

    split: str
    layer: int
    neuron: int
    position: int
    best: bool  # the first of the ranking, as opposed to one that the user named
    activation: np.ndarray
    label: np.ndarray
    classes: list[str]
    threshold: float | None


@dataclass(frozen=True)
class TextOfNeuron:
    """A text with the name of its class and how active the neuron is on it."""

    text: str
    label: str
    activation: float


@dataclass(frozen=True)
class NeuronTexts:
    """The texts of a split on which a neuron is most active, and least active, at one prompt position."""

    split: str
    layer: int
    neuron: int
    position: int
    highest: list[TextOfNeuron]
    lowest: list[TextOfNeuron]


@dataclass(frozen=True)
class ByPosition:
    """Predictivity at each prompt position, [L, P]: of the ``best`` neuron, and what 99% of the neurons do not exceed.

    ``read_at``: layer and position of the best neuron of all, which is the first of the ranking.
    """

    best: np.ndarray
    most: np.ndarray
    read_at: tuple[int, int]


@dataclass(frozen=True)
class Predictivity:
    """``score`` [L, F], NaN where absent; the ``best`` neurons and their accuracy on ``test``, of the first of them.

    ``test_intervals`` are of ``test``, where the counts on test are there. ``measure`` is what the accuracies are,
    "balanced" or "plain"; ``model`` the model's own by the same one with its interval, by split.
    ``neurons`` says in words which set it is. ``carried`` are more of the best: layer, neuron, and what they reach on
    test, each read as the ranking's split says.
    """

    score: np.ndarray
    ranked_on: str
    best: list[tuple[int, int]]
    test: list[float] | None
    measure: str
    model: dict[str, tuple[float, Ends]]
    neurons: str
    by_position: ByPosition | None = None
    carried: list[tuple[int, int, float]] = field(default_factory=list)
    test_intervals: list[Ends | None] | None = None


@dataclass(frozen=True)
class Kept:
    """A pruned model in the run's folder: how many neurons it kept, and its accuracy on validation, each with an interval.

    ``pruned`` is with the run's own prompt, ``retuned`` with the prompt tuned again; (accuracy, low, high).
    """

    name: str
    neurons: int
    pruned: tuple[float, float, float]
    retuned: tuple[float, float, float] | None
    majority: float


@dataclass(frozen=True)
class FileEntry:
    """A file of the run; kind and dtype are empty where the file does not say."""

    name: str
    size: int
    kind: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class ReportData:
    """What a run holds; what is not there is empty or None. The dictionaries are those of the JSON files."""

    config: dict[str, Any]
    training: TrainResult
    provenance: dict[str, Any]
    histograms: list[Histogram] = field(default_factory=list)
    predictivity: Predictivity | None = None
    masks: list[dict[str, Any]] = field(default_factory=list)
    class_share: dict[str, list[float]] = field(default_factory=dict)  # by split
    prune: dict[str, Any] | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    texts: list[NeuronTexts] = field(default_factory=list)
    texts_missing: str | None = None  # why there are none
