"""``skn compare``: tables, files, seeds of a task, and what is refused; a run is alike with itself made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from refusals import command
from scipy.stats import spearmanr
from tables import write_tsv

import skn
from skn.data import corpus
from skn.neurons.comparison import read_comparison
from skn.neurons.sharing import overlap, top_set
from skn.runs.run import Run
from skn.store import documents, folders


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """Four probed runs of one backbone; no test writes there. "a" and "b" are seeds of one task, "d" is another's."""
    folder = tmp_path_factory.mktemp("compared")
    for name, seed in (("letters", 1), ("words", 2)):
        (folder / name).mkdir()
        write_tsv(folder / name / "train.tsv", ["text", "label"], corpus.generate(seed=seed, size=120))
    for run, data, seed in (("a", "letters", 0), ("b", "letters", 1), ("c", "words", 0), ("d", "words", 1)):
        train = ["train", "--backbone", tiny("roberta"), "--data", folder / data, "--out", folder / run]
        assert command([*train, "--epochs", 0, "--prompt-length", 4, "--seed", seed]) == 0
        assert command(["probe", "--run", folder / run, "--auroc"]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch, quiet_exit) -> Path:
    for name in "abcd":
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tables_and_the_file(here, capsys):
    assert command(["compare", "a", "b", "c", "--fraction", "0.25", "--out", "out", "--json"]) == 0
    pairs, layers = json.loads(capsys.readouterr().out)["tables"]
    assert [row[:2] for row in pairs["rows"]] == [
        ["letters (a)", "letters (b)"], ["letters (a)", "words"], ["letters (b)", "words"]
    ]  # fmt: skip
    found = read_comparison(here / "out" / "compare.json")
    ranked = [skn.rank(Run.open(name).probe("validation")) for name in "abc"]
    rho = [spearmanr(a, b).statistic for a, b in zip(ranked[0].score, ranked[2].score, strict=True)]
    assert found.pairs[1]["spearman"] == pytest.approx(rho) and pairs["rows"][1][2] == pytest.approx(np.mean(rho))
    assert [row[2] for row in layers["rows"]] == found.pairs[1]["spearman"] and len(layers["rows"]) == 3
    sets = [top_set([Run.open(name).probe("validation")], 0.25, overall=False) for name in "ac"]
    expected = overlap(*sets, ranked[0].rank >= 0)
    assert pairs["rows"][1][3:] == [
        expected.shared, "36", 9.0, [expected.low, expected.high], expected.p
    ]  # fmt: skip


def test_the_page(here):
    assert command(["compare", "a", "c", "--out", "out"]) == 0
    page = Page((here / "out" / "index.html").read_text())
    assert page.sections == ["correlation", "shared", "provenance"] and "by chance" in page.text
    names = {"correlation", "correlation-by-layer", "shared"}
    assert (
        {file.stem for file in (here / "out").glob("*.png")}
        == {file.stem for file in (here / "out").glob("*.csv")}
        == names
    )
    assert len((here / "out" / "correlation-by-layer.csv").read_text().splitlines()) == 4
    folders.refuse_occupied(here / "out", "comparison", overwrite=True)
    before = (here / "out" / "compare.json").read_bytes()
    assert command(["compare", "a", "c", "--out", "out", "--overwrite"]) == 0
    assert (here / "out" / "compare.json").read_bytes() == before


def test_seeds_of_a_task_are_joined_as_skn_select_joins_them(here):
    assert command(["compare", "a,b", "c,d", "--aggregate", "min", "--out", "out"]) == 0
    (first, second) = read_comparison(here / "out" / "compare.json").runs
    assert (first["run"], first["seeds"], second["run"]) == ("letters", 2, "words")
    joined = skn.rank([Run.open(name).probe("validation") for name in "ab"], aggregate="min")
    assert first["neurons"] == joined.digest


def test_the_best_over_all_layers(here):
    found, by_layer = skn.compare("a", "c", overall=True, fraction=0.1), skn.compare("a", "c", fraction=0.1)
    best = [top_set([Run.open(name).probe("validation")], 0.1, overall=True) for name in "ac"]
    assert found.pairs[0]["shared"] == int((best[0] & best[1]).sum()) and found.pairs[0]["sizes"] == [14, 14]
    assert by_layer.pairs[0]["sizes"] == [12, 12] and "over the layers" in found.table().title


def test_ranked_by_areas(here):
    found = skn.compare("a", "c", by="auroc", fraction=0.25)
    ranked = [skn.rank(Run.open(name).probe("validation"), by="auroc", permutations=0) for name in "ac"]
    rho = [spearmanr(a, b).statistic for a, b in zip(ranked[0].score, ranked[1].score, strict=True)]
    assert found.pairs[0]["spearman"] == pytest.approx(rho)
    cuts = [ranking.cut(0.25) for ranking in ranked]  # few areas are equal
    assert found.pairs[0]["shared"] == pytest.approx(int((cuts[0] & cuts[1]).sum()), abs=2)


def test_a_ranking_shares_all_with_itself(made):
    """The same counts under another name of the prompt. Only equal neurons at the end of a set may differ."""
    probe = Run.open(made / "a").probe("validation")
    again = replace(probe, provenance={**probe.provenance, "tuned": "again"})
    (pair,) = skn.compare(probe, again, fraction=0.25).pairs
    assert pair["spearman"] == pytest.approx([1, 1, 1])
    assert pair["high"] < pair["shared"] <= 36 and pair["p"] < 1e-4


def test_a_file_of_the_python_face(here):
    found = skn.compare("a", "c", out="found.json")
    assert read_comparison(Path("found.json")).document == found.document
    with pytest.raises(skn.InputError, match="exists already"):
        skn.compare("a", "c", out="found.json")
    stored = json.loads(Path("found.json").read_text())
    stored["pairs"][0]["p"] = 0.5
    Path("found.json").write_text(json.dumps(stored))
    with pytest.raises(skn.InputError, match="damaged"):
        read_comparison(Path("found.json"))
    assert set(documents.OWN_KEYS) <= stored.keys()


@pytest.mark.parametrize(
    "given,phrases",
    [
        (["a"], ["two or more runs"]),
        (["a", "a"], ["is the same run as", "give each run once"]),
        (["a,b", "a"], ["is the same run as"]),
        (["a,c", "b"], ["made for another task"]),
        (["a", "c,"], ["RUN c,: expected folders of runs"]),
        (["a", "nowhere"], ["nowhere: not a run"]),
        (["a", "c", "--fraction", "0"], ["--fraction 0.0: a share above 0"]),
        (["a", "c", "--fraction", "0.001"], ["--fraction 0.001: no neuron of any layer"]),
        (["a", "c", "--readout", "mean"], ["skn probe --at mean"]),
        (["a", "c", "--out", "a"], ["a: is no comparison of skn"]),
    ],
)
def test_bad_input(here, refused, given, phrases):
    refused(["compare", *given], *phrases)


def test_another_backbone(here, refused, runs):
    shutil.copytree(runs("bert"), here / "bert")
    refused(["compare", "a", "bert"], "made for another backbone", "give runs of one backbone")
