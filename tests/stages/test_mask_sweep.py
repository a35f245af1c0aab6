"""mask --sweep: every cell under the masks of every attribute, held against masks computed one by one."""

from __future__ import annotations

import csv
import json
import shutil
import signal

import numpy as np
import pyarrow.parquet
import pytest
import torch
from children import different, exit_code
from filled_sweep import (
    PLANTED_WORDS,
    PLANTS,
    SEEDS,
    TASKS,
    UNITS,
    make_rsa,
    make_sweep,
    planted_backbone,
    planted_data,
    planted_ranks,
    random_ranks,
)
from options import replaced
from refusals import tree
from spoiled import edit, rewrite

from skn.cli import run
from skn.inference.engine import predict
from skn.intervals import mean_interval, share_interval
from skn.model import backbone
from skn.neurons import mask as neurons_mask
from skn.neurons.masking import Mask
from skn.neurons.selection import random_factors, random_like
from skn.runs import mask_cell
from skn.runs.sweep import Cell, Sweep
from skn.seeds import generator
from skn.store import artifacts

NAMES = ["valence", "arousal"]
DRAWS = 3


def skn(*arguments):
    assert run([str(argument) for argument in arguments]) == 0


def mask(sweep, sets, *options):
    skn("mask", "--sweep", sweep, "--sets", sets, "--controls", DRAWS, *options)


@pytest.fixture(scope="module")
def base(tiny, tmp_path_factory):
    """A folder with a sweep, binary and scaled sets; not to be spoiled."""
    folder = tmp_path_factory.mktemp("masked")
    make_sweep(folder / "sweep", tiny("roberta"))
    distance = torch.rand(2, 6, dtype=torch.float64, generator=generator(0))
    conditions = ["joy", "anger", "fear", "love"]
    rsa = make_rsa(folder / "rsa.safetensors", random_ranks(2, 3, 48), NAMES, conditions, distance)
    skn("select", "--rsa", rsa, "--top", "20,40", "--out", folder / "sets")
    skn("select", "--rsa", rsa, "--top", "20", "--kind", "scale", "--out", folder / "scaled")
    return folder


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """The same, masked by all binary sets."""
    folder = tmp_path_factory.mktemp("done") / "all"
    shutil.copytree(base, folder)
    mask(folder / "sweep", folder / "sets")
    return folder


@pytest.fixture
def copy(base, tmp_path, monkeypatch):
    """A working folder of one's own: sweep, sets and scaled stand in it."""
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(folder, task, seed, attribute, sets="sets"):
    return artifacts.load(folder / "sweep/masked" / sets / task / f"seed-{seed}/{attribute}.safetensors", "masked")


def right(loaded, kind, chosen, factor=None):
    encoded = loaded.encoded("test")
    mask = Mask(kind, chosen, factor=factor)
    return predict(loaded.model, encoded, engine=loaded.engine, mask=mask).argmax(dim=1) == encoded.label


def test_every_file_is_what_single_masks_say(done):
    """Each cell loaded by itself, each mask applied by itself: the shared model mixes nothing up."""
    sweep = Sweep.open(done / "sweep")
    for cell in (Cell(TASKS[0], 2), Cell(TASKS[2], 1)):
        loaded = sweep.run(cell).load()
        encoded = loaded.encoded("test")
        for name in NAMES:
            found = results(done, cell.task, cell.seed, name)
            assert found["random_accuracy"].shape == (2, DRAWS) and found.meta["classes"] == ["0", "1"]
            unmasked = predict(loaded.model, encoded, engine=loaded.engine).argmax(dim=1) == encoded.label
            assert torch.equal(found["unmasked"], unmasked)
            for place, count in enumerate((20, 40)):
                chosen = artifacts.load(done / f"sets/{name}-top{count}.safetensors", "neurons")["selected"]
                assert torch.equal(found["masked"][place], right(loaded, "zero", chosen))
                draws = []
                for draw in range(DRAWS):
                    key = generator(0, "control", name, count, draw, "layer")
                    draws.append(right(loaded, "zero", random_like(chosen, torch.ones_like(chosen), key)))
                assert torch.equal(found["random"][place].long(), torch.stack(draws).sum(dim=0))
                torch.testing.assert_close(found["random_accuracy"][place], torch.stack(draws).double().mean(dim=1))
    assert found.meta["draws"] == DRAWS and found.meta["task"] == cell.task and found.provenance["seed"] == cell.seed


