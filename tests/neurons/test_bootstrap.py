"""Bootstraps of the examples: against a plain loop over resampled rows, on planted neurons, and on labels that mean nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

import skn
from skn.neurons.bits import Bits
from skn.neurons.bootstrap import RELABELLINGS
from skn.neurons.draws import at_random, bootstraps, relabelled
from skn.neurons.probed import Probe
from skn.neurons.probing import Hits
from skn.neurons.selection import Contrast

PLACE = "validation", "prompt"


def probe_of(on, label, classes=2, seed=0, present=None, row=None):
    """A probe with these bits [N, L, P, F] bool and the hits that they give."""
    hits = torch.stack([on[label == c].sum(dim=0) for c in range(classes)])
    count = torch.bincount(label, minlength=classes)
    packed = torch.from_numpy(np.packbits(on.numpy(), axis=-1, bitorder="little"))
    rows = torch.arange(len(label)) if row is None else row
    present = torch.ones(on.shape[1], on.shape[3], dtype=torch.bool) if present is None else present
    return Probe(
        {},
        {PLACE: Hits(count, hits, torch.zeros(on.shape[1:], dtype=torch.float64), None)},
        present,
        provenance={"task": "t", "seed": seed, "tuned": str(seed)},
        confusion={},
        bits={PLACE: Bits(packed, label, rows, on.shape[-1], classes)},
    )


def noise(examples, shape, seed, classes=2):
    drawn = torch.Generator().manual_seed(seed)
    return torch.rand(examples, *shape, generator=drawn) < 0.5, torch.arange(examples) % classes


def shuffled(probe, order):
    """The probe whose neuron i is neuron ``order[i]``."""
    return replace(
        probe,
        present=probe.present[:, order],
        hits={k: replace(h, hits=h.hits[..., order], threshold=h.threshold[..., order]) for k, h in probe.hits.items()},
    )


def cut_of(probes, fraction, order, **how):
    """[L, F] bool: the cut of ``skn.rank``, with equal neurons in ``order``."""
    cut = skn.rank([shuffled(probe, order) for probe in probes], permutations=0, **how).cut(fraction)
    return cut[:, order.argsort()]


def jaccard(one, other):
    return (int((one & other).sum()) / int((one | other).sum())) if (one | other).any() else float("nan")


@pytest.mark.parametrize(
    ("classes", "how"),
    [
        (2, {}),
        (2, {"aggregate": "min", "by": "plain"}),
        (3, {"aggregate": "min"}),
        (4, {"contrasts": [Contrast((1,), (0,)), Contrast((2,), None)]}),  # one contrast leaves classes out
    ],
)
def test_is_a_plain_loop_over_resampled_rows(classes, how, monkeypatch):
    monkeypatch.setattr("skn.neurons.draws._BYTES", 40_000)  # a few neurons at once
    monkeypatch.setattr("skn.neurons.bootstrap._TOGETHER", 4)
    examples, shape, count, fraction = 61, (2, 3, 21), 9, 0.2
    present = torch.ones(2, 21, dtype=torch.bool)
    present[1, 3] = False
    ons = [noise(examples, shape, seed)[0] for seed in range(3)]
    label = torch.arange(examples) % classes
    for on in ons:
        on[:40, :, 1, 5] = (label == 1)[:40, None]
        on[:, 1, :, 3] = on[:, 0, :, 9] = (label == 1)[
            :, None
        ]  # an absent neuron, and one without a threshold in a run
    probes = [probe_of(on, label, classes, seed, present) for seed, on in enumerate(ons)]
    probes[2].hits[PLACE].threshold[0, 1, 9] = torch.nan
    made = skn.rank(probes, bootstrap=count, bootstrap_fraction=fraction, permutations=0, **how)

    def resampled(chosen, labels):
        again = [probe_of(on[chosen], labels[chosen], classes, seed, present) for seed, on in enumerate(ons)]
        again[2].hits[PLACE].threshold[0, 1, 9] = torch.nan
        return again

    found, whole = made.stability, made.cut(fraction)
    assert torch.equal(found.top, whole)
    draws = bootstraps(label, range(count))
    sets = [
        cut_of(resampled(torch.arange(examples).repeat_interleave(weight.long()), label), fraction, order[0], **how)
        for weight, order in zip(draws.weight, (at_random(21, "draw", i) for i in range(count)), strict=True)
    ]
    np.testing.assert_allclose(found.bootstraps.index, [jaccard(whole, one) for one in sets])
    share = torch.stack(sets).double().mean(dim=0)
    np.testing.assert_allclose(found.in_top[present], share[present])
    assert found.in_top[~present].isnan().all()

    plain, moved = relabelled(label, RELABELLINGS)
    in_order, everything, runs = (
        torch.arange(21),
        torch.arange(examples),
        [at_random(21, "run", i)[0] for i in range(3)],
    )
    permuted, of_runs = [], []
    for r, labels in enumerate(plain.label):
        probes_here = resampled(everything, labels)
        own = [cut_of([probe], fraction, order, **how) for probe, order in zip(probes_here, runs, strict=True)]
        of_runs.append([jaccard(*both) for both in combinations(own, 2)])
        if r:
            again = resampled(everything.repeat_interleave(moved.weight[r - 1].long()), labels)
            bootstrapped = cut_of(again, fraction, at_random(21, "labels", r - 1)[0], **how)
            permuted.append(jaccard(cut_of(probes_here, fraction, in_order, **how), bootstrapped))
    np.testing.assert_allclose(found.bootstraps.permuted, permuted)
    np.testing.assert_allclose(found.runs.index, of_runs[0])
    np.testing.assert_allclose(found.runs.permuted, np.mean(of_runs[1:], axis=1))


def test_each_class_keeps_its_number_of_examples():
    label = torch.tensor([0] * 3 + [2] * 40 + [1] * 17)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    draws = bootstraps(label, range(50))
    plain, moved = relabelled(label, 20)
    assert torch.equal(plain.label[0], label) and (plain.weight == 1).all()
    for weight, labels in [*((w, label) for w in draws.weight), *zip(moved.weight, moved.label, strict=True)]:
        assert [weight[labels == c].sum().item() for c in range(3)] == [3, 17, 40]
    assert len(draws.weight.unique(dim=0)) == 50 and len(moved.label.unique(dim=0)) == 20
    assert torch.equal(bootstraps(label, range(7, 9)).weight, draws.weight[7:9])
    mean = bootstraps(label, range(2000)).weight.mean(dim=0)
    assert (mean - 1).abs().max() < 0.12, "every example is drawn once on average"


def test_planted_neurons_stay_and_noise_does_not():
    on, label = noise(300, (2, 2, 100), 0)
    on[:270, 1, 0, 7] = on[:270, 0, 1, 30] = (label == 1)[:270]
    found = skn.rank(probe_of(on, label), bootstrap=200, permutations=0).stability
    assert found.in_top[1, 7] == found.in_top[0, 30] == 1
    others = torch.ones(2, 100, dtype=torch.bool)
    others[1, 7] = others[0, 30] = False
    assert found.in_top[others].mean() == pytest.approx(8 / 198) and found.in_top[others].max() < 0.95
    assert found.in_top.sum(dim=1).tolist() == pytest.approx([5, 5]), "every set has 5 of each layer"
    assert found.claim.startswith("2 of the 10 neurons in the best 5% of each layer are there in at least 95% of 200")


def test_on_noise_bootstraps_agree_as_under_permuted_labels_and_not_as_random_sets():
    """A bootstrap shares examples with the split that chose, so that even noise seems to stay."""
    found = [
        skn.rank(
            [probe_of(*noise(200, (2, 1, 400), 10 * seed + run), seed=run) for run in range(3)],
            bootstrap=20, permutations=0,
        ).stability
        for seed in range(5)
    ]  # fmt: skip
    index, permuted = (
        np.mean([getattr(one.bootstraps, name).mean() for one in found]) for name in ("index", "permuted")
    )
    random = found[0].bootstraps.random
    assert random == pytest.approx(0.026, abs=0.002)
    assert index == pytest.approx(permuted, rel=0.1) and index > 5 * random
    runs = np.mean([one.runs.index.mean() for one in found])
    assert runs == pytest.approx(random, abs=0.015), "runs that share nothing"


def test_equal_neurons_do_not_seem_to_stay():
    """All neurons of a layer are one neuron: none is better than another."""
    on, label = noise(100, (1, 1, 1), 0)
    found = skn.rank(
        [probe_of(on.expand(-1, 1, 1, 64).clone(), label, seed=s) for s in (0, 1)],
        bootstrap=400, bootstrap_fraction=0.25, permutations=0,
    ).stability  # fmt: skip
    assert found.bootstraps.index.mean() == pytest.approx(found.bootstraps.random, abs=0.01)
    assert (found.in_top - 0.25).abs().max() < 0.1
    assert found.runs.index[0] < 0.5


def test_random_sets_have_the_index_of_a_simulation():
    from skn.neurons.chance import jaccard_by_chance

    layers, drawn = [(12, 4, 3), (9, 2, 2), (5, 0, 1)], np.random.default_rng(0)
    values = []
    for _ in range(20000):
        shared = sum(drawn.hypergeometric(a, n - a, b) for n, a, b in layers if b)
        values.append(shared / (12 - shared))
    assert jaccard_by_chance(layers) == pytest.approx(np.mean(values), rel=0.02)
    assert jaccard_by_chance([(7, 7, 7)]) == 1


REFUSED = {
    "one": ({"bootstrap": 1}, "bootstrap=1: expected a whole number, 2 or more"),
    "half": ({"bootstrap": 2.5}, "bootstrap=2.5: expected a whole number"),
    "fraction": ({"bootstrap": 9, "bootstrap_fraction": 1.5}, "bootstrap_fraction=1.5: expected a share above 0"),
    "empty": ({"bootstrap": 9, "bootstrap_fraction": 0.001}, "bootstrap_fraction=0.001: no neuron of any layer"),
    "areas": ({"bootstrap": 9, "by": "auroc"}, 'bootstrap= and by="auroc" exclude each other'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_means_nothing_is_refused(name):
    options, said = REFUSED[name]
    with pytest.raises(skn.InputError) as refusal:
        skn.rank(probe_of(*noise(40, (1, 1, 20), 0)), permutations=0, **options)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_cannot_be_resampled_is_refused():
    on, label = noise(40, (1, 1, 20), 0)
    probe, other = probe_of(on, label), probe_of(on, label, seed=1, row=torch.arange(40) + 1)
    for arguments, said in [
        ((replace(probe, bits={}),), "the probe kept no bits of validation, and bootstrap= needs them"),
        (([probe, other],), "has other examples of validation than the probe; bootstrap= draws the same"),
        ((probe, [other]), "bootstrap= and with_= exclude each other"),
    ]:
        with pytest.raises(skn.InputError) as refusal:
            skn.rank(*arguments, bootstrap=9, permutations=0)
        assert said in str(refusal.value) and "\n" not in str(refusal.value)
    assert skn.rank([probe, other], permutations=0).stability is None
