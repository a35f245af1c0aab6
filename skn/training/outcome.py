"""The result of a training, and the lines about it: how certain its accuracy is, and what may improve it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from skn.intervals import none_better, share_interval
from skn.tables import span


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Validation accuracy of the best checkpoint, its step, and the history of evaluations.

    ``examples`` is the number of examples behind the accuracy, ``majority`` the share of their larger class.
    ``planned_steps`` is the number of steps without early stopping. ``engine`` made the evaluations since the last
    start or resume. The last three are None for runs of older versions.
    """

    best_accuracy: float
    best_step: int
    history: list[dict[str, float]]
    examples: int
    majority: float | None = None
    planned_steps: int | None = None
    engine: str | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy (Wilson)."""
        return share_interval(self.best_accuracy, self.examples)

    @property
    def margin(self) -> float:
        """The distance from the accuracy to the farther end of its interval."""
        low, high = self.interval
        return max(self.best_accuracy - low, high - self.best_accuracy)

    @property
    def beats_majority(self) -> bool:
        """Whether the whole interval lies above the share of the larger class."""
        return self.majority is None or self.interval[0] > self.majority

    @property
    def stopped_at(self) -> int | None:
        """The step at which early stopping ended the training; None if it made all planned steps."""
        last = self._evaluations[-1]["step"] if self._evaluations else None
        return None if last is None or self.planned_steps is None or last >= self.planned_steps else int(last)

    @property
    def _evaluations(self) -> list[dict[str, float]]:
        return [entry for entry in self.history if "eval_accuracy" in entry]

    @property
    def was_rising(self) -> bool:
        """Whether accuracy still rose when the planned steps ended.

        Accuracy rose if the best checkpoint is the last one, or if the best accuracy in the last third of the
        evaluations exceeds all earlier accuracies by more than the standard error of an accuracy. A training that early
        stopping ended did not rise.
        """
        evaluations = self._evaluations
        if self.planned_steps is None or len(evaluations) < 2 or self.best_accuracy == 1.0 or self.stopped_at:
            return False
        if self.best_step == self.planned_steps:
            return True
        values = [entry["eval_accuracy"] for entry in evaluations]
        third = max(1, len(values) // 3)
        before, late = max(values[:-third]), max(values[-third:])
        return late - before > math.sqrt(before * (1 - before) / self.examples)

    def zero_shot(self, dtype: str) -> str:
        """Write the accuracy of a template, beside the share of the larger class, and what to try if it is no better."""
        words = f"zero-shot validation accuracy {self.best_accuracy:.4f} {self._counted}) by template, {dtype}"
        if self.beats_majority:
            return f"{words}; the larger class alone: {self.majority:.4f}"
        than = none_better(self.best_accuracy, self.majority)
        return f"{words}, {than} the larger class alone ({self.majority:.4f}). Try other label words (--verbalizer) or another --template"

    @property
    def _counted(self) -> str:
        counted = f"{self.examples:,} example" + ("" if self.examples == 1 else "s")
        return f"(95%: {span(self.interval)}, {counted}"

    def told(self) -> str:
        """Write "validation accuracy 0.8312 (95%: 0.8049 – 0.8547, 872 examples) at step 90 of 240"."""
        of = "" if self.planned_steps is None else f" of {self.planned_steps}"
        where = f"{self._counted}) at step {self.best_step}{of}"
        if self.stopped_at is not None:
            after = sum(entry["step"] > self.best_step for entry in self._evaluations)
            where += f", stopped at step {self.stopped_at} after {after} evaluations without a better one"
        return f"validation accuracy {self.best_accuracy:.4f} {where}"

    def judged(self, epochs: int) -> str:
        """Give the share of the larger class, and what to try after so many ``epochs``; empty if the share is not
        known.
        """
        if self.majority is None:
            return ""
        more = f"--epochs {2 * epochs}"
        if self.beats_majority:
            words = f"; the larger class alone: {self.majority:.4f}"
            return words + (
                f". Accuracy still rose at the end: more epochs may help ({more})" if self.was_rising else ""
            )
        words = f", {none_better(self.best_accuracy, self.majority)} the larger class alone ({self.majority:.4f})"
        if not self.history:
            return f"{words}. Nothing was tuned: --epochs says for how long, --prompt-length how many positions"
        if self.was_rising:
            return f"{words}. Accuracy still rose at the end: try more epochs first ({more})"
        longer = f"more epochs ({more})" if self.stopped_at is None else "more patience (--patience)"
        return f"{words}. Try another learning rate (--lr), other label words (--verbalizer) or {longer}"