def test_the_cells_differ(done):
    """Otherwise the test above would pass with one cell's prompt in all."""
    found = [results(done, task, seed, "valence")["masked"] for task in TASKS for seed in SEEDS]
    assert len({tuple(f.flatten().tolist()) for f in found}) == len(found)


def test_factors_and_overall_draws(copy):
    mask("sweep", "scaled", "--match", "overall", "--attributes", "arousal", "--emotions", "anger", "--seed", 5)
    found = results(copy, TASKS[1], 1, "arousal", "scaled")
    assert (found.meta["mask"], found.meta["match"], found.meta["draw_seed"]) == ("scale", "overall", 5)
    assert sorted(p.name for p in (copy / "sweep/masked/scaled/emotion").iterdir()) == ["anger"]
    loaded = Sweep.open("sweep").run(Cell(TASKS[1], 1)).load()
    sets = artifacts.load(copy / "scaled/arousal-top20.safetensors", "neurons")
    assert torch.equal(found["masked"][0], right(loaded, "scale", sets["selected"], sets["factor"]))
    key = generator(5, "control", 20, 2)  # as 'mask --run --match overall' draws it
    drawn = random_like(sets["selected"], torch.ones_like(sets["selected"]), key, "overall")
    accuracy = right(loaded, "scale", drawn, random_factors(drawn, key)).double().mean()
    torch.testing.assert_close(found["random_accuracy"][0, 2], accuracy)


def test_tables(done):
    folder = done / "sweep/masked/sets"
    rows = list(csv.DictReader(open(folder / "accuracy.csv")))
    assert len(rows) == 3 * 2 * 2 * 2
    columns = "emotion,seed,attribute,top,accuracy,accuracy_low,accuracy_high,unmasked,random_mean,random_low,random_high,draws"
    assert ",".join(rows[0]) == columns
    assert [r["emotion"] for r in rows[::8]] == ["joy", "anger", "fear"]
    assert [
        {k: str(v) for k, v in row.items()}
        for row in pyarrow.parquet.read_table(folder / "accuracy.parquet").to_pylist()
    ] == rows
    row = next(r for r in rows if (r["emotion"], r["seed"], r["attribute"], r["top"]) == ("fear", "2", "arousal", "40"))
    found = results(done, TASKS[2], 2, "arousal")
    assert float(row["accuracy"]) == found["masked"][1].double().mean() and row["draws"] == str(DRAWS)
    ends = share_interval(float(row["accuracy"]), found["masked"].shape[1])
    assert (float(row["accuracy_low"]), float(row["accuracy_high"])) == ends
    draws = found["random_accuracy"][1].numpy()
    half = 4.302652730 * draws.std(ddof=1) / DRAWS**0.5
    interval = float(row["random_low"]), float(row["random_mean"]), float(row["random_high"])
    assert interval == pytest.approx((draws.mean() - half, draws.mean(), draws.mean() + half))
    document = json.loads((folder / "specificity.json").read_text())
    assert [(r["attribute"], r["top"]) for r in document["rows"]] == [(a, k) for a in NAMES for k in (20, 40)]
    drops = {
        seed: np.mean([float(r["random_mean"]) - float(r["accuracy"]) for r in rows
                       if (r["seed"], r["attribute"], r["top"]) == (str(seed), "arousal", "40")])
        for seed in SEEDS
    }  # fmt: skip
    drop = document["rows"][3]["drop"]
    assert (drop["mean"], drop["low"], drop["high"]) == pytest.approx(mean_interval(list(drops.values())))
    b = c = 0
    for task in TASKS:
        for seed in SEEDS:
            found = results(done, task, seed, "arousal")
            share = found["random"][1] / DRAWS
            b += int(((share > 0.5) & ~found["masked"][1]).sum())
            c += int(((share < 0.5) & found["masked"][1]).sum())
    assert (document["rows"][3]["mcnemar"]["b"], document["rows"][3]["mcnemar"]["c"]) == (b, c)


