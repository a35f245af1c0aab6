"""Runs and artifacts that are damaged, foreign or missing, and a full disk: one line, exit code 2, nothing changed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import datasets
import pytest
import safetensors.torch
import torch
import transformers
from refusals import command

from skn import artifacts
from skn.cli import run as skn

STAGES = {
    "probe": ["probe", "--overwrite"],
    "select": ["select", "--overwrite"],
    "mask": ["mask", "--fraction", "0.1"],
    "mean": ["mask", "--kind", "mean", "--fraction", "0.1"],
    "prune": ["prune", "--fraction", "0.5"],
    "evaluate": ["evaluate"],
    "activate": ["activate", "--neuron", "best"],
    "report": ["report"],
}


def on(stage: str, *options, run="run") -> list[str]:
    """The arguments of a stage of a run."""
    return [*STAGES[stage], "--run", run, *options]


@pytest.fixture(scope="module")
def runs(tiny, corpus_folder, tmp_path_factory):
    """``runs(family, prompt_length)``: an untrained run, probed and selected."""
    made: dict[tuple, Path] = {}

    def build(family: str = "roberta", prompt_length: int = 4) -> Path:
        key = family, prompt_length
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / f"{family}-{prompt_length}"
            train = ["train", "--backbone", tiny(family), "--data", corpus_folder, "--out", out, "--epochs", 0]
            assert skn([str(a) for a in (*train, "--prompt-length", prompt_length)]) == 0
            assert skn(["probe", "--run", str(out)]) == skn(["select", "--run", str(out)]) == 0
            made[key] = out
        return made[key]

    return build


@pytest.fixture
def run(runs, tmp_path) -> Path:
    """A copy of the good run that a test may spoil."""
    return Path(shutil.copytree(runs(), tmp_path / "run"))


def rewrite(path: Path, change) -> None:
    """Pass the tensors of an artifact through ``change``, unchecked."""
    description, tensors = artifacts.read_safetensors(path)
    change(tensors)
    path.write_bytes(safetensors.torch.save(tensors, metadata={"skn": json.dumps(description)}))


def set_nan(name: str, *index):
    def change(tensors):
        tensors[name][index] = torch.nan

    return change


# ---- the run itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_not_a_run_or_not_finished(refused, run, tmp_path, stage):
    refused(on(stage, run="."), ".: not a run (no run.json in it)", "skn train --out DIR")
    refused(on(stage, run="nowhere"), "nowhere: not a run")
    stored = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**stored, "training": None}))
    refused(on(stage), "run: training has not finished", "skn train --resume --out run")


@pytest.mark.parametrize(
    "change", ["", "{", "[]", "{}", '{"config": {}, "training": {}}', '{"config": null, "training": null}']
)
@pytest.mark.parametrize("arguments", [on("evaluate"), ["train", "--resume", "--out", "run"]], ids=["stage", "resume"])
def test_damaged_run_json(refused, run, arguments, change):
    (run / "run.json").write_text(change)
    refused(arguments, "run/run.json: damaged or of another version of skn", "train the run again")


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", "3"),
        ("label_words", "good"),
        ("label_words", [1, 2]),
        ("lr", None),
        ("seed", 0.5),
        ("data", {"task": 1}),
    ],
)
def test_run_json_with_a_value_of_the_wrong_type(refused, run, field, value):
    stored = json.loads((run / "run.json").read_text())
    stored["config"][field] = value
    (run / "run.json").write_text(json.dumps(stored))
    refused(on("evaluate"), "run/run.json: damaged or of another version of skn", "train the run again")


def test_the_fast_engine_where_it_cannot_run(refused, run):
    arguments = on("probe", "--pool", "mean", "--engine", "fast", "--overwrite")
    refused(arguments, "--engine fast: pooling over text tokens", "use --engine hf")


def test_bf16x3_where_it_cannot_be_computed(refused, run):
    arguments = on("probe", "--dtype", "bf16x3", "--overwrite")
    refused([*arguments, "--engine", "hf"], "--dtype bf16x3: the engine hf has no such products", "use --dtype float32")
    refused([*arguments, "--pool", "mean"], "--dtype bf16x3: pooling over text tokens", "use --dtype float32")


def test_resume_with_another_backbone(refused, run, tiny):
    refused(["train", "--resume", "--out", "run", "--backbone", tiny("bert")], "run was started with --backbone", "not")


@pytest.fixture
def moved_data(run, corpus_folder, tmp_path) -> Path:
    """The run, now reading a copy of its data that a test may change."""
    data = Path(shutil.copytree(corpus_folder, tmp_path / "data"))
    stored = json.loads((run / "run.json").read_text())
    stored["config"]["data"]["data"] = str(data)
    (run / "run.json").write_text(json.dumps(stored))
    return data


@pytest.mark.parametrize("stage", ["probe", "evaluate"])
def test_data_that_has_changed(refused, moved_data, stage):
    with open(moved_data / "test.tsv", "a") as file:
        file.write("one more text\t1\n")
    refused(on(stage), f"{moved_data}: the data has changed since", "train a new run on it")


def test_data_that_is_gone(refused, moved_data):
    shutil.rmtree(moved_data)
    refused(on("evaluate"), f"{moved_data}: no such file or folder")


# ---- artifacts -------------------------------------------------------------------------------------------------

READERS = {
    "tuned": [("probe", "skn train"), ("select", "skn train"), ("evaluate", "skn train"), ("report", "skn train")],
    "splits": [("evaluate", "skn train")],
    "moments": [("mean", "damaged"), ("prune", "damaged")],
    "hits-validation": [("select", "skn probe")],
    "neurons": [("mask", "skn select"), ("prune", "skn select"), ("activate", "skn select"), ("report", "skn select")],
}
READS = [(name, stage, hint) for name, readers in READERS.items() for stage, hint in readers]


@pytest.mark.parametrize("name, stage, hint", READS)
def test_truncated(refused, run, name, stage, hint):
    file = run / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(on(stage), f"{name}.safetensors: damaged or not a safetensors file", hint)


@pytest.mark.parametrize("name, stage, hint", READS)
def test_of_another_kind(refused, run, name, stage, hint):
    other = "splits" if name == "neurons" else "neurons"
    shutil.copy(run / f"{other}.safetensors", run / f"{name}.safetensors")
    refused(on(stage), f"{name}.safetensors: holds '{other}', expected", name.split("-")[0])


def test_not_written_by_skn(refused, run):
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save({"rank": torch.zeros(3, 48)}))
    refused(on("mask"), "neurons.safetensors: not written by skn", "skn import")
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, metadata={"skn": "[1]"}))
    refused(on("mask"), "neurons.safetensors: damaged", "skn select")


def test_of_a_later_version(refused, run):
    description, tensors = artifacts.read_safetensors(run / "neurons.safetensors")
    text = json.dumps({**description, "format_version": 99})
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save(tensors, metadata={"skn": text}))
    refused(on("mask"), "format version 99, this skn reads 1", "skn select")


@pytest.mark.parametrize(
    "family, prompt_length, said", [("bert", 4, "another backbone"), ("roberta", 6, "another prompt length")]
)
def test_of_another_run(refused, run, runs, family, prompt_length, said):
    other = runs(family, prompt_length)
    made = f"made for {said}", "give one made for this run"
    for stage in ("mean", "prune"):
        refused(on(stage, "--thresholds", other / "moments.safetensors"), "moments.safetensors", *made)
        refused(on(stage, "--thresholds", other / "hits-test.safetensors"), "hits-test.safetensors", *made)
    if said == "another backbone":  # a ranking is of neurons, whatever the prompt
        refused(on("mask", "--neurons", other / "neurons.safetensors"), "neurons.safetensors", *made)
        refused(on("prune", "--neurons", other / "neurons.safetensors"), "neurons.safetensors", *made)
        refused(["select", "--run", "run", "--run", other, "--overwrite"], "hits-validation.safetensors", *made)
        refused(["select", "--run", "run", "--with", other, "--overwrite"], "hits-validation.safetensors", *made)
    for name, stage in (
        ("moments", "mean"),
        ("moments", "prune"),
        ("hits-validation", "select"),
        ("tuned", "evaluate"),
    ):
        kept = (run / f"{name}.safetensors").read_bytes()
        shutil.copy(other / f"{name}.safetensors", run / f"{name}.safetensors")
        refused(on(stage), f"{name}.safetensors", *made)
        (run / f"{name}.safetensors").write_bytes(kept)


def test_of_another_shape(refused, run):
    """What carries no digest, as imported files do not, is told by its shape."""
    artifacts.save(run / "t.safetensors", "thresholds", {"threshold": torch.zeros(3, 1, 64, dtype=torch.float64)}, {})
    artifacts.save(run / "n.safetensors", "neurons", {"rank": torch.arange(64).repeat(3, 1)}, {})
    for stage in ("mean", "prune"):
        refused(
            on(stage, "--thresholds", "run/t.safetensors"),
            "t.safetensors: thresholds of [3, 64] neurons",
            "has [3, 48]",
        )
        refused(
            on(stage, "--neurons", "run/n.safetensors"), "n.safetensors: neurons [3, 64], this backbone has [3, 48]"
        )


@pytest.mark.parametrize("stage", ["probe", "evaluate"])
def test_tuned_prompt_with_nan(refused, run, stage):
    rewrite(run / "tuned.safetensors", set_nan("prompt", 1, 7))
    refused(on(stage), "tuned.safetensors: tensor 'prompt' holds NaN", "skn train")


def test_thresholds_with_nan(refused, run):
    file = run / "t.safetensors"
    artifacts.save(file, "thresholds", {"threshold": torch.zeros(3, 1, 48, dtype=torch.float64)}, {})
    rewrite(file, set_nan("threshold", 1, 0, 5))
    for stage in ("mean", "prune"):
        refused(on(stage, "--thresholds", file), "t.safetensors: tensor 'threshold' holds NaN")


def test_probed_thresholds_with_nan(refused, run):
    """A probe may store a NaN; the sweep is refused before its first row is written, controls included."""
    rewrite(run / "moments.safetensors", set_nan("total", 0, 1, 2, 5))
    for options in (["--fraction", "0:1:0.5", "--controls", 0], ["--fraction", "0.0:0.1:0.1"]):
        refused(on("mean", *options), "the mean of neuron 1,5 is NaN", "other --thresholds")
    rewrite(run / "neurons.safetensors", lambda t: t["rank"].copy_(torch.arange(47, -1, -1).repeat(3, 1)))
    refused(on("prune"), "layer 1: a removed neuron's mean is NaN", "other --thresholds")


@pytest.mark.parametrize(
    "absent, stage, hint",
    [
        ("hits-validation", "select", "skn probe --run run"),
        ("moments", "mean", "skn probe --run run"),
        ("moments", "prune", "skn probe --run run"),
        ("neurons", "mask", "skn select"),
        ("neurons", "prune", "skn select"),
        ("neurons", "activate", "skn select"),
        ("tuned", "probe", "skn train"),
    ],
)
def test_stage_before_its_time(refused, run, absent, stage, hint):
    (run / f"{absent}.safetensors").unlink()
    refused(on(stage), f"{absent}.safetensors: no", hint)


def test_pooled_readout_before_it_is_probed(refused, run):
    hint = "skn probe --pool mean --run run"
    refused(on("select", "--readout", "mean"), "hits-mean-validation.safetensors: not there", hint)


# ---- options ---------------------------------------------------------------------------------------------------

LAYERS = {
    "2:9": "empty or out of range",
    "-1:2": "out of range",
    "2:2": "empty",
    "2:1": "empty",
    "a:b": "LOW:HIGH",
    "1": "LOW:HIGH",
}
SWEEPS = {"1.5": "outside 0 to 1", "-0.1": "outside 0 to 1", "0:2:0.1": "outside 0 to 1", "nan": "outside 0 to 1",
          "0:inf:1": "outside 0 to 1", "a": "FIRST:LAST:STEP", "0:1": "FIRST:LAST:STEP", "0:1:0": "FIRST:LAST:STEP",
          "0:0.2:nan": "FIRST:LAST:STEP", "": "FIRST:LAST:STEP", "0.2:0:0.1": "FIRST must not exceed LAST",
          "0:1:1e-9": "nor the values 10000"}  # fmt: skip
OPTIONS = [
    *[(on(stage, "--layers", text), f"--layers {text}: ", said) for text, said in LAYERS.items() for stage in ("mask", "prune")],
    *[(["mask", "--run", "run", "--fraction", text], f"--fraction {text}: ", said) for text, said in SWEEPS.items()],
    (["prune", "--run", "run", "--fraction", 1.5], "--fraction 1.5: outside 0 to 1"),
    (["prune", "--run", "run", "--fraction", -0.1], "--fraction -0.1: outside 0 to 1"),
    (["prune", "--run", "run", "--fraction", 0], "layer 0 would keep no neuron; keep at least one"),
    (["prune", "--run", "run", "--count", 49], "--count 49: layer 0 has 48 neurons; keep 1 to 48"),
    (["prune", "--run", "run", "--count", 0], "--count 0: layer 0 has 48 neurons; keep 1 to 48"),
    (["prune", "--run", "run", "--count", "9,0,9"], "--count 0: layer 1 has 48 neurons"),
    (["prune", "--run", "run", "--count", "9,9"], "--count 9,9: 2 numbers for 3 layers"),
    (["prune", "--run", "run", "--count", "9,x"], "--count 9,x: expected a number, or one for each layer"),
    (["prune", "--run", "run"], "either --fraction or --count"),
    (["prune", "--run", "run", "--fraction", 0.5, "--count", 9], "either --fraction or --count"),
    (["mask", "--run", "run"], "neurons.safetensors: a ranking; say where to cut it with --fraction"),
    (on("mask", "--kind", "scale", "--alpha", "inf"), "--alpha"),
    (on("mask", "--device", "nonsense"), "--device nonsense: use cpu or cuda"),
    (on("mask", "--neurons", "none"), "none: not there", "--neurons"),
    (on("mean", "--thresholds", "none"), "none: not there", "--thresholds"),
    (on("probe", "--pool", "median"), "--pool median: expected mean, max or mean,max"),
    (on("probe", "--device", "cuda:3"), "--device cuda:3: use cpu or cuda"),
    (["activate", "--run", "run"], "say what to read: --neuron", "--empty or --all"),
    (["activate", "--run", "run", "--all", "--empty"], "say what to read"),
    *[(["activate", "--run", "run", "--neuron", n], f"--neuron {n}: out of range", "layers 0:3 and neurons 0:48")
      for n in ("3,0", "0,48", "-1,0")],
    *[(["activate", "--run", "run", "--neuron", n], f"--neuron {n}: expected LAYER,NEURON") for n in ("a", "1", "1,2,3", "0.5,1")],
    *[(on("select", "--contrast", c), f"--contrast {c}: expected CLASSES:CLASSES", "classes 0 to 1")
      for c in ("1", "a:b", "1:1", "2:0", ":", "0,1:rest")],
    (on("select", "--contrast", "1:0", "--with", "run"), "--contrast and --with exclude each other"),
    (on("select", "--with", "nowhere"), "nowhere: not a run"),
    (on("select", "--out", "run/run.json/n"), "run/run.json/n: cannot be written (Not a directory)"),
    (on("select", "--out", "run"), "run: cannot be written (Is a directory)"),
    (on("select", "--out", "."), ".: cannot be written"),
    (on("prune", "--out", "run/run.json/p"), "run/run.json/p: cannot be written (Not a directory)"),
    (on("evaluate", "--model", "nowhere"), "nowhere: not the folder of a model", "skn prune"),
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments, phrases", [(a, p) for a, *p in OPTIONS], ids=[" ".join(map(str, a)) for a, *_ in OPTIONS]
)
def test_options(refused, run, arguments, phrases):
    refused(arguments, *phrases)


def test_seeds_of_different_tasks(refused, run, tmp_path):
    def third_class(tensors):
        tensors["count"] = torch.cat([tensors["count"], tensors["count"][:1]])
        tensors["hits"] = torch.cat([tensors["hits"], tensors["hits"][:1]])

    other = Path(shutil.copytree(run, tmp_path / "other"))
    rewrite(other / "hits-validation.safetensors", third_class)
    arguments = ["select", "--run", "run", "--run", "other", "--out", "n"]
    refused(arguments, "other/hits-validation.safetensors: 3 classes", "seeds share a task")


def test_a_fixed_set_has_no_ranking(refused, run):
    chosen = torch.zeros(3, 48, dtype=torch.bool)
    artifacts.save(run / "neurons.safetensors", "neurons", {"selected": chosen}, {})
    refused(on("mask"), "a fixed set of neurons; --fraction needs a ranking", "skn select")
    refused(on("activate"), "--neuron best:", "neurons.safetensors is a fixed set without scores", "skn select")


def test_models_that_are_not_pruned_from_the_run(refused, run, runs, tiny, tmp_path):
    refused(on("evaluate", "--model", tiny("roberta")), "not a model pruned by skn (no prompt inside)", "skn prune")
    for family, prompt_length in (("bert", 4), ("roberta", 6)):
        out = tmp_path / family
        assert command(on("prune", "--out", out, run=runs(family, prompt_length))) == 0
        refused(
            on("evaluate", "--model", out), f"{out}: made from another backbone or for shorter texts", "give one pruned"
        )
    weights = tmp_path / "roberta" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(on("evaluate", "--model", "roberta"), "roberta: no model that can be loaded", "prune it again")


# ---- output that exists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, output",
    [
        (["probe", "--run", "run"], "moments.safetensors"),
        (["select", "--run", "run"], "neurons.safetensors"),
        (on("mask"), "mask-zero.json"),
        (on("prune"), "pruned"),
        (on("evaluate"), "evaluate-test.json"),
        (on("activate"), "activations-neuron-test.safetensors"),
        (["activate", "--run", "run", "--all"], "activations-all-test.safetensors"),
        (["import", "run/tuned.safetensors", "--out", "run/imported"], "imported"),
        (["train", "--out", "run", "--backbone", "any"], ""),
    ],
)
def test_output_that_exists(refused, run, arguments, output):
    if not (run / output).exists():
        (run / output).write_text("results of another day")
    refused(arguments, f"{Path('run') / output}: exists already", "--overwrite")


def test_prune_deletes_nothing_but_pruned_models(refused, run):
    (run.parent / "work").mkdir()
    (run.parent / "work" / "thesis.txt").write_text("years of work")
    refused(
        on("prune", "--out", "work", "--overwrite"), "work: is no pruned model", "will not be deleted", "another --out"
    )
    refused(on("prune", "--out", "run/run.json", "--overwrite"), "run.json: is no pruned model")


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": [{}]}', '{"kind": "scale", "rows": []}'])
def test_resumed_sweep_that_does_not_fit(refused, run, content):
    (run / "mask-zero.json").write_text(content)
    refused(on("mask", "--resume"), "mask-zero.json: ", "--overwrite replaces it")


# ---- a full disk -----------------------------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raises(error):
    def fail(*_args, **_kwargs):
        raise error

    return fail


@pytest.mark.parametrize("stage", [*(s for s in STAGES if s != "mean"), "train", "new train", "import"])
def test_full_disk(refused, run, tiny, corpus_folder, tmp_path, monkeypatch, stage):
    train = ["train", "--backbone", tiny("roberta"), "--data", corpus_folder, "--prompt-length", 4, "--epochs", 0]
    arguments = {
        "train": [*train, "--out", "run", "--overwrite"],
        "new train": [*train, "--out", "deep/er/run"],
        "import": ["import", "foreign", "--out", "deep/er/set.safetensors"],
    }
    torch.save(torch.ones(3, 48, dtype=torch.bool), tmp_path / "foreign")
    if stage == "prune":
        assert command(on("prune")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", raises(FULL))
        options = ["--overwrite", "--out", "run/pruned"] if stage == "prune" else []
        refused(arguments.get(stage) or on(stage, *options), "cannot be written (No space left on device)")


def test_full_disk_while_others_write(refused, run, tmp_path, monkeypatch):
    """What transformers and datasets write, and space that is taken in advance."""
    model, saved = transformers.PreTrainedModel, datasets.DatasetDict
    for error in (FULL, safetensors.SafetensorError("No space left on device")):
        with monkeypatch.context() as patch:
            patch.setattr(model, "save_pretrained", raises(error))
            refused(
                on("prune", "--out", "deep/er/pruned"), "deep/er/pruned: cannot be written", "No space left on device"
            )
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", raises(FULL))
        refused(["activate", "--run", "run", "--all"], "cannot be written (No space left on device)")
    (tmp_path / "d.csv").write_text("text,label\n" + "".join(f"text {i},{i % 3}\n" for i in range(120)))
    with monkeypatch.context() as patch:
        patch.setattr(saved, "save_to_disk", raises(FULL))
        refused(["binarize", "--data", "d.csv", "--out", "deep/er"], "cannot be written (No space left on device)")
