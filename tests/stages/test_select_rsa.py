"""select --rsa: the neuron sets of an rsa file, by attribute over all layers."""

from __future__ import annotations

import json

import pytest
import torch
from filled_sweep import make_rsa, random_ranks
from options import replaced
from scipy.spatial.distance import squareform

from skn.cli import run
from skn.neurons.attribute_sets import AttributeSets
from skn.neurons.selection import random_factors, random_like, top_over_layers
from skn.seeds import generator
from skn.store import artifacts

LAYERS, WIDTH = 3, 20
NAMES = ["valence", "arousal", "self-relativity"]
CONDITIONS = ["joy", "anger", "fear", "love"]


def skn(*arguments):
    assert run([str(argument) for argument in arguments]) == 0


@pytest.fixture
def rsa(tmp_path):
    distance = torch.rand(3, 6, dtype=torch.float64, generator=generator(0))
    return make_rsa(tmp_path / "rsa.safetensors", random_ranks(3, LAYERS, WIDTH), NAMES, CONDITIONS, distance)


def test_top_over_layers_sorts_by_rank_then_index_and_leaves_nan_out():
    nan = torch.nan
    rank = torch.tensor([[4.0, 1.5, nan], [1.5, 4.0, 4.0]])
    chosen = [top_over_layers(rank, k).flatten().nonzero()[:, 0].tolist() for k in (1, 2, 3, 5)]
    assert chosen == [[1], [1, 3], [0, 1, 3], [0, 1, 3, 4, 5]]


def test_top_is_the_argsort_of_the_original():
    rank = random_ranks(1, LAYERS, WIDTH)[0]
    for count in (1, 7, 60):
        assert set(top_over_layers(rank, count).flatten().nonzero()[:, 0].tolist()) == set(
            rank.flatten().abs().argsort()[:count].tolist()
        )


def test_an_attribute_without_a_rank_is_said_to_have_none(tmp_path, refused):
    rank = random_ranks(2, LAYERS, WIDTH)
    rank[0] = torch.nan
    make_rsa(tmp_path / "rsa.safetensors", rank, NAMES[:2])
    said = "rsa.safetensors: attribute 'valence' ranks no neuron, as it has no tau", "--attributes leaves it out"
    refused(["select", "--rsa", "rsa.safetensors", "--top", 5, "--out", "sets"], *said)


def test_sets_of_every_attribute_and_count(rsa, tmp_path):
    skn("select", "--rsa", rsa, "--top", "30,5", "--out", tmp_path / "sets")
    sets = AttributeSets.open(tmp_path / "sets")
    assert (sets.attributes, sets.top, sets.kind, sets.name) == (NAMES, [5, 30], "binary", "sets")
    assert len(list((tmp_path / "sets").iterdir())) == 2 + 3 * 2
    found = artifacts.load(rsa, "rsa")
    for name, rank, distance in zip(NAMES, found["rank"], found["distance"], strict=True):
        for count in (5, 30):
            stored = artifacts.load(tmp_path / "sets" / f"{name}-top{count}.safetensors", "neurons")
            assert set(stored.tensors) == {"selected"} and (stored.meta["attribute"], stored.meta["top"]) == (
                name,
                count,
            )
            assert torch.equal(stored["selected"], rank <= count)
        matrix = squareform(distance.numpy())
        for i, condition in enumerate(CONDITIONS):
            assert sets.weights[name][condition] == pytest.approx(matrix[i].sum() / 3)


def test_scale_has_factors_by_name_and_the_same_bytes_again(rsa, tmp_path):
    for out, *options in (("a",), ("b",), ("c", "--seed", 1), ("d", "--attributes", "arousal", "--top", "30")):
        given = ["select", "--rsa", rsa, "--top", "5,30", "--kind", "scale", "--out", tmp_path / out]
        skn(*replaced(given, options))
    file = "arousal-top30.safetensors"
    stored = artifacts.load(tmp_path / "a" / file, "neurons")
    chosen = stored["selected"]
    assert stored["factor"].dtype == torch.float32 and (stored["factor"][~chosen] == 1).all()
    assert 0 <= stored["factor"][chosen].min() < stored["factor"][chosen].max() < 1
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "d" / file).read_bytes()  # by name, not by order
    assert not torch.equal(stored["factor"], artifacts.load(tmp_path / "c" / file, "neurons")["factor"])
    assert (tmp_path / "a" / "sets.json").read_bytes() == (tmp_path / "b" / "sets.json").read_bytes()


def test_an_imported_ranking_has_no_weights_and_nan_neurons(tmp_path):
    rank = random_ranks(1, LAYERS, WIDTH)
    rank[rank > 50] = torch.nan
    file = make_rsa(tmp_path / "rsa.safetensors", rank, ["sad face/A"])
    skn("select", "--rsa", file, "--top", 50, "--out", tmp_path / "sets")
    assert json.loads((tmp_path / "sets" / "sets.json").read_text())["weights"] is None
    stored = artifacts.load(tmp_path / "sets" / "sad face%2FA-top50.safetensors", "neurons")
    assert torch.equal(stored["selected"], ~rank[0].isnan())