def test_resumed_by_attribute_and_emotion_to_the_same_bytes(done, copy):
    mask("sweep", "sets", "--emotions", "fear,joy")
    mask("sweep", "sets", "--resume", "--emotions", "anger", "--attributes", "arousal")
    mask("sweep", "sets", "--resume")
    assert tree(copy / "sweep/masked") == tree(done / "sweep/masked")


def test_one_load_and_nothing_done_twice(copy, monkeypatch):
    mask_cell._loaded.clear()
    loads, passes = [], []
    load, forward = backbone.Backbone.load, mask_cell.predict_batches
    monkeypatch.setattr(backbone.Backbone, "load", lambda *a: loads.append(1) or load(*a))
    monkeypatch.setattr(mask_cell, "predict_batches", lambda *a, **k: passes.append(1) or forward(*a, **k))
    mask("sweep", "sets")
    assert len(loads) == 1 and len(passes) == 6 * (1 + 2 * 2 * (1 + DRAWS))
    (copy / "sweep/masked/sets/emotion/joy/seed-2/arousal.safetensors").unlink()
    passes.clear()
    mask("sweep", "sets", "--resume")
    assert len(loads) == 1 and len(passes) == 1 + 2 * (1 + DRAWS)


def test_what_is_to_do_is_said_at_the_start(copy, caplog):
    caplog.set_level("INFO", "skn")
    mask("sweep", "sets", "--top", "40", "--emotions", "joy")
    assert (
        "2 cells x (1 unmasked + 2 attributes x 1 sizes x (1 + 3 draws)): 18 evaluations, 18 to do" in caplog.messages
    )


def test_attributes_share_the_overall_draws_of_a_size(copy, monkeypatch, caplog):
    """Which attributes stand beside it changes nothing, and each draw is computed once for each cell."""
    caplog.set_level("INFO", "skn")
    passes, forward = [], mask_cell.predict_batches
    monkeypatch.setattr(mask_cell, "predict_batches", lambda *a, **k: passes.append(1) or forward(*a, **k))
    options = ["--match", "overall", "--emotions", "joy"]
    mask("sweep", "sets", *options)
    said = "2 cells x (1 unmasked + 2 sizes x (2 attributes + 3 draws for all of them)): 22 evaluations, 22 to do"
    assert said in caplog.messages and len(passes) == 22
    both = [results(copy, TASKS[0], 2, name) for name in NAMES]
    for name in ("random", "random_accuracy"):
        assert torch.equal(both[0][name], both[1][name])
    assert not torch.equal(both[0]["random"][0], both[0]["random"][1])  # sizes do not share
    mask("sweep", "sets", *options, "--attributes", "arousal", "--name", "alone")
    alone = results(copy, TASKS[0], 2, "arousal", "sets@alone")
    assert all(torch.equal(alone[name], both[1][name]) for name in alone.tensors)


def test_a_sweep_of_older_draws_is_not_resumed_with_shared_ones(copy, refused):
    """Files of older versions do not say for whom they were drawn: for each attribute."""
    options = ["--emotions", "joy", "--attributes", "valence"]
    command = ["mask", "--sweep", "sweep", "--sets", "sets", "--controls", DRAWS, *options]
    file = copy / f"sweep/masked/sets/{TASKS[0]}/seed-1/valence.safetensors"

    def forget():
        old = artifacts.load(file, "masked")
        meta = {name: value for name, value in old.meta.items() if name != "drawn_for"}
        artifacts.save(file, "masked", old.tensors, old.provenance, **meta)

    mask("sweep", "sets", *options, "--match", "overall")
    forget()
    refused([*command, "--match", "overall", "--resume"], "was started with drawn_for attribute, not size; ")
    mask("sweep", "sets", *options, "--overwrite")
    forget()
    (copy / f"sweep/masked/sets/{TASKS[0]}/seed-2/valence.safetensors").unlink()
    skn(*command, "--resume")  # draws in each layer are what they were


