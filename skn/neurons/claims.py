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
    if test is None or test.confirmed is None:
        return f"{said} ({how}); test has no such tests, and a claim needs them"
    mean, (low, high) = test.best_by_chance
    chance = f"by chance the best of {test.tested:,} reaches {mean:.3f} on test (95%: {low:.3f} to {high:.3f})"
    return f"{said}, and {test.confirmed:,} of these {count:,} on test ({how}); {chance}"
