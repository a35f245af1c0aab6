"""What a probe says: the neuron that validation picks, on every split; the model by the same measure; splits of one class."""

from __future__ import annotations

import json
import math

import pytest
import torch
from refusals import command
from tables import write_tsv

import skn
from skn.intervals import balanced_interval, share_interval
from skn.neurons.probed import Probe, confusion
from skn.neurons.probing import Hits
from skn.neurons.selection import Contrast
from skn.store import artifacts

PROVENANCE = {"dtype": "float32", "backend": "eager", "engine": "hf", "seed": 0, "backbone_digest": "d"}


def probe_of(splits, confusion_of=None):
    """Two classes of (count, hits of three neurons in one layer) a split."""
    hits = {
        (split, "prompt"): Hits(torch.tensor(count), torch.tensor(found)[:, None, None], torch.zeros(1, 1, 3), None)
        for split, (count, found) in splits.items()
    }
    answers = {split: torch.tensor(table) for split, table in (confusion_of or {}).items()}
    return Probe({}, hits, torch.ones(1, 3, dtype=torch.bool), PROVENANCE, answers)


SPLITS = {
    "validation": ([10, 30], [[9, 0, 5], [3, 10, 20]]),  # neuron 0 says the opposite: 0.1 for class 1 against class 0
    "test": ([20, 20], [[8, 0, 2], [4, 19, 20]]),  # where neurons 1 and 2 are better
}
ANSWERS = {"validation": [[5, 5], [0, 30]], "test": [[16, 4], [2, 18]]}


def test_one_neuron_is_picked_on_validation_and_shown_on_both():
    table = probe_of(SPLITS, ANSWERS).table()
    rows = [row for row in table if row["measure"] == "neuron, balanced"]
    assert [row["neuron"] for row in rows] == [[0, 0], [0, 0]] and [row["position"] for row in rows] == [0, 0]
    assert rows[0]["accuracy"] == pytest.approx(0.9)  # 1 − (0.1 + 0.1) / 2
    assert rows[1]["accuracy"] == pytest.approx(1 - (4 / 20 + 12 / 20) / 2)
    assert "best on validation" in table.title
    assert rows[0]["95% interval"] is None  # the best of many there
    # On test class 0 exceeds in 8 of 20 and class 1 in 4 of 20: read as "does not exceed" both rates turn round.
    assert rows[1]["95% interval"] == pytest.approx(balanced_interval([8 / 20, 16 / 20], [20, 20]))


def test_of_neurons_that_do_equally_well_the_table_and_the_ranking_have_one():
    """At the first position the second of two perfect neurons is perfect, at the second the first; a third is none."""
    found = torch.tensor([[[[0, 0, 0], [0, 0, 0]]], [[[5, 10, 5], [10, 5, 5]]]])  # [C, L, P, F]
    probe = probe_of({})
    probe.hits["validation", "prompt"] = Hits(torch.tensor([10, 10]), found, torch.zeros(1, 2, 3), None)
    ranking = skn.rank(probe)
    assert ranking.score[0].tolist() == [1.0, 1.0, 0.75] and ranking.best(3) == [(0, 0), (0, 1), (0, 2)]
    picked = next(iter(probe.table()))
    assert (picked["neuron"], picked["position"]) == ([0, 0], 1)
    assert ranking.position[1].tolist() == [[1, 0, 0]]  # what skn.activate says of a run in memory


def test_many_equal_scores_are_in_the_order_of_the_neurons():
    sets = skn.NeuronSets(score=torch.full((12, 300), 0.75, dtype=torch.float64))
    assert sets.best(40) == [(0, neuron) for neuron in range(40)]


def test_the_model_is_measured_as_the_neuron():
    """Of 40, 35 are right: plain 0.875; half of class 0 and all of class 1: balanced 0.75."""
    probe = probe_of(SPLITS, ANSWERS)
    assert (probe.model_accuracy(), probe.model_accuracy(by="plain")) == (0.75, 0.875)
    _, balanced, plain, *_ = probe.table()
    assert (balanced["accuracy"], plain["accuracy"]) == (0.75, 0.875)
    assert balanced["95% interval"] == pytest.approx(balanced_interval([0.5, 1.0], [10, 30]))
    assert plain["95% interval"] == share_interval(0.875, 40) == probe.model_interval(by="plain")
    assert probe_of(SPLITS).model_interval("test") is None
    assert probe_of(SPLITS).model_accuracy("test") is None
    with pytest.raises(skn.InputError, match="by balanced: expected predictivity, plain"):
        probe.model_accuracy(by="balanced")


def test_of_several_classes_the_model_tells_the_neurons_contrast():
    logits, label = torch.eye(3)[[0, 0, 1, 1, 2, 0]], torch.tensor([0, 0, 1, 2, 2, 2])
    answers = confusion(logits, label)
    assert answers.tolist() == [[2, 0, 0], [0, 1, 0], [1, 1, 1]]
    probe = Probe({}, {}, torch.ones(1, 1, dtype=torch.bool), PROVENANCE, {"test": answers})
    assert probe.model_accuracy("test") == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert probe.model_interval("test") == pytest.approx(balanced_interval([1, 1, 1 / 3], [2, 1, 3]))
    assert probe.model_accuracy("test", contrast=Contrast((2,), (0, 1))) == pytest.approx((1 / 3 + 1) / 2)
    third = probe.model_interval("test", contrast=Contrast((2,), (0, 1)))
    assert third == pytest.approx(balanced_interval([1 / 3, 1], [3, 3]))
    assert probe.model_interval("test", "plain", Contrast((2,), (0, 1))) == share_interval(4 / 6, 6)
    assert probe.model_accuracy("test", "plain", Contrast((2,), (0, 1))) == pytest.approx(4 / 6)