def test_methods_that_change_the_backbone(tiny, tmp_path, base):
    """Biases and adapters go into the shared backbone, each cell's while it runs."""
    for method in ("bitfit", "adapter"):
        sweep = make_sweep(tmp_path / method, tiny("roberta"), TASKS[:1], (1, 2), method=method, epochs=1,
                           prompt_length=1, lr=0.05)  # fmt: skip
        mask(sweep.path, base / "sets", "--top", "20", "--attributes", "valence")
        for cell in sweep.cells:
            loaded = sweep.run(cell).load()
            encoded = loaded.encoded("test")
            file = sweep.path / f"masked/sets/{cell}/valence.safetensors"
            unmasked = predict(loaded.model, encoded, engine=loaded.engine).argmax(dim=1) == encoded.label
            assert torch.equal(artifacts.load(file, "masked")["unmasked"], unmasked), (method, cell)


# ---- kills ------------------------------------------------------------------------------------------------------


def start(folder, *options, **kwargs):
    arguments = ["mask", "--sweep", folder / "sweep", "--sets", folder / "sets", "--controls", DRAWS,
                 "--attributes", "valence", "--emotions", "joy", *options]  # fmt: skip
    return exit_code(arguments, folder / "log.txt", **kwargs)


def test_killed_before_every_operation_and_resumed_to_the_same_bytes(base, tmp_path):
    """What a kill before each operation leaves is copied as one masking goes by; each different folder is gone on with."""
    whole, copies = tmp_path / "whole", tmp_path / "copies"
    shutil.copytree(base, whole)
    code = start(whole, trace=tmp_path / "trace", copies=(whole / "sweep", copies))
    assert code == 0, (whole / "log.txt").read_text()
    operations = (tmp_path / "trace").read_text().splitlines()
    assert sum("/joy/" in line and line.startswith("replace") for line in operations) == 2
    wanted = tree(whole / "sweep/masked")
    left = different(copies, range(1, len(operations) + 1), tree)
    assert len(left) > 8
    for number, sweep in left.items():
        folder = tmp_path / "killed"
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("sweep"))
        shutil.copytree(sweep, folder / "sweep")
        assert start(folder, "--resume") == 0, (folder / "log.txt").read_text()
        assert tree(folder / "sweep/masked") == wanted, operations[number - 1]
        shutil.rmtree(folder)


def test_really_killed_and_resumed_to_the_same_bytes(base, tmp_path):
    for name in ("whole", "killed"):
        shutil.copytree(base, tmp_path / name)
    assert start(tmp_path / "whole", trace=tmp_path / "trace") == 0
    saves = [n for n, line in enumerate((tmp_path / "trace").read_text().splitlines(), start=1) if "replace" in line]
    assert start(tmp_path / "killed", kill_before=saves[1]) == -signal.SIGKILL
    assert start(tmp_path / "killed", "--resume") == 0, (tmp_path / "killed/log.txt").read_text()
    assert tree(tmp_path / "killed/sweep/masked") == tree(tmp_path / "whole/sweep/masked")


# ---- bad input --------------------------------------------------------------------------------------------------

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
def test_bad_options(copy, refused, case):
    options, *said = BAD[case]
    refused(replaced(COMMAND, options), *said)


def test_a_sweep_needs_sets(copy, refused):
    refused(["mask", "--sweep", "sweep"], "--sweep: needs --sets")
    refused(["mask"], "give --run or --sweep")
    refused(["mask", "--run", "sweep/emotion/joy/seed-1", "--top", "5"], "--top goes with --sweep")


