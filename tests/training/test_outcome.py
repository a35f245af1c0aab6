"""What is said of a training at its end, from its history alone."""

from __future__ import annotations

import pytest

from skn.intervals import share_interval
from skn.parameters import as_parameters
from skn.tables import span
from skn.training.outcome import TrainResult

RISING = [0.5, 0.6, 0.7, 0.8]
FLAT = [0.8, 0.79, 0.8, 0.8, 0.79, 0.8]


def result_of(
    values: list[float], majority: float = 0.5, examples: int = 400, planned: int | None = None
) -> TrainResult:
    """A training that was evaluated every 10 steps; losses stand between the evaluations."""
    history = [entry for n, v in enumerate(values, start=1) for entry in ({"step": 10 * n, "loss": 1.0},
                                                                          {"step": 10 * n, "eval_accuracy": v})]  # fmt: skip
    best = max(values)
    return TrainResult(
        best_accuracy=best,
        best_step=10 * (values.index(best) + 1),
        history=history,
        examples=examples,
        majority=majority,
        planned_steps=10 * len(values) if planned is None else planned,
    )


def test_the_accuracy_has_its_interval_its_step_and_the_larger_class_beside_it():
    result = result_of(FLAT)
    ends = span(share_interval(0.8, 400))
    assert result.told() == f"validation accuracy 0.8000 (95%: {ends}, 400 examples) at step 10 of 60"
    assert result.judged(6) == "; the larger class alone: 0.5000"
    assert "1 example)" in result_of([1.0], examples=1).told()


def test_a_training_that_still_rises_may_go_on():
    assert result_of(RISING).judged(6).endswith("Accuracy still rose at the end: more epochs may help (--epochs 12)")
    assert as_parameters(result_of(RISING).judged(6)).endswith("more epochs may help (epochs=12)")


@pytest.mark.parametrize(
    "values,rises",
    [
        (RISING, True),
        (FLAT, False),
        ([0.5, 0.6, 0.6, 0.6, 0.7, 0.69], True),  # not the last one, but far above what was before the last third
        ([0.5, 0.6, 0.79, 0.8, 0.81, 0.8], False),  # within the standard error, 0.02
        ([0.6], False),  # from a single evaluation nobody can tell
        ([0.8, 1.0], False),  # nothing is left to rise to
    ],
)
def test_what_rising_is(values, rises):
    assert result_of(values).was_rising == rises


def test_what_early_stopping_ended_did_not_rise():
    assert not result_of([0.5, 0.6, 0.6, 0.6, 0.7, 0.69], planned=90).was_rising


def test_early_stopping_is_told_and_more_epochs_are_not_advised():
    stopped = result_of([0.53, 0.52, 0.51, 0.52], majority=0.53, planned=90)
    assert stopped.told().endswith("at step 10 of 90, stopped at step 40 after 3 evaluations without a better one")
    assert "--patience" in stopped.judged(6) and "--epochs" not in stopped.judged(6)
    assert "stopped" not in result_of(FLAT).told()


def test_no_better_than_the_larger_class_says_what_to_try():
    words = result_of([0.52, 0.53, 0.52, 0.53, 0.53, 0.52], majority=0.52).judged(6)
    assert words.startswith(
        ", not clearly better than the larger class alone (0.5200). Try another learning rate (--lr)"
    )
    assert result_of(FLAT, majority=0.8).judged(6).startswith(", no better than the larger class alone (0.8000)")
    assert "--verbalizer" in words and "--epochs 12" in words
    python = as_parameters(words)
    assert "lr=" in python and "words=" in python and "epochs=12" in python and "--" not in python
    assert "try more epochs first (--epochs 12)" in result_of([0.51, 0.52, 0.53], majority=0.52).judged(6)


def test_where_nothing_was_tuned_the_words_say_how_to_tune():
    start = TrainResult(best_accuracy=0.5, best_step=0, history=[], examples=40, majority=0.5, planned_steps=0)
    assert "Nothing was tuned" in start.judged(0) and "--epochs" in start.judged(0)


def test_a_run_of_an_older_version_has_an_interval_and_no_advice():
    old = TrainResult(best_accuracy=0.5, best_step=20, history=[{"step": 20, "eval_accuracy": 0.5}], examples=40)
    assert old.told().endswith("40 examples) at step 20") and old.judged(6) == "" and not old.was_rising
