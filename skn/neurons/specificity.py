"""Test whether masking an attribute's neurons does harm, and whether it harms the emotions that the attribute sets
apart.

Harm alone shows that the neurons matter, but they may matter for everything. So skn asks two questions about each
attribute. Is accuracy lower than under random masks of the same size? Does accuracy drop more for emotions far from the
others on the attribute than for emotions near the others? skn tests both over the seeds, because each seed is a new
draw. The examples of the test split are no new draw: they are the same at every seed, or share their positive examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import squareform
from scipy.stats import binomtest, false_discovery_control, ttest_1samp

from skn.intervals import mean_interval

ALPHA = 0.05
MIN_EMOTIONS, MIN_SEEDS = 3, 2
ROUNDING = 1e-12  # accuracies that differ by less count as equal

TESTS = (
    "drop: accuracy under the random masks (mean of the draws) less that under the attribute's, averaged over the "
    "emotions; mean over the seeds with its 95% t interval, p of the one-sided t test over the seeds",
    "mcnemar: examples right in more than half of the draws and wrong under the attribute's mask (b), and the reverse "
    "(c), half of the draws left out; exact two-sided binomial p. Examples recur over the seeds, so it is too small",
    "specificity: mean drop of the third of the emotions of greatest weight less that of the third of least; a weight "
    "is the mean of an emotion's distances to the others on the attribute; tested as the drop is",
    "q: Benjamini-Hochberg over the attributes at one count of neurons",
)


@dataclass(frozen=True)
class Masked:
    """The effect of masking the neurons of one attribute at one count.

    ``masked`` and ``random`` [emotion, seed] float64 are accuracies; ``random`` is the mean over the draws. ``b`` and
    ``c`` count examples as :func:`discordant` does.
    """

    attribute: str
    top: int
    masked: np.ndarray
    random: np.ndarray
    b: int
    c: int

    @property
    def drop(self) -> np.ndarray:
        return self.random - self.masked


def condition_weights(distance: np.ndarray) -> np.ndarray:
    """[attribute, condition] float64: the mean of a condition's distances to the others, from [attribute, pair].

    The pairs are the strict lower triangle read column by column, which is scipy's order.
    """
    return np.stack([squareform(row).sum(axis=1) for row in distance]) / (_conditions(distance.shape[1]) - 1)


def _conditions(pairs: int) -> int:
    return (1 + round((1 + 8 * pairs) ** 0.5)) // 2


def discordant(masked: np.ndarray, random: np.ndarray, draws: int) -> tuple[int, int]:
    """McNemar's b and c: the examples that are right only under random masks, and those that are right only under the
    mask.

    ``masked`` [N] bool. ``random`` [N] counts under how many of the ``draws`` an example was right. More than half of
    the draws counts as right, less than half as wrong; an example at exactly half is left out.
    """
    right, wrong = 2 * random > draws, 2 * random < draws
    return int((right & ~masked).sum()), int((wrong & masked).sum())


def mcnemar(b: int, c: int) -> float:
    """The exact two-sided p of McNemar's test; 1 if there is no discordant example."""
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """The mean with its 95% interval, and the one-sided p that the mean exceeds 0 (Student's t); one value for each
    seed.

    Values without spread have no p. A single seed has neither p nor interval.
    """
    mean, low, high = mean_interval(values)
    spread = len(values) >= MIN_SEEDS and np.ptp(values) > ROUNDING
    p = float(ttest_1samp(values, 0.0, alternative="greater").pvalue) if spread else None
    return {"mean": mean, "low": low, "high": high, "p": p}


