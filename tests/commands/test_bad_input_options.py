"""Options of the stages that do not fit the run, and output that exists: one line, exit code 2, nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from refusals import command
from spoiled import on, redescribe, rewrite

from skn.store import artifacts, documents, folders

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
    (on("mask", "--alpha", 0.5), "--alpha 0.5: goes with --kind gaussian or scale, not zero"),
    (on("mean", "--alpha", 0.5), "--alpha 0.5: goes with --kind gaussian or scale, not mean"),
    (["mask", "--run", "run", "--fraction", "0.1,a"], "--fraction a: expected a number or FIRST:LAST:STEP", "with commas"),
    (on("mask", "--device", "nonsense"), "--device nonsense: use cpu or cuda"),
    (on("mask", "--thresholds", "run/moments.safetensors"), "--thresholds: goes with --kind mean, not zero"),
    (on("mask", "--seed", 3, "--controls", 0), "--seed 3: has no effect with --controls 0"),
    (on("mask", "--match", "overall", "--controls", 0), "--match overall: has no effect with --controls 0"),
    (on("mask", "--overwrite", "--resume"), "--overwrite has no effect with --resume"),
    (["evaluate", "--run", "run", "--repeats", 3], "--repeats goes with --speed; leave it out, or give both"),
    (["report", "--run", "run", "--data", "run"], "--data: the report reads data for the texts of stored neurons", "activate"),
    (["activate", "--run", "run", "--empty", "--split", "train"], "--split has no effect with --empty"),
    (["activate", "--run", "run", "--empty", "--batch-tokens", 9], "--batch-tokens has no effect with --empty"),
    (on("mask", "--neurons", "none"), "none: not there", "--neurons"),
    (on("mean", "--thresholds", "none"), "none: not there", "--thresholds"),
    (on("probe", "--at", "medien"), "--at medien: expected prompt, mask, last, mean, max; did you mean 'mean'?"),
    (on("probe", "--device", "cuda:3"), "--device cuda:3: use cpu or cuda"),
    (["activate", "--run", "run"], "say what to read: --best N, --neuron", "--empty or --all"),
    (["activate", "--run", "run", "--all", "--empty"], "say what to read"),
    *[(["activate", "--run", "run", "--neuron", n], f"--neuron {n}: out of range", "layers 0:3 and neurons 0:48")
      for n in ("3,0", "0,48", "-1,0")],
    *[(["activate", "--run", "run", "--neuron", n], f"--neuron {n}: expected LAYER,NEURON") for n in ("a", "1", "1,2,3", "0.5,1")],
    *[(on("select", "--contrast", c), f"--contrast {c}: expected CLASSES:CLASSES", "such as 2:0,1") for c in ("1", "a:b", ":")],
    *[(on("select", "--contrast", c), f"--contrast {c}: expected CLASSES:CLASSES", "classes 0 to 1")
      for c in ("1:1", "2:0", "0,1:rest")],
    (on("select", "--contrast", "1:0", "--with", "run"), "--contrast and --with exclude each other"),
    (on("select", "--with", "nowhere"), "nowhere: not a run"),
    (on("select", "--bootstrap", "1"), "--bootstrap 1: expected a whole number, 2 or more"),
    (on("select", "--bootstrap", "9", "--by", "auroc"), "--bootstrap and --by auroc exclude each other"),
    (on("select", "--bootstrap-fraction", "0.1"), "--bootstrap-fraction goes with --bootstrap"),
    (on("select", "--out", "run/run.json/n"), "run/run.json/n: cannot be written (Not a directory)"),
    (on("select", "--out", "run"), "run: is a folder; give the name of a file"),
    (on("select", "--out", "."), ".: is a folder; give the name of a file"),
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
    redescribe(other / "hits-validation.safetensors", lambda description: description.pop("confusion"))
    rewrite(other / "hits-validation.safetensors", third_class)
    arguments = ["select", "--run", "run", "--run", "other", "--out", "n"]
    refused(arguments, "other/hits-validation.safetensors: has 3 along C, this run has 2")


def test_a_fixed_set_has_no_ranking(refused, run):
    chosen = torch.zeros(3, 48, dtype=torch.bool)
    artifacts.save(run / "neurons.safetensors", "neurons", {"selected": chosen}, {})
    refused(on("mask"), "a fixed set of neurons; --fraction needs a ranking", "skn select")
    refused(on("activate"), "--neuron best:", "neurons.safetensors is a fixed set without scores", "skn select")


def test_models_that_are_not_pruned_from_the_run(refused, run, runs, tiny, tmp_path):
    refused(
        on("evaluate", "--model", tiny("roberta")),
        "not a model pruned or exported by skn (no prompt inside)",
        "skn prune",
    )
    for family, prompt_length in (("bert", 4), ("roberta", 6)):
        out = tmp_path / family
        assert command(on("prune", "--out", out, run=runs(family, prompt_length))) == 0
        refused(
            on("evaluate", "--model", out),
            f"{out}: has another vocabulary or is for shorter texts",
            "give one over a backbone",
        )
    weights = tmp_path / "roberta" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(on("evaluate", "--model", "roberta"), "roberta/model.safetensors: not what skn wrote there")
    (tmp_path / "roberta" / folders.MARK).unlink()
    refused(on("evaluate", "--model", "roberta"), "roberta: no weights that transformers can load")


# ---- output that exists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, output",
    [
        (["probe", "--run", "run"], "moments.safetensors"),
        (["select", "--run", "run"], "neurons.safetensors"),
        (on("mask"), "mask-zero.json"),
        (on("evaluate"), "evaluate-test.json"),
        (on("activate"), "activations-neuron-test.safetensors"),
        (["activate", "--run", "run", "--all"], "activations-all-test.safetensors"),
        (["import", "run/tuned.safetensors", "--out", "run/imported"], "imported"),
        (["train", "--out", "run", "--backbone", "any"], ""),
    ],
)
def test_output_that_exists(refused, run, arguments, output):
    if not (run / output).exists():
        (run / output).parent.mkdir(exist_ok=True)
        (run / output).write_text("results of another day")
    refused(arguments, f"{Path('run') / output}: exists already", "--overwrite")


def test_a_pruned_model_that_exists(refused, run):
    assert command(on("prune")) == 0 and command(on("prune", "--overwrite")) == 0
    refused(on("prune"), "run/pruned: exists already", "--overwrite")


def test_prune_deletes_nothing_but_pruned_models(refused, run):
    (run.parent / "work").mkdir()
    (run.parent / "work" / "thesis.txt").write_text("years of work")
    refused(
        on("prune", "--out", "work", "--overwrite"), "work: is no pruned model", "will not be deleted", "another --out"
    )
    refused(on("prune", "--out", "run/run.json", "--overwrite"), "run.json: is no pruned model")


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": [{}]}'])
def test_resumed_sweep_that_is_damaged(refused, run, content):
    (run / "mask-zero.json").write_text(content)
    refused(on("mask", "--resume"), "mask-zero.json: damaged", "--overwrite replaces it")


def test_resumed_sweep_of_an_older_version(refused, run):
    """What a file does not say of its rows may be another thing."""
    said = {"kind": "zero", "alpha": None, "layers": [0, 3], "split": "test", "dtype": "float32", "neurons": "set"}
    documents.write(run / "mask-zero.json", "mask", {**said, "rows": []})
    refused(on("mask", "--resume"), "mask-zero.json was started with no word of controls, match, seed, …; ", "anew")
