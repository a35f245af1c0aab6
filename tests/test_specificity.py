"""Damage and specificity of masks, held against scipy and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_rel

from skn.specificity import Masked, condition_weights, contrast, discordant, mcnemar, over_seeds, specificity, thirds

EMOTIONS = ["joy", "anger", "fear", "pride", "grief", "love", "relief"]
SEEDS = 5


def masked(attribute="valence", top=10, shift=0.0, seed=0, emotions=7, seeds=SEEDS):
    rng = np.random.default_rng(seed)
    random = 0.8 + 0.05 * rng.random((emotions, seeds))
    return Masked(attribute, top, random - shift - 0.02 * rng.standard_normal((emotions, seeds)), random, 30, 10)


def test_weights_are_mean_distances_to_the_others():
    # Pairs (0,1), (0,2), (0,3), (1,2), (1,3), (2,3) of four conditions.
    distance = np.array([[1.0, 2, 3, 4, 5, 6], [0, 0, 9, 0, 0, 0]])
    np.testing.assert_allclose(condition_weights(distance), [[6 / 3, 10 / 3, 12 / 3, 14 / 3], [3, 0, 0, 3]])


def test_discordant_examples_by_hand():
    # 4 draws: right under random if in 3 or 4 of them; the two examples at 2 are left out.
    right_under_mask = np.array([True, False, True, False, True, False, True, False])
    draws = np.array([4, 4, 1, 0, 2, 2, 0, 3])
    assert discordant(right_under_mask, draws, 4) == (2, 2)
    assert discordant(right_under_mask, np.array([2, 2, 1, 1, 0, 0, 3, 3]), 3) == (2, 2)


@pytest.mark.parametrize(
    "b,c,p",
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 4, 2 / 2**4),
        (6, 1, 2 * (1 + 7) / 2**7),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(b, c, p):
    assert mcnemar(b, c) == pytest.approx(p, rel=1e-12) and mcnemar(c, b) == mcnemar(b, c)


def test_one_sided_test_over_seeds():
    found = over_seeds([0.02, 0.05, 0.01, 0.04])
    # t = 0.03 / (sd / 2); sd² = (0.01² + 0.02² + 0.02² + 0.01²) / 3
    sem = np.sqrt(0.001 / 3) / 2
    assert found["mean"] == pytest.approx(0.03)
    assert (found["low"], found["high"]) == pytest.approx((0.03 - 3.182446305 * sem, 0.03 + 3.182446305 * sem))
    assert found["p"] == pytest.approx(ttest_rel([0.02, 0.05, 0.01, 0.04], [0] * 4, alternative="greater").pvalue)
    assert over_seeds([-0.02, -0.05, -0.01, -0.04])["p"] == pytest.approx(1 - found["p"])


def test_what_a_single_seed_or_equal_seeds_cannot_say():
    assert over_seeds([0.25]) == {"mean": 0.25, "low": None, "high": None, "p": None}
    equal = over_seeds([0.25, 0.25 + 1e-16, 0.25])
    assert equal["p"] is None and equal["low"] == pytest.approx(0.25)


def test_thirds_are_rounded_down_and_ordered():
    weights = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 5.0, "e": 4.0, "f": 1.0, "g": 0.5, "h": 9.0}
    assert thirds(weights) == (["h", "d"], ["f", "g"])
    assert thirds({"a": 1.0, "b": 1.0, "c": 1.0}) == (["a"], ["c"])


def test_rows_against_scipy():
    results = [masked(a, k, shift, seed) for seed, (a, k, shift) in enumerate(
        [("valence", 10, 0.05), ("arousal", 10, 0.0), ("control", 10, 0.01), ("valence", 20, 0.03), ("arousal", 20, 0.0)]
    )]  # fmt: skip
    weights = {a: dict(zip(EMOTIONS, w, strict=True)) for a, w in
               (("valence", range(7)), ("arousal", [3, 1, 4, 1.5, 9, 2, 6]), ("control", [2, 7, 1, 8, 2.8, 1.8, 4]))}  # fmt: skip
    found = specificity(results, EMOTIONS, weights)
    rows = {(row["attribute"], row["top"]): row for row in found["rows"]}
    p = {(r.attribute, r.top): ttest_rel(r.random.mean(0), r.masked.mean(0), alternative="greater") for r in results}
    for key, test in p.items():
        drop = rows[key]["drop"]
        assert drop["p"] == pytest.approx(test.pvalue, rel=1e-9) and drop["seeds"] == SEEDS
        assert (drop["low"], drop["high"]) != (None, None)
    for count in (10, 20):
        keys = [key for key in p if key[1] == count]
        expected = false_discovery_control([p[key].pvalue for key in keys])
        np.testing.assert_allclose([rows[key]["drop"]["q"] for key in keys], expected, rtol=1e-9)
    arousal = rows["arousal", 10]["specificity"]
    assert (arousal["top_third"], arousal["bottom_third"]) == (["grief", "relief"], ["pride", "anger"])
    drop = results[1].random - results[1].masked
    expected = ttest_rel(drop[[4, 6]].mean(0), drop[[3, 1]].mean(0), alternative="greater")
    assert arousal["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert arousal["mean"] == pytest.approx((drop[[4, 6]].mean(0) - drop[[3, 1]].mean(0)).mean())
    assert rows["valence", 10]["mcnemar"] == {"b": 30, "c": 10, "p": mcnemar(30, 10)}
    by_emotion = {(r["attribute"], r["top"], r["emotion"]): r["drop"] for r in found["by_emotion"]}
    assert by_emotion["arousal", 10, "fear"] == pytest.approx(drop[2].mean()) and len(by_emotion) == 5 * 7
    assert any("recur over the seeds" in note for note in found["notes"])


def test_specific_harm_is_told_from_plain_harm():
    """One attribute's mask harms the emotions that it sets apart, the other's harms all alike."""
    weights = dict(zip(EMOTIONS, range(7), strict=True))
    plain = masked("arousal", shift=0.1)
    aimed = masked("valence", seed=1)
    aimed.masked[[5, 6]] -= 0.2
    rows = specificity([plain, aimed], EMOTIONS, {"arousal": weights, "valence": weights})["rows"]
    assert [row["drop"]["q"] < 0.01 for row in rows] == [True, True]
    assert rows[0]["specificity"]["q"] > 0.05 > 0.001 > rows[1]["specificity"]["q"]


def without(result, reason):
    assert all(row["specificity"] is None for row in result["rows"])
    assert any(reason in note for note in result["notes"]), result["notes"]


def test_what_is_missing_is_said():
    weights = {"valence": dict(zip(EMOTIONS, range(7), strict=True))}
    without(specificity([masked()], EMOTIONS, None), "came without distances")
    without(specificity([masked(emotions=2)], EMOTIONS[:2], weights), "2 rated emotions; thirds need 3")
    one = specificity([masked(seeds=1)], EMOTIONS, weights)
    without(one, "1 seed: no interval")
    assert one["rows"][0]["drop"]["q"] is None and one["rows"][0]["drop"]["mean"] is not None
    unrated = specificity([masked(emotions=5)], [*EMOTIONS[:4], "neutral"], weights)
    assert unrated["rows"][0]["specificity"]["top_third"] == ["pride"]
    assert any("do not rate them: neutral" in note for note in unrated["notes"])
    assert contrast(masked(emotions=3).drop, ["joy", "x", "y"], weights["valence"]) is None