def thirds(weights: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the third with the greatest weights and the third with the least weights, each in order of falling weight.

    The size of a third is rounded down.
    """
    order = sorted(weights, key=lambda name: (-weights[name], name))
    third = len(order) // 3
    return order[:third], order[len(order) - third :]


def contrast(drop: np.ndarray, emotions: Sequence[str], weights: Mapping[str, float]) -> dict[str, Any] | None:
    """Specificity from the drops [emotion, seed]; None for fewer than three weighted emotions or fewer than two seeds."""
    known = {name: weights[name] for name in emotions if name in weights}
    if len(known) < MIN_EMOTIONS or drop.shape[1] < MIN_SEEDS:
        return None
    top, bottom = thirds(known)
    means = [drop[[emotions.index(name) for name in part]].mean(axis=0) for part in (top, bottom)]
    return {**over_seeds(means[0] - means[1]), "top_third": top, "bottom_third": bottom}


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """The values of :func:`over_seeds` and a q, for a drop or for specificity."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    seeds: int | None = None
    top_third: list[str] | None = None
    bottom_third: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """The counts of discordant examples and their p."""

    b: int
    c: int
    p: float


@dataclass(frozen=True, kw_only=True)
class SpecificityRow:
    """The results for one attribute and count."""

    attribute: str
    top: int
    drop: OverSeeds
    mcnemar: McNemar
    specificity: OverSeeds | None


@dataclass(frozen=True, kw_only=True)
class EmotionDrop:
    """The drop of one emotion, averaged over the seeds."""

    attribute: str
    top: int
    emotion: str
    drop: float | None


@dataclass(frozen=True, kw_only=True)
class SpecificityDocument:
    """The content of ``specificity.json``."""

    alpha: float
    rows: list[SpecificityRow]
    by_emotion: list[EmotionDrop]
    notes: list[str]


def specificity(
    results: Sequence[Masked],
    emotions: Sequence[str],
    weights: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, Any]:
    """Make the document ``specificity.json``: a row for each attribute and count, the drop by emotion, and notes.

    ``weights`` [attribute][emotion] is None if the ranking has no distances.
    """
    rows = [
        {
            "attribute": masked.attribute,
            "top": masked.top,
            "drop": {**over_seeds(masked.drop.mean(axis=0)), "seeds": masked.drop.shape[1]},
            "mcnemar": {"b": masked.b, "c": masked.c, "p": mcnemar(masked.b, masked.c)},
            "specificity": None if weights is None else contrast(masked.drop, emotions, weights[masked.attribute]),
        }
        for masked in results
    ]
    for count in sorted({row["top"] for row in rows}):
        for measure in ("drop", "specificity"):
            _add_q([row[measure] for row in rows if row["top"] == count and row[measure] is not None])
    by_emotion = [
        {"attribute": masked.attribute, "top": masked.top, "emotion": name, "drop": float(drop)}
        for masked in results
        for name, drop in zip(emotions, masked.drop.mean(axis=1), strict=True)
    ]
    notes = [*TESTS, *_remarks(rows, emotions, weights)]
    return {"alpha": ALPHA, "rows": rows, "by_emotion": by_emotion, "notes": notes}


def _add_q(tests: list[dict[str, Any]]) -> None:
    """Add Benjamini–Hochberg q to the tests that have a p."""
    known = [test for test in tests if test["p"] is not None]
    q = false_discovery_control([test["p"] for test in known]) if known else []
    for test in tests:
        test["q"] = None
    for test, value in zip(known, q, strict=True):
        test["q"] = float(value)


def _remarks(
    rows: Sequence[Mapping[str, Any]], emotions: Sequence[str], weights: Mapping[str, Mapping[str, float]] | None
) -> list[str]:
    """Say why a number is missing."""
    remarks = []
    seeds = rows[0]["drop"]["seeds"]
    if seeds < MIN_SEEDS:
        remarks.append(f"{seeds} seed: no interval, no p and no specificity; they need {MIN_SEEDS}")
    elif any(row[m] is not None and row[m]["p"] is None for row in rows for m in ("drop", "specificity")):
        remarks.append("no p where the seeds do not differ")
    if weights is None:
        remarks.append("no specificity: the ranking came without distances of the conditions ('skn rsa' writes both)")
        return remarks
    conditions = next(iter(weights.values()))
    without = [name for name in emotions if name not in conditions]
    if without:
        remarks.append(f"left out of specificity, as the attributes do not rate them: {', '.join(without)}")
    if len(emotions) - len(without) < MIN_EMOTIONS:
        remarks.append(f"no specificity: {len(emotions) - len(without)} rated emotions; thirds need {MIN_EMOTIONS}")
    return remarks
