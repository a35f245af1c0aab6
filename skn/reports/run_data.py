"""The content of a run's report. The stage reads it from a run; :mod:`skn.reports.run_page` turns it into a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skn.inference.readouts import PROMPT
from skn.neurons.significance import Significance
from skn.pruned.int8 import Int8Standing
from skn.training.outcome import TrainResult

Ends = tuple[float, float]  # the ends of a 95% interval


@dataclass(frozen=True)
class Histogram:
    """One neuron's ``activation`` [N] at one prompt position, and each example's class, ``label`` [N]."""

    split: str
    layer: int
    neuron: int
    position: int
    best: bool  # True for the first neuron of the ranking, False for a neuron that the user named
    activation: np.ndarray
    label: np.ndarray
    classes: list[str]
    threshold: float | None


@dataclass(frozen=True)
class TextOfNeuron:
    """A text with the name of its class and the neuron's activation on it."""

    text: str
    label: str
    activation: float


@dataclass(frozen=True)
class NeuronTexts:
    """The texts of a split on which a neuron is most active and least active, at one prompt position."""

    split: str
    layer: int
    neuron: int
    position: int
    highest: list[TextOfNeuron]
    lowest: list[TextOfNeuron]


@dataclass(frozen=True)
class Piece:
    """Some characters of a text. Those of a token have its ``activation``, and ``peak`` if it has the text's value."""

    text: str
    activation: float | None = None
    peak: bool = False


@dataclass(frozen=True)
class Exemplar:
    """A text with a neuron's activation on it, its row in the split, and the place of the token that has the activation.

    ``pieces`` are the text as the page shows it; empty if the page does not show the text.
    """

    activation: float
    row: int
    token: int
    text: str
    pieces: list[Piece]


@dataclass(frozen=True)
class NeuronExemplars:
    """The texts on which a neuron's activation at a token is highest and lowest."""

    layer: int
    neuron: int
    highest: list[Exemplar]
    lowest: list[Exemplar]


@dataclass(frozen=True)
class ExemplarsOfSplit:
    """The exemplars of a split: the names of the classes, the class of each row of the split, and the neurons."""

    split: str
    classes: list[str]
    label: list[int]
    neurons: list[NeuronExemplars]


@dataclass(frozen=True)
class ByPosition:
    """Predictivity at each prompt position, [L, P]: of the ``best`` neuron, and the value that 99% of the neurons do
    not exceed. ``read_at``: layer and position of the best neuron of all, which is the first of the ranking.
    """

    best: np.ndarray
    most: np.ndarray
    read_at: tuple[int, int]


@dataclass(frozen=True)
class FamilyWise:
    """The family-wise ``p`` [L, F] of permutation tests on a split, NaN where no neuron was tested."""

    split: str
    p: np.ndarray


@dataclass(frozen=True)
class Predictivity:
    """The scores of a ranking: ``score`` [L, F], NaN where a neuron is absent, and the ``best`` neurons.

    ``test`` holds the accuracy on test of the first of the best, and ``test_intervals`` the intervals, if the counts on
    test exist. ``measure`` names the measure that ranked the neurons, such as "balanced accuracy". ``model`` has the model's own accuracy by
    this measure with its interval, by split. ``neurons`` names the set in words. ``carried`` lists more of the best:
    layer, neuron, and accuracy on test, read in the position and direction of the ranking's split. ``family`` has the
    permutation tests on the split that ranked the neurons. ``stability`` is what the ranking's file says of bootstraps
    (:meth:`skn.neurons.stability.Stability.plain`).
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
    family: FamilyWise | None = None
    stability: dict[str, Any] | None = None


@dataclass(frozen=True)
class Kept:
    """A pruned model in the run's folder: the number of kept neurons, and its accuracy on validation with its interval.

    ``pruned`` is with the run's own prompt, ``retuned`` with the prompt tuned again; both are (accuracy, low, high).
    ``int8`` is the last of the two in int8.
    """

    name: str
    neurons: int
    pruned: tuple[float, float, float]
    retuned: tuple[float, float, float] | None
    majority: float
    int8: Int8Standing | None = None


@dataclass(frozen=True)
class FileEntry:
    """A file of the run. Kind and dtype are empty if the file does not state them."""

    name: str
    size: int
    kind: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class ReportData:
    """The content of a run. A missing part is empty or None.

    The dictionaries are those of the JSON files, with ``stem``, the name of the file. ``readout`` is the run's own read-out,
    and ``tests`` has the permutation tests by read-out and split.
    """

    config: dict[str, Any]
    training: TrainResult
    provenance: dict[str, Any]
    histograms: list[Histogram] = field(default_factory=list)
    predictivity: Predictivity | None = None
    masks: list[dict[str, Any]] = field(default_factory=list)
    off_targets: list[dict[str, Any]] = field(default_factory=list)
    class_share: dict[str, list[float]] = field(default_factory=dict)  # by split
    prune: dict[str, Any] | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    texts: list[NeuronTexts] = field(default_factory=list)
    texts_missing: str | None = None  # why there are no texts
    exemplars: list[ExemplarsOfSplit] = field(default_factory=list)
    exemplars_missing: str | None = None  # why there are no exemplars
    readout: str = PROMPT
    tests: dict[tuple[str, str], Significance] = field(default_factory=dict)
