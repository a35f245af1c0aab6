"""Masking the units of one plant harms its task and not the other's; intervals, D and p are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from two_skills import planted_runs, units

import skn
from skn.errors import InputError
from skn.neurons.excess_drop import Harmed, excess_drop, on_less_off
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.off_target_table import judged

TASKS = ("first", "second")


@pytest.fixture(scope="module")
def runs():
    return planted_runs()


@pytest.fixture(scope="module")
def harms(runs):
    """The units of each plant, masked in both tasks."""

    def harm(own):
        other = next(name for name in TASKS if name != own)
        chosen = NeuronSets(selected=units(own), provenance=runs[own].provenance)
        return skn.off_target(runs[own], [runs[other]], chosen, controls=30, match="overall", seed=2)

    return {name: harm(name) for name in TASKS}


def test_the_units_of_a_task_harm_this_task_alone(harms):
    matrix = np.array([[harms[own].matrix().records()[0][task] for task in TASKS] for own in TASKS])
    assert np.all(np.diag(matrix) > 0.35) and np.all(np.abs(matrix[[0, 1], [1, 0]]) < 0.1)


@pytest.mark.parametrize("own", TASKS)
def test_the_test_finds_it(harms, own):
    (test,) = harms[own].tests
    assert test["run"] != own and test["difference"] > 0.7 and test["p"] == 1 / 31
    assert [run["run"] for run in harms[own].runs][0] == own and harms[own].runs[0]["accuracy"] == 1.0


def test_a_set_that_harms_the_other_task_alone_has_a_p_near_one(runs):
    theirs = NeuronSets(selected=units("second"), provenance=runs["first"].provenance)
    harm = skn.off_target(runs["first"], [runs["second"]], theirs, controls=9, match="overall")
    assert harm.tests[0]["difference"] < -0.7 and harm.tests[0]["p"] == 1.0


def test_the_random_sets_are_the_same_in_every_run_and_those_of_skn_mask(runs):
    selected = units("first")
    selected[:, :20] = True  # so many that a random set may hold all units of the plant
    chosen = NeuronSets(selected=selected, provenance=runs["first"].provenance)
    how = {"controls": 8, "seed": 2}
    twin = replace(runs["first"], provenance={**runs["first"].provenance, "task": "twin"})
    harm = skn.off_target(runs["first"], [twin], chosen, **how)
    draws = [run["rows"][0]["draws"] for run in harm.runs]
    row = skn.mask(runs["first"], chosen, **how).rows[0]
    assert draws[0] == draws[1] == row["controls"]["accuracy"]["draws"] and len(set(draws[0])) > 1
    assert harm.runs[0]["rows"][0]["accuracy"] == row["accuracy"]
    assert harm.tests[0]["difference"] == 0


def test_an_excess_drop_and_its_interval_by_hand():
    """Four examples, two draws: differences 1, 1/2, 0, −1, and then −1 and 1 of Bonett and Price."""
    right = np.array([False, False, True, True])
    random = np.array([[True, True, True, False], [True, False, True, False]])
    excess, (low, high) = excess_drop(right, random)
    values = np.array([1, 0.5, 0, -1, -1, 1])
    half = 1.959964 * values.std() / 6**0.5
    assert excess == pytest.approx(0.125)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_p_is_a_rank_and_ties_count():
    on, off = Harmed(0.6, [0.9, 0.8, 0.6, 0.7], 0.4), Harmed(0.7, [0.7, 0.7, 0.7, 0.7], 0.2)
    difference, p = on_less_off(on, off)
    assert difference == pytest.approx((0.75 - 0.6) / 0.4) and p == pytest.approx(2 / 5)
    worse = Harmed(0.6, [0.7, 0.7, 0.7, 0.7], 0.2)
    assert on_less_off(on, worse)[0] == pytest.approx(0.15 / 0.4 - 0.1 / 0.2)


def test_a_model_that_only_guesses_has_no_d(harms):
    own, other = harms["first"].runs
    guessing = {**other, "accuracy": 0.5, "interval": [0.4, 0.6], "majority": 0.5}
    found = judged([own, guessing])
    assert found["tests"] == [] and "second" in found["notes"][-1] and "no D" in found["notes"][-1]
    assert judged([{**own, "accuracy": 0.45, "interval": [0.3, 0.6]}, other])["tests"] == []
    barely = {**other, "accuracy": 0.55, "interval": [0.45, 0.65]}
    assert "small and uncertain" in judged([own, barely])["notes"][-1]


@pytest.mark.parametrize(
    "change,message",
    [
        ({}, "is the same run as"),
        ({"task": "t", "backbone_digest": "q"}, "another backbone"),
        ({"task": "t", "dtype": "int8"}, "int8"),
        ({"task": "t", "dtype": "bfloat16"}, "open both in one dtype"),
    ],
)
def test_unfit_runs_are_refused(runs, change, message):
    run = runs["first"]
    chosen = NeuronSets(selected=units("first"), provenance=run.provenance)
    with pytest.raises(InputError, match=message):
        skn.off_target(run, [replace(run, provenance={**run.provenance, **change})], chosen)


@pytest.mark.parametrize(
    "named,message", [({"controls": 0}, "draw 1 or more"), ({"layers": range(0, 1)}, "no neuron of layers 0:1")]
)
def test_nothing_to_compare_with_is_refused(runs, named, message):
    chosen = NeuronSets(selected=units("first"), provenance=runs["first"].provenance)
    with pytest.raises(InputError, match=message):
        skn.off_target(runs["first"], [runs["second"]], chosen, **named)
    with pytest.raises(InputError, match="a list of one or more"):
        skn.off_target(runs["first"], [], chosen)


def test_a_cut_without_a_neuron_is_refused(runs):
    rank = torch.arange(24).repeat(3, 1)
    ranking = NeuronSets(rank=rank, provenance=runs["first"].provenance)
    with pytest.raises(InputError, match="fraction=0.01: no neuron of layers 0:3"):
        skn.off_target(runs["first"], [runs["second"]], ranking, fractions=[0.1, 0.01])
    with pytest.raises(
        InputError, match="fraction=0.01: no neuron of layers 0:3; give a larger share, or 0 for no mask"
    ):
        skn.mask(runs["first"], ranking, fractions=[0, 0.1, 0.01])
