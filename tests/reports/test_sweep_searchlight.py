"""The sections of a searchlight: their numbers are those of its files."""

import re

import numpy as np
from filled_report_sweep import ATTRIBUTES, LAYERS, MANTEL, TOPS, WIDTH, add_searchlight, add_stability
from filled_run import PROVENANCE
from pages import Page

from skn.reports.read_sweep import report_sweep
from skn.store import artifacts


def page_of(sweep):
    return Page(report_sweep(sweep.path).read_text())


def test_counts_of_significant_neurons(full_sweep):
    found = add_searchlight(full_sweep.path / "rsa", ("p", "q", "q_all", *MANTEL))
    counts = {name: (found[name].numpy() <= 0.05).sum((1, 2)) for name in ("p", "q", "q_all", *MANTEL)}
    page = page_of(full_sweep)
    header = "attribute parametric p parametric q q over all Mantel p Mantel q family-wise p constant"
    assert header in page.text
    for a, attribute in enumerate(ATTRIBUTES):
        assert " ".join([attribute, *(f"{counts[name][a]}" for name in counts), "1"]) in page.text
    claimed, supported = counts["q"].sum(), counts["q_mantel"].sum()
    assert (
        f"parametric q would claim {claimed} pairs of a neuron and an attribute; Mantel q supports {supported}"
        in page.text
    )
    parametric, family, mantel = (found[name].numpy() <= 0.05 for name in ("q", "p_family", "q_mantel"))
    assert f"Of the parametric claims {(parametric & ~mantel).sum()} (" in page.text
    assert f"Family-wise p supports {family.sum()}." in page.text and not (family & ~mantel).any()
    assert "6 pairs of conditions" in page.text and "500 permutations" in page.text
    assert "Constant neurons, which have no tau: 1." in page.text


def test_the_best_neurons_are_those_of_the_highest_tau(made_sweeps, sweep_page):
    tau = artifacts.load(made_sweeps[1] / "rsa" / "rsa.safetensors", "rsa")["tau"].numpy()
    layer, neuron = np.unravel_index(np.nanargmax(tau[0]), tau[0].shape)
    assert f"{ATTRIBUTES[0]} {layer}, {neuron}: {np.nanmax(tau[0]):.3f}" in sweep_page.text


def test_what_too_few_permutations_hide(bare_sweep):
    found = add_searchlight(bare_sweep.path / "rsa", ("q", *MANTEL))
    found["q_mantel"] = found["q_mantel"].clamp(min=0.06)
    missed = int((found["p_family"] <= 0.05).sum())
    meta = {"attributes": ATTRIBUTES, "permutations": 1200, "top": TOPS}
    artifacts.save(bare_sweep.path / "rsa" / "rsa.safetensors", "rsa", found, PROVENANCE, **meta)
    assert missed and f"{missed} of these Mantel q misses: no Mantel p is below 1/1,201" in page_of(bare_sweep).text


def test_without_permutations_the_page_says_so(bare_sweep):
    add_searchlight(bare_sweep.path / "rsa")
    page = page_of(bare_sweep)
    assert "No permutations were run" in page.text
    assert "Mantel q supports" not in page.text and "Partial tau" not in page.text


def test_overlap_counts_shared_neurons(made_sweeps, sweep_page):
    rank = artifacts.load(made_sweeps[1] / "rsa" / "rsa.safetensors", "rsa")["rank"].flatten(1).numpy()
    sets = [set(np.argsort(np.where(np.isnan(row), np.inf, row), kind="stable")[: max(TOPS)]) for row in rank]
    chance = max(TOPS) ** 2 / (LAYERS * WIDTH - 1)
    for a in range(3):
        for b in range(a):
            both = len(sets[a] & sets[b])
            names = "|".join(
                rf"{re.escape(x)} {re.escape(y)}"
                for x, y in [(ATTRIBUTES[a], ATTRIBUTES[b]), (ATTRIBUTES[b], ATTRIBUTES[a])]
            )
            assert re.search(rf"({names}) {both} {chance:.1f} {both / chance:.2f}", sweep_page.text)
    union = len(set.union(*sets))
    assert f"Of 60 neurons, {union} belong to the best {max(TOPS)} of at least one" in sweep_page.text


def test_stability_names_what_changes_most(bare_sweep):
    add_searchlight(bare_sweep.path / "rsa")
    low = {"names": ["1", "3"], "jaccard": {"8": [[0.9, 0.25, None], [0.5, 0.75, None]]}}
    add_stability(bare_sweep.path / "rsa", seeds=low, conditions=None)
    page = page_of(bare_sweep)
    assert "one of 2 seeds left out" in page.text and "conditions left out" not in page.text
    assert "valence 0.700 0.500 3" in page.text and "$_arousal 0.500 0.250 1" in page.text
    assert "<i>fair – – –" in page.text
