"""Controls matched by activity: pairs within the caliper, draws that differ, and what is said where no equal exists."""

import itertools

import pytest
import torch

from skn.errors import InputError
from skn.neurons.controls import matched_sets
from skn.neurons.matching import balance, levels, match_by_activity, refuse_unknown
from skn.neurons.selection import random_like
from skn.seeds import generator

LAYERS, WIDTH, CHOSEN, DRAWS = 3, 400, 40, 20
# Layers differ by more than the neurons within a layer, so a partner from another layer would be no match.
ACTIVITY = torch.randn(LAYERS, WIDTH, dtype=torch.float64, generator=generator(1)).exp() * torch.tensor(
    [[1.0], [30], [900]]
)


def key(draw, seed=0):
    return generator(seed, "control", CHOSEN, draw)


def loud_set(rank=slice(20, 20 + CHOSEN)):
    """Return neurons that are louder than most: by rank from the loudest of each layer."""
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    return chosen.scatter(1, ACTIVITY.argsort(dim=1, descending=True)[:, rank], True)


def ratios(chosen, partner):
    own = ACTIVITY[chosen]
    theirs = ACTIVITY.gather(1, partner.clamp(min=0))[chosen]
    return torch.maximum(own / theirs, theirs / own)


@pytest.fixture(scope="module")
def spread_set():
    """A set that leans to louder neurons and leaves equals of each outside."""
    weight = ACTIVITY / ACTIVITY.sum(dim=1, keepdim=True)
    picked = torch.stack([torch.multinomial(row.sqrt(), CHOSEN, generator=generator(2)) for row in weight])
    return torch.zeros(LAYERS, WIDTH, dtype=torch.bool).scatter(1, picked, True)


@pytest.fixture(scope="module")
def drawn(spread_set):
    return [match_by_activity(spread_set, ACTIVITY, key(draw)) for draw in range(DRAWS)]


def test_each_neuron_has_one_partner_of_its_layer_outside_the_set(spread_set, drawn):
    for partner in drawn:
        assert torch.equal(partner >= 0, spread_set)
        for layer in range(LAYERS):
            own = partner[layer, spread_set[layer]].tolist()
            assert len(set(own)) == CHOSEN and not spread_set[layer, own].any()


def test_partners_are_near_and_the_sets_are_balanced(spread_set, drawn):
    near = torch.stack([ratios(spread_set, partner) for partner in drawn])
    assert (near <= 1.1 + 1e-9).double().mean() > 0.75 and (near <= 1.25 + 1e-9).double().mean() > 0.9
    found = balance(spread_set, ACTIVITY, drawn)
    assert abs(found["difference"]) < 0.06 and found["missing"] == 0
    assert found["unequal"] == pytest.approx((near > 1.25).double().sum().item() / DRAWS)
    assert found["chosen"] == pytest.approx(ACTIVITY[spread_set].mean().item())
    controls = [ACTIVITY[one].mean() for one, _ in matched_sets(drawn, None)]
    assert found["controls"] == pytest.approx(torch.stack(controls).mean().item())
    # neurons drawn at random are no match for this set
    unmatched = levels(ACTIVITY)[random_like(spread_set, ~spread_set, key(0))]
    assert levels(ACTIVITY)[spread_set].mean() - unmatched.mean() > 0.3


def test_the_standardised_difference():
    """ln 2 in units of the standard deviation of the layer's logarithms, 0.5 ln 2."""
    activity = torch.tensor([[1.0, 2, 1, 2]], dtype=torch.float64)
    chosen, partner = torch.tensor([[False, True, False, False]]), torch.tensor([[-1, 0, -1, -1]])
    assert balance(chosen, activity, [partner]) == {
        "chosen": 2.0, "controls": 1.0, "difference": pytest.approx(2.0), "unequal": 1.0, "missing": 0
    }  # fmt: skip


def test_draws_differ_and_are_functions_of_their_key(spread_set, drawn):
    assert torch.equal(match_by_activity(spread_set, ACTIVITY, key(3)), drawn[3])
    sets = [one for one, _ in matched_sets(drawn, None)]
    for one, other in itertools.combinations(sets, 2):
        assert (one & other).sum() < 0.7 * one.sum()


def test_the_loudest_neurons_have_no_equals():
    chosen = loud_set(slice(0, CHOSEN))
    found = balance(chosen, ACTIVITY, [match_by_activity(chosen, ACTIVITY, key(draw)) for draw in range(5)])
    assert found["unequal"] > 0.7 * chosen.sum() and found["missing"] == 0 and found["difference"] > 0.5
    assert found["chosen"] > 1.5 * found["controls"]


def test_a_layer_with_too_few_other_neurons():
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    chosen[0, :250] = chosen[1, :10] = True
    partner = match_by_activity(chosen, ACTIVITY, key(0))
    assert (partner >= 0).sum(dim=1).tolist() == [150, 10, 0]
    assert balance(chosen, ACTIVITY, [partner])["missing"] == 100
    whole = torch.ones(LAYERS, WIDTH, dtype=torch.bool)
    nobody = match_by_activity(whole, ACTIVITY, key(0))
    assert list(matched_sets([nobody], None)) == []
    found = balance(whole, ACTIVITY, [nobody])
    assert (found["controls"], found["difference"]) == (None, None)
    assert found["unequal"] == found["missing"] == LAYERS * WIDTH


def test_silent_neurons_equal_silent_neurons_alone():
    activity = ACTIVITY.clone()
    activity[0, ::4] = 0
    activity[1, 0] = 0
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    chosen[0, 0:40:4] = chosen[1, 0] = True
    partner = match_by_activity(chosen, activity, key(0))
    assert (activity[0, partner[0, chosen[0]]] == 0).all()
    found = balance(chosen, activity, [partner])
    assert found["unequal"] == 1  # that of layer 1, whose only silent neuron it is
    assert found["difference"] == 0


def test_neurons_of_unknown_activity_are_nobodys_partner():
    activity = ACTIVITY.clone()
    activity[:, WIDTH // 2 :] = torch.nan
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    chosen[:, : WIDTH // 4] = True
    partner = match_by_activity(chosen, activity, key(0))
    assert partner.max() < WIDTH // 2 and (partner[chosen] >= WIDTH // 4).all()
    chosen[2, 300] = True
    with pytest.raises(InputError, match="the activity of neuron 2,300 is NaN"):
        refuse_unknown(chosen, activity)


def test_ties_are_random():
    chosen = torch.zeros(1, 100, dtype=torch.bool)
    chosen[0, :3] = True
    equal = torch.ones(1, 100, dtype=torch.float64)
    taken = torch.stack(
        [one for one, _ in matched_sets([match_by_activity(chosen, equal, key(d)) for d in range(60)], None)]
    )
    assert taken.any(dim=0).sum() > 60
    # eight equally far, of which the five nearest are picked from
    far = torch.tensor([[1.0, *[1.2] * 8]], dtype=torch.float64)
    first = {match_by_activity(torch.tensor([[True, *[False] * 8]]), far, key(d))[0, 0].item() for d in range(90)}
    assert first == set(range(1, 9))


def test_a_control_has_the_factor_of_the_neuron_that_it_stands_for(spread_set, drawn):
    factor = torch.rand(LAYERS, WIDTH, generator=generator(4)).where(spread_set, torch.ones(()))
    (one, given), *_ = matched_sets(drawn, factor)
    layer, neuron = spread_set.nonzero(as_tuple=True)
    assert torch.equal(given[layer, drawn[0][layer, neuron]], factor[layer, neuron])
    assert (given[~one] == 1).all()