def test_attributes_of_any_script(tmp_path):
    names = ["快乐", "悲伤", "a/b", "a_b", "a b"]
    file = make_rsa(tmp_path / "rsa.safetensors", random_ranks(5, LAYERS, WIDTH), names)
    skn("select", "--rsa", file, "--top", 5, "--out", tmp_path / "sets")
    sets, ranking = AttributeSets.open(tmp_path / "sets"), artifacts.load(file, "rsa")
    assert sets.attributes == names and sets.file("快乐", 5).name == "快乐-top5.safetensors"
    for name, rank in zip(names, ranking["rank"], strict=True):
        stored = artifacts.load(sets.file(name, 5), "neurons")
        assert stored.meta["attribute"] == name and torch.equal(stored["selected"], top_over_layers(rank, 5))


def test_an_attribute_with_control_characters_is_refused(tmp_path, refused):
    make_rsa(tmp_path / "rsa.safetensors", random_ranks(1, LAYERS, WIDTH), ["joy\x1b]0;x\x07"])
    line = refused(["select", "--rsa", "rsa.safetensors", "--top", 5, "--out", "sets"], "attribute 'joy\\x1b]0;x\\x07'")
    assert "rename it" in line


def test_random_sets_match_in_each_layer_or_overall():
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    chosen[0, :9], chosen[2, :3] = True, True
    present = torch.ones_like(chosen)
    present[1, 10:] = False
    draws = [random_like(chosen, present, generator(0, draw), "overall") for draw in range(50)]
    assert all(int(d.sum()) == 12 and not (d & ~present).any() for d in draws)
    counts = torch.stack(draws).sum(dim=2).double().mean(dim=0)
    torch.testing.assert_close(counts, 12 * present.sum(dim=1) / present.sum(), rtol=0, atol=0.8, check_dtype=False)
    assert len({tuple(d.sum(dim=1).tolist()) for d in draws}) > 5
    factor = random_factors(draws[0], generator(1))
    assert (factor[~draws[0]] == 1).all() and factor[draws[0]].max() < 1 and len(factor[draws[0]].unique()) == 12


BAD = {
    "unknown attribute": (["--attributes", "valense", "--top", "5"], "--attributes valense: unknown", "'valence'"),
    "too many": (["--top", "61"], "--top 61: attribute 'valence' ranks 60 neurons", "1 to 60"),
    "none": (["--top", "5,0"], "--top 0: a count of neurons"),
    "no number": (["--top", "5,x"], "--top 5,x: expected counts of neurons"),
    "no top": ([], "needs --top"),
    "option of a run": (["--top", "5", "--aggregate", "mean"], "--aggregate goes with --run"),
    "nothing is drawn": (["--top", "5", "--seed", "5"], "--seed 5: draws the factors of --kind scale"),
    "run as well": (["--top", "5", "--run", "x"], "give --run or --rsa, one of them"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(rsa, refused, case):
    options, *said = BAD[case]
    refused(["select", "--rsa", rsa, "--out", "sets", *options], *said)


def test_neither_form_and_options_of_the_other(refused):
    refused(["select"], "give --run or --rsa")
    refused(["select", "--run", "x", "--top", "5"], "--top goes with --rsa")
    refused(["select", "--run", "x", "--seed", "5"], "--seed goes with --rsa")


@pytest.mark.parametrize("value", [0.0, -3.0, 61.0, torch.inf])
def test_ranks_out_of_range(tmp_path, refused, value):
    rank = random_ranks(2, LAYERS, WIDTH)
    rank[1, 2, 3] = value
    make_rsa(tmp_path / "r.safetensors", rank, ["a", "b"])
    refused(["select", "--rsa", "r.safetensors", "--top", "5", "--out", "sets"], "attribute 'b' has rank", "1 to 60")


def test_files_that_do_not_fit(tmp_path, refused, rsa):
    command = ["select", "--top", "5", "--out", "sets", "--rsa"]
    make_rsa(tmp_path / "names.safetensors", random_ranks(2, LAYERS, WIDTH), ["a/b", "a/b"])
    refused([*command, "names.safetensors"], "names.safetensors: attribute 'a/b' stands there twice")
    make_rsa(tmp_path / "few.safetensors", random_ranks(2, LAYERS, WIDTH), ["a"])
    refused([*command, "few.safetensors"], "'attributes' has not 2 entries")
    make_rsa(tmp_path / "c.safetensors", random_ranks(1, LAYERS, WIDTH), ["a"], CONDITIONS, torch.zeros(1, 5).double())
    refused([*command, "c.safetensors"], "does not name the conditions of its 5 pairs")
    refused([*command, "nothing"], "nothing: no such file")


def test_only_sets_are_replaced_and_only_on_request(rsa, tmp_path, refused):
    command = ["select", "--rsa", "rsa.safetensors", "--top", "5", "--out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    refused(
        [*command, "mine", "--overwrite"],
        "mine: is no folder of neuron sets of skn (no skn.json in it that says so) and will not be deleted",
    )
    skn(*command, "sets")
    refused([*command, "sets"], "sets: exists already; --overwrite replaces it")
    skn("select", "--rsa", rsa, "--top", "7", "--out", "sets", "--overwrite")
    assert (
        AttributeSets.open(tmp_path / "sets").top == [7] and not (tmp_path / "sets/valence-top5.safetensors").exists()
    )