def test_missing_and_unfinished_cells(copy, refused):
    shutil.rmtree(copy / "sweep/emotion/joy/seed-2")
    file = copy / "sweep/emotion/fear/seed-1/run.json"
    edit(file, lambda stored: stored.update(training=None))
    refused(COMMAND, "2 of 6 cells are missing or unfinished (emotion/joy/seed-2, emotion/fear/seed-1)",
            "skn sweep --resume --out sweep", "--emotions")  # fmt: skip
    mask("sweep", "sets", "--emotions", "anger", "--top", "20")


def test_cells_of_another_shape_or_backbone(copy, refused, tiny):
    folder = copy / "sweep/emotion/fear/seed-2"
    rewrite(folder / "tuned.safetensors", lambda t: t.update(prompt=torch.zeros(5, 32)))
    refused(COMMAND, "fear/seed-2: tuned tensors", "'prompt': [5, 32]", "the cells of a sweep share a backbone")
    shutil.rmtree(folder)
    other = make_sweep(copy / "other", tiny("bert"), TASKS[2:], (2,))
    shutil.copytree(other.folder(Cell(TASKS[2], 2)), folder)
    refused(
        COMMAND,
        "fear/seed-2: backbone ",
        "but ",
        "in sweep/emotion/joy/seed-1",
        "delete the one of the two that is of another",
    )


def test_sets_of_another_shape_or_backbone(copy, refused):
    make_rsa("wide.safetensors", random_ranks(1, 3, 50), ["a"])
    skn("select", "--rsa", "wide.safetensors", "--top", 5, "--out", "wide")
    refused(["mask", "--sweep", "sweep", "--sets", "wide"], "neurons [3, 50], this backbone has [3, 48]")
    make_rsa("foreign.safetensors", random_ranks(1, 3, 48), ["a"], backbone_digest="another")
    skn("select", "--rsa", "foreign.safetensors", "--top", 5, "--out", "foreign")
    refused(["mask", "--sweep", "sweep", "--sets", "foreign"], "made for another backbone")
    (copy / "sets/arousal-top40.safetensors").unlink()
    refused(COMMAND, "sets/arousal-top40.safetensors: missing", "skn select --rsa")
    (copy / "sets/sets.json").write_text('{"top": [5]}')
    refused(COMMAND, "sets/sets.json: damaged", "skn select --rsa")


def test_files_of_another_folder_of_sets(copy, refused):
    """Their weights and neurons went into the tests of specificity."""
    kept = (copy / "sets/sets.json").read_bytes()
    edit(copy / "sets/sets.json", lambda stored: stored["weights"]["valence"].update(joy=9.0))
    refused(COMMAND, "sets/sets.json: not what skn wrote there", "make the folder again")
    (copy / "sets/sets.json").write_bytes(kept)
    edit(copy / "sets/skn.json", lambda mark: mark["files"].clear())  # which files the folder was made with
    shutil.copy(copy / "sets/arousal-top40.safetensors", copy / "sets/valence-top20.safetensors")
    refused(COMMAND, "sets/valence-top20.safetensors: not the 20 best of 'valence', as sets/sets.json says")
    for name in ("top", "attributes"):
        edit(copy / "sets/sets.json", lambda stored, name=name: stored.update({name: []}))
        refused(COMMAND, f"sets/sets.json: damaged or of another version of skn ({name}: List should have at least 1")
        (copy / "sets/sets.json").write_bytes(kept)


def test_two_emotions_of_one_name(copy, refused):
    file = copy / "sweep/sweep.json"
    edit(file, lambda grid: grid["tasks"].append("other/joy"))
    refused(COMMAND, "two tasks are called 'joy'")


def test_names_of_sets_and_results_do_not_meet(copy):
    """--sets sets --name b was the folder of --sets sets-b."""
    shutil.copytree(copy / "sets", copy / "sets-b")
    options = ["--emotions", "joy", "--attributes", "valence", "--top", "20"]
    mask("sweep", "sets", *options, "--name", "b")
    mask("sweep", "sets-b", *options)
    assert sorted(folder.name for folder in (copy / "sweep/masked").iterdir()) == ["sets-b", "sets@b"]


