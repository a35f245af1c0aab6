"""What a probe shows beyond chance, in a sentence that may be quoted."""

from __future__ import annotations

from skn.neurons.significance import LEVEL, Significance


def beyond_chance(validation: Significance, test: Significance | None) -> str:
    """Say how many neurons predict beyond chance on validation, how many of these on test, and what chance reaches.

    Validation chose the neurons, so only the figures of test are a claim.
    """
    count = int(validation.beyond_chance.sum())
    said = f"{count:,} of {validation.tested:,} neurons predict the label beyond chance on validation"
    how = f"family-wise p ≤ {LEVEL:g}, {len(validation.chance):,} relabellings"
    if not count:
        none = f"none of {validation.tested:,} neurons predicts the label beyond chance on validation ({how})"
        return f"{none}; {_by_chance(validation, 'validation')}"
    if test is None or test.confirmed is None:
        return f"{said} ({how}); test has no such tests, and a claim needs them"
    return f"{said}, and {test.confirmed:,} of these {count:,} on test ({how}); {_by_chance(test, 'test')}"


def _by_chance(tests: Significance, split: str) -> str:
    mean, (low, high) = tests.best_by_chance
    return f"by chance the best of {tests.tested:,} reaches {mean:.3f} on {split} (95%: {low:.3f} to {high:.3f})"
