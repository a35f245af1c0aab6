"""The report of a sweep: which sections it gets, that its numbers are those of the files, that damage is named."""

import csv
import html
import json
import re

import matplotlib
import numpy as np
import pytest
from filled_report_sweep import (
    ATTRIBUTES,
    ERROR,
    FAILED,
    LAYERS,
    MANTEL,
    TASKS,
    TOPS,
    WIDTH,
    add_masks,
    add_searchlight,
    add_stability,
    fill,
    make_sweep,
    specificity_table,
    write_accuracy,
)
from filled_run import PROVENANCE, make_run
from pages import Page, assert_stands_alone

from skn.errors import InputError
from skn.reports.read_sweep import report_rsa, report_sweep
from skn.store import artifacts, atomic

SECTIONS = ["grid", "searchlight", "top", "overlap", "stability", "masked", "specificity", "provenance"]
RSA = ["searchlight", "top", "overlap", "stability"]


@pytest.fixture
def bare(tmp_path):
    return make_sweep(tmp_path / "sweep")


@pytest.fixture
def full(bare):
    return fill(bare)


def page_of(sweep):
    return Page(report_sweep(sweep.path).read_text())


def specificity_file(sweep):
    return sweep.path / "masked" / "sets" / "specificity.json"


# ---- sections ------------------------------------------------------------------------------------------


@pytest.mark.drawn
def test_a_full_sweep_has_every_section_and_stands_alone(full):
    path = report_sweep(full.path)
    assert path == full.path / "report" / "index.html"
    text = path.read_text()
    page = Page(text)
    assert page.sections == SECTIONS
    assert_stands_alone(
        path, {"grid", "searchlight", "top-neurons", "overlap", "stability", "masked-sets", "drop-sets"}
    )


def test_masks_have_the_name_that_the_user_gave(full):
    (full.path / "masked" / "sets").rename(full.path / "masked" / "sets@a%2Fb")
    path = report_sweep(full.path)
    assert "Sets sets@a/b" in path.read_text()
    assert (path.parent / "masked-sets@a%2Fb.png").is_file()


def test_a_bare_sweep_has_its_grid(bare):
    assert page_of(bare).sections == ["grid", "provenance"]