def test_results_of_other_settings_are_kept_until_overwritten(copy, refused):
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
    assert results(copy, TASKS[0], 1, "valence").meta["mask"] == "scale"


# ---- one run ----------------------------------------------------------------------------------------------------


def test_a_set_on_one_run(copy, refused, monkeypatch):
    folder = copy / "sweep/emotion/joy/seed-1"
    command = ["mask", "--run", folder, "--controls", 2, "--neurons"]
    skn(*command, "sets/valence-top20.safetensors", "--match", "overall")
    table = json.loads((folder / "mask-zero.json").read_text())
    assert table["rows"][0]["neurons"] == 20 and table["match"] == "overall" and table["alpha"] is None
    refused([*command, "scaled/valence-top20.safetensors", "--kind", "scale", "--alpha", 0.5],
            "--alpha 0.5: scaled/valence-top20.safetensors has a factor for each neuron")  # fmt: skip
    made = []
    monkeypatch.setattr(neurons_mask, "Mask", lambda *a, **k: made.append(Mask(*a, **k)) or made[-1])
    skn(*command, "scaled/valence-top20.safetensors", "--kind", "scale")
    table = json.loads((folder / "mask-scale.json").read_text())
    loaded = Sweep.open("sweep").run(Cell(TASKS[0], 1)).load()
    sets = artifacts.load(copy / "scaled/valence-top20.safetensors", "neurons")
    assert table["rows"][0]["accuracy"] == right(loaded, "scale", sets["selected"], sets["factor"]).double().mean()
    assert table["alpha"] is None and torch.equal(made[-1].factor, sets["factor"])
    for draw, control in enumerate(made[:-1]):  # each with factors of its own
        key = generator(0, "control", 20, draw)
        drawn = random_like(sets["selected"], torch.ones_like(sets["selected"]), key)
        assert torch.equal(control.chosen, drawn) and torch.equal(control.factor, random_factors(drawn, key))
    assert draw == 1


# ---- planted ----------------------------------------------------------------------------------------------------


def test_planted_neurons_harm_their_emotion_and_no_other(tmp_path):
    """Attribute i ranks the neurons of emotion i first and sets emotion i apart; a fourth attribute ranks at random."""
    backbone = planted_backbone(tmp_path / "model")
    tasks = [f"emotion/{name}" for name in PLANTS]
    sweep = make_sweep(tmp_path / "sweep", backbone, tasks, (1, 2, 3), planted_data, words=PLANTED_WORDS)
    ranks = torch.cat([planted_ranks(), random_ranks(1, *planted_ranks().shape[1:], seed=9)])
    # Distances of the pairs (0,1), (0,2), (1,2): two are far from each emotion on its own attribute.
    distance = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    rsa = make_rsa(
        tmp_path / "rsa.safetensors", ranks, [*(f"of-{name}" for name in PLANTS), "of-none"], PLANTS, distance
    )
    skn("select", "--rsa", rsa, "--top", UNITS, "--out", tmp_path / "sets")
    skn("mask", "--sweep", sweep.path, "--sets", tmp_path / "sets", "--match", "overall", "--controls", 10)
    document = json.loads((sweep.path / "masked/sets/specificity.json").read_text())
    rows = {row["attribute"]: row for row in document["rows"]}
    drops = {(row["attribute"], row["emotion"]): row["drop"] for row in document["by_emotion"]}
    for name in PLANTS:
        row = rows[f"of-{name}"]
        assert row["drop"]["mean"] > 0.1 and row["drop"]["q"] < 0.01 and row["drop"]["low"] > 0
        assert row["mcnemar"]["p"] < 1e-6 and row["mcnemar"]["b"] > 20 * row["mcnemar"]["c"]
        assert row["specificity"]["top_third"] == [name]
        assert row["specificity"]["mean"] > 0.3 and row["specificity"]["q"] < 0.01
        for other in PLANTS:
            drop = drops[f"of-{name}", other]
            assert drop > 0.35 if other == name else abs(drop) < 0.1, (name, other)
    assert abs(rows["of-none"]["drop"]["mean"]) < 0.1
