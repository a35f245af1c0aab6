"""Permutation tests: against a plain loop, on planted neurons, and on labels that mean nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from planted import chosen_units, planted_model, planted_split

from skn.errors import InputError
from skn.inference.readouts import PROMPT
from skn.neurons.bits import Bits, masks_of
from skn.neurons.probing import probe_hits, probe_moments
from skn.neurons.selection import Contrast, default_contrasts
from skn.neurons.significance import LEVEL, permutation_tests
from skn.seeds import generator


def bits_of(on: torch.Tensor, label: torch.Tensor, classes: int = 2) -> Bits:
    """From [N, L, P, F] bool."""
    packed = torch.from_numpy(np.packbits(on.numpy(), axis=-1, bitorder="little"))
    return Bits(packed, label, torch.arange(len(label)), on.shape[-1], classes)


def random_bits(examples, shape, classes, seed, share=0.5):
    drawn = torch.Generator().manual_seed(seed)
    return torch.rand(examples, *shape, generator=drawn) < share, torch.arange(examples) % classes


def relabelled(label: torch.Tensor, permutations: int) -> list[torch.Tensor]:
    drawn = generator(0, "relabelling")
    return [label, *(label[torch.randperm(len(label), generator=drawn)] for _ in range(permutations))]


def plain_statistics(on, label, contrasts):
    """[L, F] of standardised differences and of predictivities: a loop over positions and contrasts in float64."""
    count, (_, layers, positions, neurons) = len(label), on.shape
    z, accuracy = np.zeros((layers, neurons)), np.full((layers, neurons), 0.5)
    for contrast, p in itertools.product(contrasts, range(positions)):
        positive, negative = (torch.isin(label, torch.tensor(side)) for side in (contrast.positive, contrast.negative))
        rates = [on[side, :, p].double().mean(dim=0).numpy() for side in (positive, negative)]
        difference = np.abs(rates[0] - rates[1])
        share = on[:, :, p].double().mean(dim=0).numpy()
        spread = share * (1 - share) * count / (count - 1) * (1 / int(positive.sum()) + 1 / int(negative.sum()))
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.maximum(z, np.where(spread > 0, difference / np.sqrt(spread), 0))
        accuracy = np.maximum(accuracy, 0.5 + difference / 2)
    return z, accuracy


@pytest.mark.parametrize("aggregate", ["mean", "min"])
@pytest.mark.parametrize(
    ("classes", "contrasts"),
    [
        (2, None),
        (3, None),
        (5, [Contrast((1,), (0,)), Contrast((2, 3), (4,)), Contrast((0,), None)]),  # classes are left out
    ],
)
def test_is_a_plain_loop(classes, contrasts, aggregate):
    examples, m = 97, 40
    label = random_bits(examples, (1, 1, 1), classes, 0)[1]
    ons = [random_bits(examples, (2, 3, 11), classes, seed, share=0.4)[0] for seed in range(2)]
    ons[0][:, 0, :, 0] = ons[1][:, 0, :, 0] = False  # constant columns
    ons[0][:, 1, 0, 5] = ons[1][:, 1, 2, 5] = label == 1
    found = permutation_tests(
        [bits_of(on, label, classes) for on in ons], torch.ones(2, 11, dtype=torch.bool), m, contrasts, aggregate
    )
    named = [c.among(classes) for c in contrasts or default_contrasts(classes)]
    join = (lambda values: np.mean(values, axis=0)) if aggregate == "mean" else (lambda values: np.min(values, axis=0))
    z, accuracy = [], []
    for labelled in relabelled(label, m):
        both = [plain_statistics(on, labelled, named) for on in ons]
        z.append(join([one[0] for one in both]))
        accuracy.append(join([one[1] for one in both]))
    z = np.round(np.stack(z), 9)  # equal counts are equal but for rounding
    np.testing.assert_array_equal(found.p.numpy(), (1 + (z[1:] >= z[0]).sum(axis=0)) / (1 + m))
    family = (1 + (z[1:].max(axis=(1, 2))[:, None, None] >= z[0]).sum(axis=0)) / (1 + m)
    np.testing.assert_array_equal(found.p_family.numpy(), family)
    np.testing.assert_allclose(found.chance.numpy(), np.stack(accuracy)[1:].max(axis=(1, 2)), rtol=1e-12)
    assert found.p[0, 0] == found.p_family[0, 0] == 1 and found.p[1, 5] == 1 / (1 + m)


def test_the_family_are_the_neurons_that_are_tested():
    on, label = random_bits(150, (2, 1, 40), 2, 7)
    on[:30, 1, 0, 4] = label[:30] == 1  # a little better than chance
    present, among = torch.ones(2, 40, dtype=torch.bool), torch.zeros(2, 40, dtype=torch.bool)
    present[0, 3] = False
    among[1, 4] = among[0, 3] = True
    every, one = (
        permutation_tests(bits_of(on, label), present),
        permutation_tests(bits_of(on, label), present, among=among),
    )
    assert every.p.isnan().sum() == 1 and every.p[0, 3].isnan() and one.tested == 1
    assert one.p_family[1, 4] == one.p[1, 4] == every.p[1, 4] < every.p_family[1, 4]
    assert every.chance.mean() > one.chance.mean()


def test_labels_that_mean_nothing_are_seldom_found():
    """At 0.05, a family-wise test may find something in 5 of 100 data sets; more than 11 has a probability of 0.4%."""
    present, wrong = torch.ones(2, 60, dtype=torch.bool), 0
    for seed in range(100):
        on, label = random_bits(80, (2, 2, 60), 2, 1000 + seed)
        wrong += bool((permutation_tests(bits_of(on, label), present, 99).p_family <= LEVEL).any())
    assert 0 < wrong <= 11


def test_planted_neurons_are_found_and_confirmed_on_test():
    model = planted_model()
    moments, _ = probe_moments(model, planted_split(200, 1), 300, [PROMPT], "train")
    present, found = torch.ones_like(chosen_units()), None
    for seed in (2, 3):
        chosen = found and found.beyond_chance
        encoded = planted_split(200, seed)
        encoded.label[::7] = 1 - encoded.label[::7]  # noise
        hits, packed, _ = probe_hits(
            model, encoded, 300, {PROMPT: moments[PROMPT].threshold()}, "held out", with_bits=True
        )
        bits = Bits(packed[PROMPT], encoded.label, torch.arange(200), present.shape[1], 2)
        found = permutation_tests(bits, present, 199, chosen=chosen)
        assert (found.p_family[chosen_units()] <= LEVEL).all()
    assert (found.p_chosen[chosen_units()] <= LEVEL).all() and found.p_chosen[~chosen].isnan().all()
    assert found.confirmed >= 4
    unpacked = np.unpackbits(packed[PROMPT].numpy(), axis=-1, count=present.shape[1], bitorder="little")
    for c in (0, 1):
        assert np.array_equal(unpacked[encoded.label.numpy() == c].sum(axis=0), hits[PROMPT].hits[c])


def test_words_of_more_examples_than_are_made_at_once():
    on, label = random_bits(1100, (2, 2, 9), 2, 3)
    words = bits_of(on, label).words(1)
    assert words.shape == (18, 2, 9)
    assert torch.equal(words, masks_of(on[:, 1].permute(1, 2, 0)).permute(2, 0, 1))
    assert torch.equal(words[17] >> 11 & 1, on[1099, 1].long()) and not (words[17] >> 12).any()


def test_other_examples_are_refused():
    on, label = random_bits(50, (1, 1, 5), 2, 3)
    one = bits_of(on, label)
    other = Bits(one.packed, label, torch.arange(1, 51), 5, 2)
    present = torch.ones(1, 5, dtype=torch.bool)
    with pytest.raises(InputError, match="the runs have other examples"):
        permutation_tests([one, other], present)
    assert permutation_tests(bits_of(on, label * 0), present) is None  # one class alone
