"""What a training shows while it runs: a bar with its figures, or a line at each evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable

from transformers import TrainerCallback, TrainerState

from skn.intervals import share_interval
from skn.progress import REFRESHES, SECONDS_BETWEEN_LINES, Steps, duration, say
from skn.tables import span

# Reading the loss waits for the device, so the bar gets new figures no more often than it is drawn.
SECONDS_BETWEEN_FIGURES = 1 / REFRESHES


class Shown(TrainerCallback):
    """Reports the progress of a training to ``steps``. If no bar is drawn, it prints a line at each evaluation.

    ``examples`` is the number of examples behind the validation accuracy. ``loss`` reads the loss of the last batch.
    """

    def __init__(self, steps: Steps, description: str, examples: int, loss: Callable[[], float]):
        self.steps, self.description, self.examples, self.loss = steps, description, examples, loss
        self.mean_loss = float("nan")  # the mean since the last evaluation
        self.begun: tuple[float, int] | None = None  # time and step of the beginning
        self.told = 0.0  # when something was last drawn or printed

    def on_step_begin(self, args, state, control, **_):
        if self.begun is None:
            self.told = time.monotonic()
            self.begun = self.told, state.global_step

    def on_step_end(self, args, state, control, **_):
        now = time.monotonic()
        if self.steps.drawn:
            if now - self.told >= SECONDS_BETWEEN_FIGURES or state.global_step == state.max_steps:
                self._draw(state, now)
        elif self.told == self.begun[0] and now - self.told >= SECONDS_BETWEEN_LINES:
            self.told = now
            say(f"{self._where(state)}, about {self._left(state, now)}; a line follows at each evaluation")

    def on_log(self, args, state, control, logs=None, **_):
        self.mean_loss = logs.get("loss", self.mean_loss)
        if "eval_accuracy" not in logs:
            return
        now, value = time.monotonic(), logs["eval_accuracy"]
        if self.steps.drawn:
            self._draw(state, now)
        else:
            self.told = now
            reached = f"validation accuracy {value:.4f} (95%: {span(share_interval(value, self.examples))})"
            left = "" if state.global_step >= state.max_steps else f", about {self._left(state, now)}"
            say(f"{self._where(state)}, loss {self.mean_loss:.4f}, {reached}{left}")

    def _where(self, state: TrainerState) -> str:
        return f"{self.description}: step {state.global_step}/{state.max_steps}"

    def _draw(self, state: TrainerState, now: float) -> None:
        self.told = now
        values = [entry["eval_accuracy"] for entry in state.log_history if "eval_accuracy" in entry]
        reached = f"  validation {values[-1]:.3f}, best {max(values):.3f}" if values else ""
        self.steps.show(state.global_step, f"loss {self.loss():.3f}{reached}", self._left(state, now))

    def _left(self, state: TrainerState, now: float) -> str:
        """Estimate the time left from the steps so far, evaluations included.

        Steps before a resumption do not count.
        """
        begin, first = self.begun
        done = state.global_step - first
        left = (now - begin) * (state.max_steps - state.global_step) / done
        return f"{duration(left)} left"
