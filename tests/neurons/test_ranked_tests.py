"""The p of a ranking, of several seeds by the same relabellings, on the split that decided and on test; and its stability."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from refusals import command

import skn
from skn.neurons.significance import permutation_tests
from skn.runs.run import Run
from skn.store import artifacts

WORDS = ["negative", "positive"]
SMALL = {"prompt_length": 4, "epochs": 0, "batch_size": 16}


@pytest.fixture(scope="module")
def folders(tiny, corpus_folder, tmp_path_factory):
    data, home = skn.load_data(corpus_folder), tmp_path_factory.mktemp("seeds")
    for seed in (0, 1):
        run = skn.tune(tiny("roberta"), data, WORDS, seed=seed, out=home / str(seed), **SMALL)
        skn.probe(run, permutations=99, out=home / str(seed))
    return [home / str(seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def probes(folders):
    return [Run.open(folder).probe("validation") for folder in folders]


def planted(probe):
    """The probe with one neuron, 5 of layer 1, that lies above its threshold in the texts of class 1 alone."""
    kept = {(split, "prompt"): probe.bits_of(split) for split in ("validation", "test")}
    for bits in kept.values():
        bits.packed[:, 1, :, 0] = bits.packed[:, 1, :, 0] & ~(1 << 5) | (bits.label.to(torch.uint8) << 5)[:, None]
    return replace(probe, bits=kept)


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_seeds_are_tested_together(probes, aggregate):
    probes = [planted(probe) for probe in probes]
    ranking = skn.rank(probes, aggregate=aggregate, permutations=99)
    for split, tests in ranking.tests.items():
        bits = [probe.bits_of(split) for probe in probes]
        assert not torch.equal(bits[0].packed, bits[1].packed)
        alone = permutation_tests(bits, probes[0].present, 99, aggregate=aggregate)
        assert torch.equal(tests.p, alone.p) and torch.equal(tests.chance, alone.chance)
    assert list(ranking.tests) == ["validation", "test"]
    chosen = ranking.tests["validation"].beyond_chance
    assert chosen[1, 5] and ranking.tests["test"].p_chosen[1, 5] == 1 / 100
    among = skn.significance(probes, "test", among=chosen, aggregate=aggregate, permutations=99)
    assert torch.equal(ranking.tests["test"].p_chosen.nan_to_num(2), among.p_family.nan_to_num(2))


def test_one_probe_keeps_its_tests(probes):
    made = skn.rank(probes[0], permutations=99).tests
    stored = probes[0].significance_of("test")
    assert torch.equal(made["test"].p, stored.p) and torch.equal(made["test"].chance, stored.chance)
    other = skn.rank(probes[0], permutations=50).tests["test"]  # the bits are tested again
    assert len(other.chance) == 50 and torch.equal(other.chance, stored.chance[:50])
    turned = skn.rank(probes[0], contrasts=[skn.Contrast((0,), (1,))], permutations=99).tests["test"]
    assert torch.equal(turned.p, stored.p)  # two classes are told apart in either direction


def test_no_tests(probes, caplog):
    assert skn.rank(probes, permutations=0).tests == {}
    assert skn.rank(probes[0], [probes[1]], permutations=9).tests == {}, "of rankings by turns"
    lost = replace(probes[1], path=None)
    with caplog.at_level("INFO"):
        assert skn.rank([probes[0], lost], permutations=9).tests == {}
    assert "kept no bits of validation" in caplog.text
    with pytest.raises(skn.InputError, match="the probe kept no bits of test"):
        skn.significance(lost)


def test_seeds_on_other_examples_have_no_common_relabelling(probes):
    bits = probes[1].bits_of("validation")
    moved = replace(probes[1], bits={("validation", "prompt"): replace(bits, row=bits.row + 1)})
    with pytest.raises(skn.InputError, match="the runs have other examples"):
        skn.rank([probes[0], moved], permutations=9)
    assert skn.rank([probes[0], moved], permutations=0).rank is not None


def test_the_file_and_the_table(folders, tmp_path, capsys):
    out = tmp_path / "both.safetensors"
    assert command(["select", "--run", folders[0], "--run", folders[1], "--permutations", "99", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "the label beyond chance on validation" in said and "family-wise p on test" in said
    stored = artifacts.load(out, "neurons")
    assert {"p_validation", "p_family_validation", "p_test", "p_family_test", "p_chosen"} <= set(stored.tensors)
    assert (stored["p_family_test"] >= stored["p_test"]).all() and set(stored.meta["by_chance"]) == {
        "validation",
        "test",
    }
    assert (
        command(
            ["--json", "select", "--run", folders[0], "--permutations", "0", "--out", tmp_path / "none.safetensors"]
        )
        == 0
    )
    [table] = json.loads(capsys.readouterr().out)["tables"]
    assert "p on test" not in table["columns"]
    assert "p_test" not in artifacts.load(tmp_path / "none.safetensors", "neurons").tensors


def test_the_stability_in_the_file_and_the_table(folders, probes, tmp_path, capsys):
    arguments = ["select", "--run", folders[0], "--run", folders[1], "--permutations", "0", "--bootstrap", "30"]
    arguments += ["--bootstrap-fraction", "0.25"]
    assert command([*arguments, "--json", "--out", tmp_path / "a"]) == 0
    printed = capsys.readouterr()
    best, stable = json.loads(printed.out)["tables"]
    found = skn.rank(probes, permutations=0, bootstrap=30, bootstrap_fraction=0.25).stability
    assert "of the 36 neurons in the best 25% of each layer are there in at least 95% of 30 bootstraps" in printed.err
    stored = artifacts.load(tmp_path / "a", "neurons")
    assert torch.equal(stored["in_top"], found.in_top) and torch.equal(stored["rank"] < 12, found.top)
    said = stored.meta["stability"]
    assert (said["fraction"], said["bootstraps"]) == (0.25, 30) and said["jaccard"]["random"] == found.bootstraps.random
    assert [row[1] for row in stable["rows"]] == [said[n]["index"]["mean"] for n in ("jaccard", "jaccard_of_runs")]
    assert stable["rows"][0][2] == said["jaccard"]["index"]["interval"] and stable["rows"][1][2] is None
    assert best["columns"][-1] == "kept in bootstraps"
    assert [row[-1] for row in best["rows"]] == [found.in_top[tuple(row[0])].item() for row in best["rows"]]
    assert command([*arguments, "--out", tmp_path / "b"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    table = capsys.readouterr().out
    assert "Stability of the best 25% of each layer" in table and "two runs (1 pairs)" not in table
    assert command([*arguments[:3], "--permutations", "0", "--out", tmp_path / "c"]) == 0
    assert "in_top" not in artifacts.load(tmp_path / "c", "neurons").tensors


def test_no_bits_are_kept_on_request(folders, tiny, corpus_folder, tmp_path, caplog, monkeypatch):
    run = skn.tune(tiny("roberta"), skn.load_data(corpus_folder), WORDS, out=tmp_path / "run", **SMALL)
    monkeypatch.setattr("skn.neurons.probe.LARGE", 0)
    with caplog.at_level("INFO"):
        assert command(["probe", "--run", tmp_path / "run", "--permutations", "9", "--overwrite"]) == 0
    files = [artifacts.load(file, "bits")["bits"] for file in (tmp_path / "run").glob("bits*")]
    assert f"{sum(bits.numel() for bits in files) / 1e6:.1f} MB, kept in {tmp_path / 'run'}" in caplog.text
    assert command(["probe", "--run", tmp_path / "run", "--no-keep-bits", "--permutations", "99", "--overwrite"]) == 0
    assert not list((tmp_path / "run").glob("bits*")) and (tmp_path / "run/significance-test.safetensors").exists()
    kept, lost = Run.open(folders[0]).probe("test"), Run.open(tmp_path / "run").probe("test")
    assert torch.equal(lost.significance_of("test").p, kept.significance_of("test").p)
    assert skn.rank(skn.probe(run, permutations=0)).tests == {}
    asked = ["select", "--run", tmp_path / "run", "--bootstrap"]
    assert command([*asked, "9", "--out", tmp_path / "n"]) == command([*asked, "1", "--out", tmp_path / "n"]) == 2
    assert not (tmp_path / "n").exists()
