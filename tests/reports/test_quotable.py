"""The sentences under the card of a run's report: each only with its file, and what is missing with its command."""

import os
import re

import pytest
from filled_run import (
    CHOSEN,
    add_evaluation,
    add_hits,
    add_mask,
    add_neurons,
    add_off_target,
    add_significance,
    mask_control,
    mask_table,
    stability,
    two_matches,
)
from pages import Page
from spoiled import edit, rewrite

from skn.reports.read_run import report

CHANCE = "by chance the best of 40 reaches 0.700 on test (95%: 0.605 to 0.795)."
NEWER = 2 * 10**9  # seconds; no file is newer


def paragraph(run, name="quotable"):
    found = re.search(rf'<p id="{name}">(.*?)</p>', report(run.path).read_text(), re.DOTALL)
    return found and Page(found[1]).text


def test_a_bare_run_has_no_sentence_and_says_what_is_missing(bare):
    assert paragraph(bare) is None
    missing = paragraph(bare, "missing")
    assert missing.startswith("Not measured here: permutation tests at the read-out prompt ('skn probe'); ")
    assert "('skn mask');" in missing and missing.endswith("('skn mask --on RUN').")


def test_a_probe_without_permutation_tests_is_made_again(bare):
    add_hits(bare)
    assert "('skn probe --overwrite')" in paragraph(bare, "missing")


def test_how_many_neurons_are_beyond_chance(bare):
    add_significance(bare, "validation")
    said = "3 of 40 neurons predict the label beyond chance on validation"
    assert paragraph(bare) == (
        f"{said} (family-wise p ≤ 0.05, 99 relabellings); test has no such tests, and a claim needs them."
    )
    add_significance(bare, "test")
    assert paragraph(bare) == f"{said}, and 2 of these 3 on test (family-wise p ≤ 0.05, 99 relabellings); {CHANCE}"
    assert "permutation tests" not in paragraph(bare, "missing")


def test_no_neuron_is_beyond_chance(bare):
    for split in ("validation", "test"):
        add_significance(bare, split)
        rewrite(bare.file("significance", split), lambda t: t["p_family"].fill_(1))
    rewrite(bare.file("significance", "test"), lambda t: t["p_chosen"].fill_(float("nan")))
    said = "none of 40 neurons predicts the label beyond chance on validation (family-wise p ≤ 0.05, 99 relabellings)"
    assert paragraph(bare) == f"{said}; {CHANCE.replace('on test', 'on validation')}"


def test_tests_at_another_read_out_are_no_claim_of_the_run(bare):
    add_significance(bare, "validation", readout="mean")
    assert paragraph(bare) is None and "at the read-out prompt" in paragraph(bare, "missing")
    assert "mean validation 40 3 –" in Page(report(bare.path).read_text()).text


# ---- masks ---------------------------------------------------------------------------------------------------


def test_what_masking_costs_beside_random_neurons(bare):
    table = two_matches(kind="mean")
    control = table["rows"][-1]["controls_by_match"]["overall"]["accuracy"]
    control.update(mean_low=0.79, mean_high=0.81)
    table["rows"][-1]["interval"] = [0.57, 0.801]
    add_mask(bare, **table, neurons={"name": "neurons", "digest": "d", "task": "toy"})
    assert paragraph(bare) == (
        "With a mask (mean) on 12 neurons (20% of each layer, layers 1 to 2, chosen for toy) the accuracy on test drops by "
        "20.0 points, from 90.0% to 70.0% (95%: 57.0% to 80.1%). "
        "With random neurons, as many in each layer, it drops by 5.0 points on average, to 85.0%; 70.0% lies below the "
        "central 95% of the 2 random sets (84.0% to 86.0%), rank p = 0.333. "
        "With random neurons, as many in all, it drops by 10.0 points on average, to 80.0% (95%: 79.0% to 81.0%); 70.0% lies "
        "below the central 95% of the 2 random sets (79.0% to 81.0%), rank p = 0.333."
    )
    assert "equal activity ('skn mask --kind mean --match layer,activity --overwrite')" in paragraph(bare, "missing")


@pytest.mark.parametrize(("accuracy", "where"), [(0.85, "within"), (0.92, "above")])
def test_a_masked_accuracy_that_random_sets_reach(bare, accuracy, where):
    rows = mask_table()["rows"]
    rows[-1]["accuracy"] = accuracy
    add_mask(bare, rows=rows)
    assert f"{accuracy:.1%} lies {where} the central 95%" in paragraph(bare)
    assert ("rises by 2.0 points" in paragraph(bare)) == (where == "above")


def test_the_unmasked_accuracy_is_of_an_evaluation_or_is_not_told(bare):
    rows = mask_table()["rows"][1:]
    add_mask(bare, rows=rows)
    said = paragraph(bare)
    assert "the accuracy on test is 70.0%. With random neurons, as many in each layer, it is 85.0% on average;" in said
    add_evaluation(bare)
    edit(bare.path / "evaluate-test.json", lambda found: found["models"][0].update(accuracy=0.95))
    assert "drops by 25.0 points, from 95.0% to 70.0%" in paragraph(bare)
    edit(bare.path / "evaluate-test.json", lambda found: found.update(dtype="bfloat16"))
    assert paragraph(bare) == said