# ---- a split of one class ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lone", ["validation", "test"])
def test_a_split_of_one_class(lone, run, tiny, corpus_folder, tmp_path, capsys, caplog, refused):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        rows = [line.split("\t") for line in (corpus_folder / f"{split}.tsv").read_text().splitlines()[1:]]
        write_tsv(folder / f"{split}.tsv", ["text", "label"], [r for r in rows if split != lone or r[1] == "1"])
    train = ["train", "--backbone", tiny("roberta"), "--data", folder, "--epochs", 0, "--prompt-length", 4]
    assert command([*train, "--out", tmp_path / "lone"]) == 0
    capsys.readouterr()
    assert command(["probe", "--run", tmp_path / "lone", "--json"]) == 0
    said = f"{lone}: no permutation tests at prompt, because no contrast of classes has rows on both sides"
    assert said in caplog.text
    [table] = json.loads(capsys.readouterr().out)["tables"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    found = {(row["split"], row["measure"]): row["accuracy"] for row in rows}
    known = {(row["split"], row["measure"]): row["95% interval"] is not None for row in rows}
    assert found[lone, "neuron, balanced"] is None and found[lone, "model, balanced"] is None
    assert found[lone, "model, plain"] is not None
    other = {"validation": "test", "test": "validation"}[lone]
    assert (found[other, "neuron, balanced"] is None) == (lone == "validation")  # picked on validation, or not at all
    assert found[other, "model, balanced"] is not None
    assert all(known[key] == (value is not None) for key, value in found.items() if key[1] != "neuron, balanced")
    kept = artifacts.load(tmp_path / "lone" / f"accuracy-{lone}.safetensors", "accuracy")
    assert kept["accuracy"].isnan().all() and kept["plain"].isnan().all() and kept["predictivity"].isnan().all()
    assert kept["accuracy"].shape == (1, 3, 4, 48) and kept.meta["contrasts"] == ["1:0"]
    probe = skn.probe(skn.open_run(tmp_path / "lone"))
    assert probe.predictivity.isnan().all() == (lone == "validation")
    if lone == "test":
        assert command(["select", "--run", tmp_path / "lone"]) == 0
        assert " – " in capsys.readouterr().out
    else:
        said = "hits-validation.safetensors: split validation has 0 of class 0, ", "contrast 1:0", "another --split"
        for by in ("predictivity", "plain"):
            refused(["select", "--run", "lone", "--by", by], *said)
    assert command(["report", "--run", tmp_path / "lone"]) == 0


# ---- on test -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--by", "plain"], ["--contrast", "1:rest"], ["--contrast", "0:1"]])
def test_on_test_is_the_choice_of_validation(run, capsys, quiet_exit, options):
    assert command(["select", "--run", run, "--overwrite", "--json", *options]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    measure = "plain" if "plain" in options else "balanced"
    assert table["columns"] == [
        "layer,neuron",
        f"{measure} accuracy on validation",
        "on test",
        "on test: 95%",
        "p on test",
        "family-wise p on test",
    ]
    assert table["title"].endswith(", picked on validation")
    chosen, test = (
        artifacts.load(run / f"accuracy-{split}.safetensors", "accuracy")[
            {"balanced": "accuracy"}.get(measure, measure)
        ]
        for split in ("validation", "test")
    )
    hits = artifacts.load(run / "hits-test.safetensors", "hits")
    for (layer, neuron), score, on_test, ends, *_ in table["rows"]:
        before, after = chosen[0, layer, :, neuron], test[0, layer, :, neuron]
        place = torch.maximum(before, 1 - before).argmax()
        wanted = (before, after) if before[place] >= 0.5 else (1 - before, 1 - after)
        assert [score, on_test] == pytest.approx([tensor[place].item() for tensor in wanted])
        shares = hits["hits"][:, layer, place, neuron].double() / hits["count"]  # of each class that exceeds
        right = [1 - shares[0], shares[1]] if before[place] >= 0.5 else [shares[0], 1 - shares[1]]
        if measure == "balanced":
            assert ends == pytest.approx(balanced_interval([float(one) for one in right], hits["count"].tolist()))
        else:
            share = sum(r * n for r, n in zip(right, hits["count"], strict=True)) / hits["count"].sum()
            assert ends == pytest.approx(share_interval(float(share), int(hits["count"].sum())))


def test_no_column_where_test_itself_decides(run, capsys, quiet_exit):
    assert command(["select", "--run", run, "--overwrite", "--json", "--split", "test"]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    assert table["columns"] == ["layer,neuron", "balanced accuracy on test"]
    assert not any(math.isnan(row[1]) for row in table["rows"])
