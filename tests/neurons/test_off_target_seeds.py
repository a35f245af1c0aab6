"""D over the seeds of a task: mean, interval and p by hand, what is joined, and what is not."""

from __future__ import annotations

import pytest
from scipy.stats import t as student

import skn
from skn.errors import InputError

ROW = {"fraction": 0.1, "neurons": 6, "accuracy": 0.7, "excess": 0.1, "interval": [0.05, 0.15], "draws": [0.8]}


def harm(seed, differences, task="sst2", **changes):
    """What ``skn mask --on`` wrote for a seed. ``differences``: the task of each other run, and its D or None."""
    names = [f"{name} {place}" for place, (name, _) in enumerate(differences)]
    runs = [{"run": task, "provenance": {"task": task, "tuned": f"{task}{seed}", "seed": seed}, "rows": [ROW]}]
    runs += [
        {"run": name, "provenance": {"task": other, "tuned": name}, "rows": [ROW]}
        for name, (other, _) in zip(names, differences, strict=True)
    ]
    tests = [
        {"run": name, "fraction": 0.1, "difference": value, "p": 0.5}
        for name, (_, value) in zip(names, differences, strict=True)
        if value is not None
    ]
    how = {"kind": "zero", "alpha": None, "controls": 1, "match": "layer", "layers": [0, 6], "split": "test"}
    return {**how, "dtype": "float32", "runs": runs, "tests": tests, **changes}


def test_mean_interval_and_p_are_those_of_student():
    (row,) = skn.off_target_over_seeds([harm(seed, [("trec", d)]) for seed, d in enumerate((0.1, 0.3, 0.5))])
    assert (row["task"], row["other task"], row["mask"], row["masked"]) == ("sst2", "trec", "zero, test", "0.1")
    error = 0.2 / 3**0.5
    half = student.ppf(0.975, 2) * error
    assert row["seeds"] == 3 and row["D"] == pytest.approx(0.3)
    assert row["95% over seeds"] == pytest.approx([0.3 - half, 0.3 + half])
    assert row["p over seeds"] == pytest.approx(2 * student.sf(0.3 / error, 2))
    assert (row["p over seeds"] < 0.05) == (row["95% over seeds"][0] > 0)


def test_runs_of_one_other_task_count_once_and_the_own_task_never():
    first = harm(0, [("trec", 0.2), ("trec", 0.4), ("sst2", 0.9)])
    (row,) = skn.off_target_over_seeds([first, harm(1, [("trec", 0.1)])])
    assert row["seeds"] == 2 and row["D"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "harms",
    [
        [],
        [harm(0, [("trec", 0.2)])],
        [harm(0, [("trec", 0.2)]), harm(1, [("trec", 0.2)], kind="mean")],
        [harm(0, [("trec", 0.2)]), harm(1, [("trec", None)])],
        [harm(0, [("trec", 0.2)]), harm(0, [("sst2", 0.2)], task="trec")],
    ],
)
def test_what_cannot_be_joined_is_said(harms):
    with pytest.raises(InputError, match="no two seeds of a task with one mask and one other task; give the results"):
        skn.off_target_over_seeds(harms)


def test_equal_differences_have_no_p():
    (row,) = skn.off_target_over_seeds([harm(0, [("trec", 0.2)]), harm(1, [("trec", 0.2)])])
    assert row["D"] == pytest.approx(0.2) and row["p over seeds"] is None


def test_a_result_that_is_given_twice_is_refused():
    with pytest.raises(InputError, match="two results of one run of sst2 with one mask; give each once"):
        skn.off_target_over_seeds([harm(0, [("trec", 0.2)])] * 2)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "off-target-zero.json").write_text("{}")
    with pytest.raises(InputError, match="off-target-zero.json"):
        skn.off_target_over_seeds([tmp_path / "off-target-zero.json"])