def test_page_and_paragraph_speak_of_one_mask_whatever_was_written_last(bare):
    """Split, random sets, size and kind choose it. A copy of the run has other times, and the same page."""
    alike = mask_control(0.8)
    for name, split, controls in (
        ("mask-zero", "test", None), ("mask-mean", "test", alike), ("mask-gaussian", "test", alike), ("mask-scale", "validation", alike),
    ):  # fmt: skip
        rows = mask_table()["rows"]
        rows[-1]["controls"] = controls and {"accuracy": controls, "auc": controls}
        rows[-1]["accuracy"] = 0.5 if name == "mask-mean" else 0.7
        add_mask(bare, name, kind=name[5:], split=split, rows=rows)
    for late in ("mask-zero", "mask-gaussian"):
        os.utime(bare.path / f"{late}.json", (NEWER, NEWER))
        page = Page(report(bare.path).read_text()).text
        assert "With a mask (mean)" in page and "-30.0 points" in page and "masked (mean)" in page
        assert "Masks of other kinds were measured, too (gaussian, scale, zero): see 'Masks'." in paragraph(bare)
    for name in ("mask-zero", "mask-mean", "mask-gaussian"):
        (bare.path / f"{name}.json").unlink()
    assert "a mask (scale)" in paragraph(bare) and "accuracy on validation drops" in paragraph(bare)


def test_controls_of_equal_activity_beside_any_mask_are_not_missing(bare):
    table = mask_table(match="activity")
    table["rows"][-1]["controls_by_match"] = {"activity": table["rows"][-1]["controls"]}
    add_mask(bare, "mask-mean", **{**table, "kind": "mean"})
    add_mask(bare)
    assert "a mask (zero)" in paragraph(bare) and "equal activity" not in paragraph(bare, "missing")


@pytest.mark.parametrize(
    ("difference", "unequal", "said"),
    [(0.02, 1, "These controls are as active as the set (1 of 12 neurons have no control within a factor of 1.25, "
               "standardised difference +0.020)."),
     (0.3, 1, "These controls are only in part as active as the set"),
     (0.02, 5.5, "only in part as active as the set (5.5 of 12"),
     (2.0, 12, "The set has no equals in activity: 12 of 12 neurons have no control within a factor of 1.25"),
     (None, 12, "The set has no equals in activity")],
)  # fmt: skip
def test_how_equal_the_controls_of_equal_activity_are(bare, difference, unequal, said):
    table = mask_table(match="activity")
    alike = {"chosen": 1.0, "controls": 0.9, "difference": difference, "unequal": unequal, "missing": 0}
    table["rows"][-1] |= {"balance": alike, "controls_by_match": {"activity": table["rows"][-1]["controls"]}}
    add_mask(bare, **table)
    assert "With random neurons, of equal activity, it drops" in paragraph(bare) and said in paragraph(bare)
    assert "random masks" not in paragraph(bare, "missing")


def test_a_mask_without_random_sets(bare):
    rows = [{**row, "controls": None} for row in mask_table()["rows"]]
    add_mask(bare, rows=rows)
    assert "random" not in paragraph(bare)
    assert "random masks to compare with ('skn mask --controls 20 --overwrite')" in paragraph(bare, "missing")
    edit(bare.path / "mask-zero.json", lambda mask: mask.update(rows=[]))  # interrupted before its first set
    assert paragraph(bare) is None and "what masking the neurons costs ('skn mask');" in paragraph(bare, "missing")


# ---- other tasks ---------------------------------------------------------------------------------------------


def test_what_the_mask_costs_other_tasks(bare):
    add_off_target(bare)
    assert paragraph(bare) == (
        "Beyond the mean of 2 random masks of its size, a mask (zero) on 20% of each layer, chosen for own, costs on test: "
        "own +15.0 points (95%: +10.0 to +20.0); imdb -1.0 points (95%: -6.0 to +4.0), D = +0.400, p = 0.333; "
        "mnli +3.0 points (95%: -2.0 to +8.0), no D. "
        "D is the difference of the two costs, each as a share of what its run can lose; p is a rank among these masks and is not corrected for the number of runs."
    )
    assert "--on" not in paragraph(bare, "missing")


def test_a_full_run_has_all_sentences_and_nothing_is_missing(full):
    table = mask_table(match="activity")
    table["rows"][-1]["controls_by_match"] = {"activity": {"accuracy": mask_control(0.8), "auc": mask_control(0.8)}}
    table["rows"][-1]["controls"] = table["rows"][-1]["controls_by_match"]["activity"]
    add_mask(full, **table)
    add_off_target(full)
    assert "how stable the best neurons are ('skn select --bootstrap 1000 --overwrite')" in paragraph(full, "missing")
    add_neurons(full, stability=stability())
    first_words = (f"{len(CHOSEN)} of 40", "2 of the 3 neurons in the best 5%", "With a mask", "Beyond the mean")
    places = [paragraph(full).index(words) for words in first_words]
    assert places == sorted(places)
    assert paragraph(full, "missing") is None
