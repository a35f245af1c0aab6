"""mask --sweep: bad options, cells and sets, and results of other settings."""

from __future__ import annotations

import shutil

import pytest
import torch
from filled_sweep import TASKS, make_rsa, make_sweep, random_ranks
from masked_sweeps import DRAWS, mask, results, skn
from options import replaced
from spoiled import edit, rewrite

from skn.runs.sweep import Cell

COMMAND = ["mask", "--sweep", "sweep", "--sets", "sets", "--controls", DRAWS]
BAD = {
    "unknown emotion": (["--emotions", "joi"], "--emotions joi: unknown", "'joy'"),
    "unknown attribute": (["--attributes", "arousel"], "--attributes arousel: unknown", "'arousal'"),
    "unknown count": (["--top", "30"], "--top 30: sets was cut at 20, 40"),
    "one draw": (["--controls", "1"], "--controls 1: a sweep takes 2 to 32767; an interval over the draws needs two"),
    "two matches": (["--match", "layer,overall"], "--match layer,overall: a sweep takes layer or overall, one of them"),
    "resample": (["--kind", "resample"], "--kind resample: a sweep is masked by zero or scale"),
    "mean": (["--kind", "mean"], "--kind mean: a sweep is masked by zero or scale"),
    "no factors": (["--kind", "scale"], "--kind scale: sets has no factors", "skn select --rsa"),
    "option of a run": (["--fraction", "0.1"], "--fraction goes with --run"),
    "both": (["--run", "sweep/emotion/joy/seed-1"], "give --run or --sweep"),
    "no sets": (["--sets", "sweep"], "sweep: no neuron sets", "skn select --rsa"),
    "no sweep": (["--sweep", "sets"], "sets: not a sweep"),
    "device": (["--device", "tpu"], "--device tpu: use cpu or cuda"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(own_sweep, refused, case):
    options, *said = BAD[case]
    refused(replaced(COMMAND, options), *said)


def test_a_sweep_needs_sets(own_sweep, refused):
    refused(["mask", "--sweep", "sweep"], "--sweep: needs --sets")
    refused(["mask"], "give --run or --sweep")
    refused(["mask", "--run", "sweep/emotion/joy/seed-1", "--top", "5"], "--top goes with --sweep")


def test_missing_and_unfinished_cells(own_sweep, refused):
    shutil.rmtree(own_sweep / "sweep/emotion/joy/seed-2")
    file = own_sweep / "sweep/emotion/fear/seed-1/run.json"
    edit(file, lambda stored: stored.update(training=None))
    refused(COMMAND, "2 of 6 cells are missing or unfinished (emotion/joy/seed-2, emotion/fear/seed-1)",
            "skn sweep --resume --out sweep", "--emotions")  # fmt: skip
    mask("sweep", "sets", "--emotions", "anger", "--top", "20")


def test_cells_of_another_shape_or_backbone(own_sweep, refused, tiny):
    folder = own_sweep / "sweep/emotion/fear/seed-2"
    rewrite(folder / "tuned.safetensors", lambda t: t.update(prompt=torch.zeros(5, 32)))
    refused(COMMAND, "fear/seed-2: tuned tensors", "'prompt': [5, 32]", "the cells of a sweep share a backbone")
    shutil.rmtree(folder)
    other = make_sweep(own_sweep / "other", tiny("bert"), TASKS[2:], (2,))
    shutil.copytree(other.folder(Cell(TASKS[2], 2)), folder)
    refused(
        COMMAND,
        "fear/seed-2: backbone ",
        "but ",
        "in sweep/emotion/joy/seed-1",
        "delete the one of the two that is of another",
    )


def test_sets_of_another_shape_or_backbone(own_sweep, refused):
    make_rsa("wide.safetensors", random_ranks(1, 3, 50), ["a"])
    skn("select", "--rsa", "wide.safetensors", "--top", 5, "--out", "wide")
    refused(["mask", "--sweep", "sweep", "--sets", "wide"], "neurons [3, 50], this backbone has [3, 48]")
    make_rsa("foreign.safetensors", random_ranks(1, 3, 48), ["a"], backbone_digest="another")
    skn("select", "--rsa", "foreign.safetensors", "--top", 5, "--out", "foreign")
    refused(["mask", "--sweep", "sweep", "--sets", "foreign"], "made for another backbone")
    (own_sweep / "sets/arousal-top40.safetensors").unlink()
    refused(COMMAND, "sets/arousal-top40.safetensors: missing", "skn select --rsa")
    (own_sweep / "sets/sets.json").write_text('{"top": [5]}')
    refused(COMMAND, "sets/sets.json: damaged", "skn select --rsa")


def test_files_of_another_folder_of_sets(own_sweep, refused):
    """Their weights and neurons went into the tests of specificity."""
    kept = (own_sweep / "sets/sets.json").read_bytes()
    edit(own_sweep / "sets/sets.json", lambda stored: stored["weights"]["valence"].update(joy=9.0))
    refused(COMMAND, "sets/sets.json: not what skn wrote there", "make the folder again")
    (own_sweep / "sets/sets.json").write_bytes(kept)
    edit(own_sweep / "sets/skn.json", lambda mark: mark["files"].clear())  # which files the folder was made with
    shutil.copy(own_sweep / "sets/arousal-top40.safetensors", own_sweep / "sets/valence-top20.safetensors")
    refused(COMMAND, "sets/valence-top20.safetensors: not the 20 best of 'valence', as sets/sets.json says")
    for name in ("top", "attributes"):
        edit(own_sweep / "sets/sets.json", lambda stored, name=name: stored.update({name: []}))
        refused(COMMAND, f"sets/sets.json: damaged or of another version of skn ({name}: List should have at least 1")
        (own_sweep / "sets/sets.json").write_bytes(kept)


def test_two_emotions_of_one_name(own_sweep, refused):
    file = own_sweep / "sweep/sweep.json"
    edit(file, lambda grid: grid["tasks"].append("other/joy"))
    refused(COMMAND, "two tasks are called 'joy'")


def test_names_of_sets_and_results_do_not_meet(own_sweep):
    """--sets sets --name b was the folder of --sets sets-b."""
    shutil.copytree(own_sweep / "sets", own_sweep / "sets-b")
    options = ["--emotions", "joy", "--attributes", "valence", "--top", "20"]
    mask("sweep", "sets", *options, "--name", "b")
    mask("sweep", "sets-b", *options)
    assert sorted(folder.name for folder in (own_sweep / "sweep/masked").iterdir()) == ["sets-b", "sets@b"]


def test_results_of_other_settings_are_kept_until_overwritten(own_sweep, refused):
    command = ["mask", "--sweep", "sweep", "--sets", "sets", "--emotions", "joy", "--top", "20", "--controls", 2]
    skn(*command)
    refused(command, "masked/sets: exists already; --overwrite replaces it, --resume continues")
    for options, said in {
        ("--match", "overall"): "match layer, not overall",
        ("--split", "validation"): "split test, not validation",
        ("--seed", 1): "draw_seed 0, not 1",
        ("--controls", 3): "draws 2, not 3",
        ("--dtype", "bfloat16"): "dtype float32, not bfloat16",
        ("--engine", "hf"): "engine fast, not hf",
    }.items():
        refused(replaced(command, ["--resume", *options]), "was started with " + said, "--overwrite")
    skn("select", "--rsa", "rsa.safetensors", "--top", 20, "--attributes", "valence", "--kind", "scale",
        "--out", "sets", "--overwrite")  # fmt: skip
    refused([*command, "--resume", "--kind", "zero"], "was started with sets ")
    skn(*command, "--overwrite")
    assert results(own_sweep, TASKS[0], 1, "valence").meta["mask"] == "scale"
