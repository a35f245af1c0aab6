"""How a training went, and what is said of it at its end: how sure its accuracy is, and what may make it better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from skn.intervals import none_better, share_interval
from skn.tables import span


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Validation accuracy of the kept checkpoint, its step, and the history of evaluations.

    ``examples`` is how many the accuracy is of, ``majority`` the share of their larger class, ``planned_steps`` how many
    steps the training had without early stopping. The last two are None for runs of older versions.
    """

    best_accuracy: float
    best_step: int
    history: list[dict[str, float]]
    examples: int
    majority: float | None = None
    planned_steps: int | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy (Wilson)."""
        return share_interval(self.best_accuracy, self.examples)

    @property
    def margin(self) -> float:
        """How far the accuracy lies from the farther end of its interval."""
        low, high = self.interval
        return max(self.best_accuracy - low, high - self.best_accuracy)

    @property
    def beats_majority(self) -> bool:
        """Whether the whole interval lies above what the larger class alone reaches."""
        return self.majority is None or self.interval[0] > self.majority

    @property
    def stopped_at(self) -> int | None:
        """The step at which early stopping ended the training; None where all planned steps were made."""
        last = self._evaluations[-1]["step"] if self._evaluations else None
        return None if last is None or self.planned_steps is None or last >= self.planned_steps else int(last)

    @property
    def _evaluations(self) -> list[dict[str, float]]:
        return [entry for entry in self.history if "eval_accuracy" in entry]

    @property
    def was_rising(self) -> bool:
        """Whether accuracy still rose when the planned steps ended.

        The best checkpoint is the last one, or the best of the last third of the evaluations is better than all before
        by more than the standard error of an accuracy. A training that early stopping ended did not rise.
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

    def told(self) -> str:
        """ "validation accuracy 0.8312 (95%: 0.8049 – 0.8547, 872 examples) at step 90 of 240"."""
        of = "" if self.planned_steps is None else f" of {self.planned_steps}"
        counted = f"{self.examples:,} example" + ("" if self.examples == 1 else "s")
        where = f"(95%: {span(self.interval)}, {counted}) at step {self.best_step}{of}"
        if self.stopped_at is not None:
            after = sum(entry["step"] > self.best_step for entry in self._evaluations)
            where += f", stopped at step {self.stopped_at} after {after} evaluations without a better one"
        return f"validation accuracy {self.best_accuracy:.4f} {where}"

    def judged(self, epochs: int) -> str:
        """What the larger class alone reaches, and what to try next after so many ``epochs``; empty where nothing is known."""
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