def test_a_sweep_that_has_not_begun(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", tasks=[])
    sweep = type(sweep)(sweep.path, ["toy"], [1], {})
    sweep.save()
    page = page_of(sweep)
    assert "1 tasks × 1 seeds = 1 cells: 1 missing." in page.text and "toy 0 of 1 – – –" in page.text


@pytest.mark.parametrize(
    ("files", "anchors"),
    [
        (["rsa/rsa.safetensors"], RSA),
        (["rsa/rsa.json"], ["stability"]),
        (["masked/sets/specificity.json"], ["specificity"]),
        (["masked/sets/accuracy.csv"], ["masked", "specificity"]),
    ],
)
def test_sections_go_with_their_files_and_no_others_do(full, files, anchors):
    for name in files:
        (full.path / name).unlink()
    assert page_of(full).sections == [name for name in SECTIONS if name not in anchors]


def test_ranks_alone_are_mapped(bare):
    """As an imported ranking has them: no tau, no p, no list of k."""
    found = add_searchlight(bare.path / "rsa")
    meta = {"attributes": ATTRIBUTES}
    artifacts.save(bare.path / "rsa" / "rsa.safetensors", "rsa", {"rank": found["rank"]}, PROVENANCE, **meta)
    page = page_of(bare)
    assert page.sections == ["grid", "top", "overlap", "provenance"]
    assert "The 6 best neurons" in page.text


def test_a_single_attribute_overlaps_with_none(tmp_path):
    add_searchlight(tmp_path, attributes=["valence"])
    assert Page(report_rsa(tmp_path).read_text()).sections == ["searchlight", "top", "provenance"]


def test_a_searchlight_without_its_sweep(full):
    folder = full.path / "rsa"
    page = Page(report_rsa(folder).read_text())
    assert page.sections == [*RSA, "provenance"]
    assert (folder / "report" / "searchlight.png").is_file() and "rsa.json" in page.text
    report_rsa(folder)  # the first report is no part of the second
    assert "index.html" not in Page((folder / "report" / "index.html").read_text()).text


# ---- numbers -------------------------------------------------------------------------------------------


def test_the_grid_shows_states_means_and_errors(full):
    page = page_of(full)
    assert "4 tasks × 3 seeds = 12 cells: 9 done, 1 failed, 1 unfinished, 1 missing." in page.text
    accuracies = [full.run(cell).training["best_accuracy"] for cell in full.cells if cell.task == TASKS[0]]
    numbers = " ".join(f"{f(accuracies):.1%}" for f in (np.mean, min, max))
    margin = max(full.run(cell).outcome().margin for cell in full.cells if cell.task == TASKS[0])
    assert f"{TASKS[0]} 3 of 3 {numbers} {margin:.1%}" in page.text
    assert "95%: ±: how far an accuracy lies from the farther end of its 95% interval" in page.text
    assert f"{FAILED} {ERROR}" in page.text


def test_a_cell_finished_after_it_failed_is_done(full):
    make_run(full.folder(FAILED))
    page = page_of(full)
    assert "10 done, 1 unfinished" in page.text and ERROR not in page.text


def test_counts_of_significant_neurons(full):
    found = add_searchlight(full.path / "rsa", ("p", "q", "q_all", *MANTEL))
    counts = {name: (found[name].numpy() <= 0.05).sum((1, 2)) for name in ("p", "q", "q_all", *MANTEL)}
    page = page_of(full)
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


def test_the_best_neurons_are_those_of_the_highest_tau(full):
    tau = artifacts.load(full.path / "rsa" / "rsa.safetensors", "rsa")["tau"].numpy()
    layer, neuron = np.unravel_index(np.nanargmax(tau[0]), tau[0].shape)
    assert f"{ATTRIBUTES[0]} {layer}, {neuron}: {np.nanmax(tau[0]):.3f}" in page_of(full).text


def test_what_too_few_permutations_hide(bare):
    found = add_searchlight(bare.path / "rsa", ("q", *MANTEL))
    found["q_mantel"] = found["q_mantel"].clamp(min=0.06)
    missed = int((found["p_family"] <= 0.05).sum())
    meta = {"attributes": ATTRIBUTES, "permutations": 1200, "top": TOPS}
    artifacts.save(bare.path / "rsa" / "rsa.safetensors", "rsa", found, PROVENANCE, **meta)
    assert missed and f"{missed} of these Mantel q misses: no Mantel p is below 1/1,201" in page_of(bare).text


def test_without_permutations_the_page_says_so(bare):
    add_searchlight(bare.path / "rsa")
    page = page_of(bare)
    assert "No permutations were run" in page.text
    assert "Mantel q supports" not in page.text and "Partial tau" not in page.text


def test_overlap_counts_shared_neurons(full):
    rank = artifacts.load(full.path / "rsa" / "rsa.safetensors", "rsa")["rank"].flatten(1).numpy()
    sets = [set(np.argsort(np.where(np.isnan(row), np.inf, row), kind="stable")[: max(TOPS)]) for row in rank]
    chance = max(TOPS) ** 2 / (LAYERS * WIDTH - 1)
    page = page_of(full)
    for a in range(3):
        for b in range(a):
            both = len(sets[a] & sets[b])
            names = "|".join(
                rf"{re.escape(x)} {re.escape(y)}"
                for x, y in [(ATTRIBUTES[a], ATTRIBUTES[b]), (ATTRIBUTES[b], ATTRIBUTES[a])]
            )
            assert re.search(rf"({names}) {both} {chance:.1f} {both / chance:.2f}", page.text)
    union = len(set.union(*sets))
    assert f"Of 60 neurons, {union} belong to the best {max(TOPS)} of at least one" in page.text


def test_stability_names_what_changes_most(bare):
    add_searchlight(bare.path / "rsa")
    low = {"names": ["1", "3"], "jaccard": {"8": [[0.9, 0.25, None], [0.5, 0.75, None]]}}
    add_stability(bare.path / "rsa", seeds=low, conditions=None)
    page = page_of(bare)
    assert "one of 2 seeds left out" in page.text and "conditions left out" not in page.text
    assert "valence 0.700 0.500 3" in page.text and "$_arousal 0.500 0.250 1" in page.text
    assert "<i>fair – – –" in page.text


@pytest.mark.parametrize("cells", [9, 3])
def test_accuracy_under_masks_is_the_mean_over_the_cells_of_the_table(full, cells):
    """A folder may hold more cells than the table, which an emotion may have been left out of."""
    with open(full.path / "masked" / "sets" / "accuracy.csv") as file:
        rows = list(csv.DictReader(file))
    if cells == 3:
        rows = [row for row in rows if row["emotion"] == "joy"]
        write_accuracy(full.path / "masked" / "sets", [list(row.values()) for row in rows])
    rows = [row for row in rows if row["attribute"] == "valence" and row["top"] == str(max(TOPS))]
    masked, random = (np.mean([float(row[name]) for row in rows]) for name in ("accuracy", "random_mean"))
    draws = [
        found["random_accuracy"][-1].numpy()
        for file in sorted((full.path / "masked").rglob("*.safetensors"))
        if (found := artifacts.load(file, "masked")).meta["attribute"] == "valence"
        and (cells == 9 or found.meta["task"] == TASKS[0])
    ]
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    page = page_of(full)
    assert f"valence 8 {cells} 90.0% {masked:.1%} {random:.1%} {low:.1%} to {high:.1%}" in page.text
    assert "mask: zero; test split; 20 draws; as many random neurons in each layer" in page.text


def test_a_table_without_its_files_has_no_band(full):
    for file in (full.path / "masked").rglob("*.safetensors"):
        file.unlink()
    assert re.search(r"valence 8 9 90.0% \d+\.\d% \d+\.\d% –", page_of(full).text)
    write_accuracy(full.path / "masked" / "sets", [["joy", 1, "valence", 4, 0.5, 0.9, "", "", "", 0]])
    assert "valence 4 1 90.0% 50.0% – –" in page_of(full).text


def test_damage_and_specificity_are_the_tests_of_the_file(full):
    page = page_of(full)
    assert "neurons of 3 of 3 tested attributes do more damage than random neurons (q ≤ 0.05)" in page.text
    assert "neurons of 0 of 2 tested attributes are specific" in page.text
    assert "valence 8 +3.71 +2.71 to +4.71 1.0e-5 4.0e-4" in page.text
    assert "valence 8 +1.23 +0.23 to +2.23 0.200 0.400" in page.text and "<i>fair 8 – – – –" in page.text
    assert "valence 8 1,200 34 1.0e-30" in page.text and "a note & more" in page.text


def test_tests_that_could_not_be_made(full):
    table = specificity_table()
    for row in table["rows"]:
        row["drop"] |= {"low": None, "high": None, "p": None, "q": None, "mean": -0.0004}
        row["specificity"] = None
    for entry in table["by_emotion"]:
        entry["drop"] = None
    atomic.write_json(specificity_file(full), table)
    page = page_of(full)
    assert "No attribute could be tested." in page.text and "valence 8 −0.04 – – –" in page.text


def test_every_folder_of_masks_is_shown(full):
    add_masks(full, "other")
    page = page_of(full)
    assert "Sets other; mask: zero" in page.text and "Sets sets; mask: zero" in page.text


def test_text_is_escaped(full):
    text = report_sweep(full.path).read_text()
    assert "<b>" not in text and "<i>" not in text and "<memory>" not in text
    assert html.escape("<i>fair") in text


@pytest.mark.drawn
def test_same_bytes_whatever_the_user_configured_and_however_long_it_took(full):
    def written():
        report_sweep(full.path)
        return {file.name: file.read_bytes() for file in (full.path / "report").iterdir()}

    first = written()
    (full.path / "grid.csv").write_text("times differ")
    atomic.write_json(full.path / "timings.json", {"sweep": 3})
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.parse_math": True}):
        assert written() == first


# ---- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sweep.json", "{", "damaged"),
        ("failed.json", "[1]", "damaged"),
        ("failed.json", '{"a": 3}', "damaged"),
        ("goemotions/joy/seed-1/run.json", "{}", "damaged"),
        ("rsa/rsa.safetensors", "nothing", "damaged"),
        ("rsa/rsa.json", "{", "damaged"),
        ("rsa/rsa.json", '{"alpha": "x"}', "damaged"),
        ("rsa/rsa.json", '{"stability": {"seeds": {"names": ["1"]}}}', "damaged"),
        ("rsa/rsa.json", '{"stability": {"seeds": {"names": ["1"], "jaccard": {"4": [[1]]}}}}', "damaged"),
        ("masked/sets/accuracy.csv", "", "holds no cell"),
        ("masked/sets/accuracy.csv", "emotion,seed\njoy,1\n", "lacks attribute, top"),
        ("masked/sets/specificity.json", "[]", "damaged"),
        ("masked/sets/specificity.json", "{}", "alpha: Field required"),
        ("masked/sets/specificity.json", json.dumps({**specificity_table(), "rows": [3]}), "damaged"),
        (
            "masked/sets/specificity.json",
            json.dumps({**specificity_table(), "rows": [{"top": 1}]}),
            "attribute: Field required",
        ),
        (
            "masked/sets/specificity.json",
            json.dumps({**specificity_table(), "alpha": "x"}),
            "alpha: Input should be a valid number",
        ),
        (f"masked/sets/{TASKS[0]}/seed-1/0.safetensors", "nothing", "damaged"),
    ],
)
def test_damaged_files_are_named(full, name, text, said):
    (full.path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{re.escape(name)}: .*{said}|{re.escape(name)}: {said}") as caught:
        report_sweep(full.path)
    assert "\n" not in str(caught.value)
    assert not (full.path / "report").exists()


def test_a_number_that_is_none_is_named(full):
    write_accuracy(full.path / "masked" / "sets", [["joy", 1, "valence", 4, "high", 0.9, "", "", "", 20]])
    with pytest.raises(InputError, match=r"accuracy\.csv: damaged .*high"):
        report_sweep(full.path)


def test_attributes_without_names_are_refused(full):
    found = artifacts.load(full.path / "rsa" / "rsa.safetensors", "rsa")
    artifacts.save(found.path, "rsa", found.tensors, PROVENANCE, attributes=["one"])
    with pytest.raises(InputError, match="'attributes' has not 3 entries"):
        report_rsa(full.path / "rsa")


def test_what_to_report_on(refused, tmp_path):
    make_sweep(tmp_path / "sweep")
    refused(["report"], "give --run or --sweep or --rsa, one of them")
    refused(["report", "--run", "a", "--sweep", "b"], "give --run or --sweep or --rsa, one of them")
    refused(["report", "--sweep", "nowhere"], "nowhere: not a sweep", "skn sweep --out DIR")
    refused(["report", "--rsa", "sweep"], "sweep: no searchlight", "skn rsa --out DIR")
    refused(["report", "--run", "sweep"], "sweep: not a run")
