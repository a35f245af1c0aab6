"""The commands on a tiny model: what they write, and that the files fit together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from scipy.stats import ttest_1samp
from spoiled import edit

from skn.cli import run
from skn.intervals import share_interval
from skn.neurons.mask_table import MaskTable
from skn.neurons.selection import balanced_accuracy, default_contrasts, predictivity
from skn.runs.run import Run
from skn.store import artifacts


def skn(*arguments) -> None:
    assert run([str(a) for a in arguments]) == 0, arguments


def make_run(folder: Path, out: Path, data: Path, *more) -> Path:
    skn("train", "--backbone", folder, "--data", data, "--out", out, "--epochs", 1, "--prompt-length", 4, *more)
    skn("probe", "--run", out)
    return out


@pytest.fixture(scope="module")
def base(tiny, corpus_folder, tmp_path_factory):
    out = make_run(tiny("roberta"), tmp_path_factory.mktemp("runs") / "base", corpus_folder)
    skn("select", "--run", out)
    return out


@pytest.fixture
def copy(base, tmp_path):
    return Path(shutil.copytree(base, tmp_path / "run"))


def test_run_holds_what_it_says(base, tiny):
    opened = Run.open(base)
    assert opened.config.label_words == ["negative", "positive"] and opened.training["best_step"] > 0
    tuned = artifacts.load(base / "tuned.safetensors", "tuned")
    assert tuned["prompt"].shape == (3, 32) and tuned["mask_embedding"].shape == (32,)
    needed = {
        "backbone",
        "backbone_digest",
        "task",
        "split_digest",
        "seed",
        "dtype",
        "device",
        "backend",
        "skn_version",
    }
    assert needed <= tuned.provenance.keys()
    assert tuned.provenance["backbone"] == f"{tiny('roberta').parent.name}/{tiny('roberta').name}"
    assert not (base / "checkpoints").exists()


def test_another_name_of_the_same_backbone_changes_nothing(copy):
    """Files of before the name had two parts, or of a folder that was renamed: the digest of the weights decides."""
    for name, kind in (("tuned", "tuned"), ("moments", "moments"), ("neurons", "neurons")):
        found = artifacts.load(copy / f"{name}.safetensors", kind)
        provenance = {**found.provenance, "backbone": "model"}
        artifacts.save(copy / f"{name}.safetensors", kind, found.tensors, provenance, **found.meta)
    skn("mask", "--run", copy, "--kind", "mean", "--fraction", 0.1, "--controls", 0)
    assert (copy / "mask-mean.json").is_file()


def test_probe_writes_tables_that_follow_from_its_hits(base):
    for split in ("validation", "test"):
        hits = artifacts.load(base / f"hits-{split}.safetensors", "hits")
        table = artifacts.load(base / f"accuracy-{split}.safetensors", "accuracy")
        expected = balanced_accuracy(hits["hits"], hits["count"], default_contrasts(2)[0])
        assert torch.equal(table["accuracy"][0], expected) and table["accuracy"].shape == (1, 3, 4, 48)
        assert torch.equal(table["predictivity"][0], predictivity(expected))
        assert hits.meta["split"] == split and hits["count"].sum() == 40
    moments = artifacts.load(base / "moments.safetensors", "moments")
    torch.testing.assert_close(hits["threshold"], moments["total"].sum(0) / moments["count"].sum())


def test_probe_pools_in_the_same_pass_and_resumes(copy):
    skn("probe", "--run", copy, "--at", "prompt,mean,max", "--overwrite")
    for readout in ("mean", "max"):
        hits = artifacts.load(copy / f"hits-{readout}-test.safetensors", "hits")
        assert hits["hits"].shape == (2, 3, 1, 48) and 0 < hits["hits"].sum() < 40 * 3 * 48
    before = {f.name: f.read_bytes() for f in copy.glob("*.safetensors")}
    for name in ("hits-test.safetensors", "accuracy-test.safetensors", "accuracy-mean-test.safetensors"):
        (copy / name).unlink()
    skn("probe", "--run", copy, "--at", "prompt,mean,max", "--resume")
    assert {f.name: f.read_bytes() for f in copy.glob("*.safetensors")} == before
    skn("select", "--run", copy, "--readout", "max", "--out", copy / "max.safetensors")


def test_activate_modes_agree(copy):
    skn("activate", "--run", copy, "--all")
    skn("activate", "--run", copy, "--neuron", "2,17", "--neuron", "0,3", "--neuron", "best")
    skn("activate", "--run", copy, "--empty")
    everything = artifacts.load(copy / "activations-all-test.safetensors", "activations")["activations"]
    chosen = artifacts.load(copy / "activations-neuron-test.safetensors", "activations")
    assert everything.shape == (40, 3, 4, 48) and chosen["activations"].shape == (40, 1, 4, 3)
    torch.testing.assert_close(chosen["activations"][:, 0, :, 0], everything[:, 2, :, 17], rtol=0, atol=0)
    torch.testing.assert_close(chosen["activations"][:, 0, :, 1], everything[:, 0, :, 3], rtol=0, atol=0)
    layer, neuron = chosen.meta["neurons"][2]
    score = artifacts.load(copy / "neurons.safetensors", "neurons")["score"]
    assert score[layer, neuron] == score.max()
    hits = artifacts.load(copy / "hits-test.safetensors", "hits")
    exceeds = everything.double() > hits["threshold"]
    for c in range(2):
        assert torch.equal(hits["hits"][c], exceeds[chosen["label"] == c].sum(0))
    assert artifacts.load(copy / "activations-empty.safetensors", "activations")["activations"].shape == (1, 3, 1, 48)


def test_select_over_seeds_and_subtasks(tiny, corpus_folder, base, tmp_path):
    seeds = [base, make_run(tiny("roberta"), tmp_path / "s1", corpus_folder, "--seed", 1)]
    for how, reduce in (("mean", torch.mean), ("min", torch.amin)):
        out = tmp_path / f"{how}.safetensors"
        skn("select", "--run", seeds[0], "--run", seeds[1], "--aggregate", how, "--out", out)
        each = torch.stack(
            [artifacts.load(s / "accuracy-validation.safetensors", "accuracy")["predictivity"][0] for s in seeds]
        )
        torch.testing.assert_close(artifacts.load(out, "neurons")["score"], reduce(each, dim=0))
    skn("select", "--run", seeds[0], "--with", seeds[1], "--out", tmp_path / "united.safetensors")
    united = artifacts.load(tmp_path / "united.safetensors", "neurons")
    assert united.meta["rankings"] == 2
    best = [
        artifacts.load(s / "accuracy-validation.safetensors", "accuracy")["predictivity"][0].argmax(1) for s in seeds
    ]
    for layer in range(3):  # the first two places belong to the two tasks' best neurons
        first = set((united["rank"][layer] < 2).nonzero()[:, 0].tolist())
        assert {int(best[0][layer]), int(best[1][layer])} <= first or best[0][layer] == best[1][layer]


def test_many_classes_from_end_to_end(tiny, tmp_path):
    from tables import write_tsv

    words = ["funny", "dull", "wonderful"]
    rows = [(f"the {words[i % 3]} film number {i}", words[i % 3]) for i in range(300)]
    data = write_tsv(tmp_path / "three.tsv", ["text", "label"], rows)
    out = make_run(tiny("bert"), tmp_path / "run", data)
    table = artifacts.load(out / "accuracy-test.safetensors", "accuracy")
    assert table["accuracy"].shape[0] == 3 and table.meta["contrasts"] == ["0:1,2", "1:0,2", "2:0,1"]
    skn("select", "--run", out)
    assert artifacts.load(out / "neurons.safetensors", "neurons").meta["rankings"] == 3
    skn("select", "--run", out, "--contrast", "2:0", "--out", tmp_path / "c.safetensors")
    skn("mask", "--run", out, "--fraction", "0.5", "--controls", 1)


def test_mask_sweep_resumes_and_is_reproducible(copy, tmp_path):
    arguments = ("mask", "--run", copy, "--fraction", "0:0.5:0.25", "--controls", 3)
    skn(*arguments)
    table = json.loads((copy / "mask-zero.json").read_text())
    assert [r["fraction"] for r in table["rows"]] == [0.0, 0.25, 0.5]
    assert [r["neurons"] for r in table["rows"]] == [0, 36, 72]
    assert table["rows"][0]["controls"] is None
    examples = len(Run.open(copy).load().encoded(table["split"]))
    for row in table["rows"]:
        assert row["interval"] == list(share_interval(row["accuracy"], examples))
    accuracies = MaskTable(table).table().records()[::2]
    assert [row["95% of chosen"] for row in accuracies] == [row["interval"] for row in table["rows"]]
    for row in table["rows"][1:]:
        for measure in ("accuracy", "auc"):
            control = row["controls"][measure]
            assert len(control["draws"]) == 3
            assert control["mean"] == pytest.approx(sum(control["draws"]) / 3)
            assert min(control["draws"]) <= control["low"] <= control["high"] <= max(control["draws"])
            expected = ttest_1samp(control["draws"], 0).confidence_interval(0.95)
            assert (control["mean_low"], control["mean_high"]) == pytest.approx(tuple(expected))
    whole = (copy / "mask-zero.json").read_bytes()
    edit(copy / "mask-zero.json", lambda table: table.update(rows=table["rows"][:2]))
    skn(*arguments, "--resume")
    assert (copy / "mask-zero.json").read_bytes() == whole
    assert run([*map(str, arguments), "--resume", "--seed", "1"]) == 2


@pytest.mark.parametrize("method", ["prompt", "bitfit", "adapter"])
def test_mask_kinds_on_every_method(tiny, corpus_folder, tmp_path, method):
    out = tmp_path / method
    skn(
        "train", "--backbone", tiny("roberta"), "--data", corpus_folder, "--out", out, "--epochs", 1, "--method", method
    )
    skn("probe", "--run", out)
    skn("select", "--run", out)
    for kind in ("zero", "mean", "gaussian", "scale", "resample"):
        skn("mask", "--run", out, "--kind", kind, "--fraction", 0.3, "--controls", 1, "--layers", "1:3")
        assert json.loads((out / f"mask-{kind}.json").read_text())["rows"][0]["neurons"] == 28


def test_prune_evaluate_and_go_round_again(copy, corpus_folder):
    skn("prune", "--run", copy, "--count", "5,20", "--layers", "1:3")
    pruned = copy / "pruned"
    summary = json.loads((copy / "prune.json").read_text())
    assert summary["widths"] == [48, 5, 20] and summary["parameters_after"] < summary["parameters_before"]
    assert (pruned / "README.md").read_text().startswith("---\nlibrary_name: transformers")
    skn("evaluate", "--run", copy, "--speed", "--repeats", 1)
    models = json.loads((copy / "evaluate-test.json").read_text())["models"]
    assert [m["name"] for m in models] == ["full", "pruned"] and all(
        m["examples_per_second"]["median"] > 0 for m in models
    )
    # What evaluate says of the pruned folder is what Hugging Face's own pipeline answers.
    loaded = Run.open(copy).load()
    data = loaded.data
    answers = transformers.pipeline("text-classification", str(pruned))(data.split("test").text)
    right = [a["label"] == loaded.class_names[y] for a, y in zip(answers, data.split("test").label, strict=True)]
    assert sum(right) / len(right) == models[1]["accuracy"]
    # Tuned again, probed, pruned again: original indices all the way.
    again = make_run(pruned, copy / "again", corpus_folder, "--init-from", copy)
    skn("select", "--run", again)
    hits = artifacts.load(again / "hits-test.safetensors", "hits")
    assert (
        hits["present"].sum(1).tolist() == [48, 5, 20]
        and hits["hits"][:, ~hits["present"][:, None].expand(3, 4, 48)].sum() == 0
    )
    skn("prune", "--run", again, "--fraction", 0.2, "--layers", "2:3")
    kept = transformers.AutoModelForSequenceClassification.from_pretrained(again / "pruned").backbone.present
    assert kept.sum(1).tolist() == [48, 5, 4] and not (kept & ~hits["present"]).any()


def test_a_fixed_set_is_masked_and_kept(copy):
    chosen = torch.zeros(3, 48, dtype=torch.bool)
    chosen[:, ::4] = True
    file = artifacts.save(copy / "set.safetensors", "neurons", {"selected": chosen}, {})
    skn("mask", "--run", copy, "--neurons", file, "--controls", 1)
    assert json.loads((copy / "mask-zero.json").read_text())["rows"][0]["neurons"] == 36
    skn("prune", "--run", copy, "--neurons", file)
    assert json.loads((copy / "prune.json").read_text())["widths"] == [12, 12, 12]


def test_thresholds_of_another_file(copy):
    threshold = torch.randn(3, 1, 48, dtype=torch.float64)
    file = artifacts.save(copy / "other.safetensors", "thresholds", {"threshold": threshold}, {})
    skn("prune", "--run", copy, "--fraction", 0.5, "--thresholds", file, "--out", copy / "a")
    skn("prune", "--run", copy, "--fraction", 0.5, "--out", copy / "b")
    bias = [
        transformers.AutoModelForMaskedLM.from_pretrained(copy / n).roberta.encoder.layer[1].output.dense.bias
        for n in "ab"
    ]
    assert (bias[0] - bias[1]).abs().max() > 1e-3
    skn("mask", "--run", copy, "--kind", "mean", "--fraction", 0.5, "--thresholds", file, "--controls", 0)


def test_gpt2_from_end_to_end(tiny, corpus_folder, tmp_path):
    out = make_run(tiny("gpt2"), tmp_path / "gpt2", corpus_folder)
    assert artifacts.load(out / "tuned.safetensors", "tuned")["prompt"].shape == (4, 32)
    skn("select", "--run", out)
    skn("activate", "--run", out, "--empty")
    skn("mask", "--run", out, "--fraction", 0.2, "--controls", 1)
    skn("prune", "--run", out, "--fraction", 0.5, "--retune", 1)
    skn("evaluate", "--run", out)
    evaluated = json.loads((out / "evaluate-test.json").read_text())["models"]
    assert [model["name"] for model in evaluated] == ["full", "pruned"]
    skn("predict", "--model", out / "pruned", "--text", "the film is funny")
    skn("report", "--run", out)
    again = make_run(out / "pruned", tmp_path / "again", corpus_folder)
    assert Run.open(again).load().model.backbone.present.sum(1).tolist() == [24, 24, 24]


def test_same_inputs_same_bytes(tiny, corpus_folder, base, tmp_path):
    again = make_run(tiny("roberta"), tmp_path / "again", corpus_folder)
    skn("select", "--run", again, "--out", tmp_path / "n.safetensors")
    for file in base.iterdir():
        if file.suffix in (".safetensors", ".json") and file.name not in ("timings.json", "neurons.safetensors"):
            assert (again / file.name).read_bytes() == file.read_bytes(), file.name
    ranks = [artifacts.load(f, "neurons")["rank"] for f in (base / "neurons.safetensors", tmp_path / "n.safetensors")]
    assert torch.equal(*ranks)


def test_bfloat16_probe_says_so(copy):
    skn("probe", "--run", copy, "--dtype", "bfloat16", "--overwrite")
    assert artifacts.load(copy / "hits-test.safetensors", "hits").provenance["dtype"] == "bfloat16"


def test_bf16x3_says_so_and_reaches_the_pruned_model(copy):
    for dtype in ("float32", "bf16x3"):
        skn("probe", "--run", copy, "--dtype", dtype, "--overwrite")
        skn("activate", "--run", copy, "--all", "--dtype", dtype, "--overwrite")
        stored = artifacts.load(copy / "activations-all-test.safetensors", "activations")
        assert (stored.provenance["dtype"], stored.provenance["engine"]) == (dtype, "fast")
        assert artifacts.load(copy / "hits-test.safetensors", "hits").provenance["dtype"] == dtype
        if dtype == "float32":
            plain = stored["activations"]
    assert not torch.equal(stored["activations"], plain)
    torch.testing.assert_close(stored["activations"], plain, rtol=1e-4, atol=1e-4)
    skn("mask", "--run", copy, "--fraction", 0.2, "--controls", 1, "--dtype", "bf16x3")
    skn("select", "--run", copy, "--overwrite")
    assert json.loads((copy / "mask-zero.json").read_text())["dtype"] == "bf16x3"
    skn("prune", "--run", copy, "--fraction", 0.5)
    skn("evaluate", "--run", copy, "--dtype", "bf16x3")
    table = json.loads((copy / "evaluate-test.json").read_text())
    assert table["dtype"] == "bf16x3" and [m["engine"] for m in table["models"]] == ["fast", "fast"]
    skn("report", "--run", copy)
    assert "bf16x3" in (copy / "report" / "index.html").read_text()


def test_lists(capsys):
    skn("tasks")
    skn("doctor")
    out = capsys.readouterr().out
    assert "sst2" in out and out.index("native code:") < out.index("Versions") and "accumulate_hits" in out


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "probe",
        "activate",
        "select",
        "mask",
        "prune",
        "export",
        "evaluate",
        "binarize",
        "report",
        "import",
        "demo",
        "tasks",
        "doctor",
    ],
)
def test_every_command_has_help(command, capsys):
    skn(command, "--help")
    assert len(capsys.readouterr().out) > 200


def test_the_probe_names_nan_neurons_and_select_ranks_them_last(tiny, corpus_folder, tmp_path, caplog):
    model = transformers.RobertaForMaskedLM.from_pretrained(tiny("roberta"))
    with torch.no_grad():
        model.roberta.encoder.layer[2].intermediate.dense.bias[9] = torch.nan
    model.save_pretrained(tmp_path / "model")
    transformers.AutoTokenizer.from_pretrained(tiny("roberta")).save_pretrained(tmp_path / "model")
    skn("train", "--backbone", tmp_path / "model", "--data", corpus_folder, "--out", tmp_path / "run", "--epochs", 0)
    with caplog.at_level("WARNING"):
        skn("probe", "--run", tmp_path / "run")
    assert "activation total of 1 neurons is NaN" in caplog.text and "2,9" in caplog.text
    skn("select", "--run", tmp_path / "run")
    found = artifacts.load(tmp_path / "run" / "neurons.safetensors", "neurons")
    assert torch.isnan(found["score"][2, 9]) and found["rank"][2, 9] == 47
