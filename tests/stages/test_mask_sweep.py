"""mask --sweep: every cell under the masks of every attribute, held against masks computed one by one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest
import torch
from filled_sweep import SEEDS, TASKS, make_sweep
from masked_sweeps import DRAWS, NAMES, mask, results, right, skn
from refusals import tree

from skn.inference.engine import predict
from skn.intervals import mean_interval, share_interval
from skn.model import backbone
from skn.neurons.selection import random_factors, random_like
from skn.runs import mask_cell
from skn.runs.sweep import Cell, Sweep
from skn.seeds import generator
from skn.store import artifacts


def test_every_file_is_what_single_masks_say(masked_sweep):
    """Each cell loaded by itself, each mask applied by itself: the shared model mixes nothing up."""
    sweep = Sweep.open(masked_sweep / "sweep")
    for cell in (Cell(TASKS[0], 2), Cell(TASKS[2], 1)):
        loaded = sweep.run(cell).load()
        encoded = loaded.encoded("test")
        for name in NAMES:
            found = results(masked_sweep, cell.task, cell.seed, name)
            assert found["random_accuracy"].shape == (2, DRAWS) and found.meta["classes"] == ["0", "1"]
            unmasked = predict(loaded.model, encoded, engine=loaded.engine).argmax(dim=1) == encoded.label
            assert torch.equal(found["unmasked"], unmasked)
            for place, count in enumerate((20, 40)):
                chosen = artifacts.load(masked_sweep / f"sets/{name}-top{count}.safetensors", "neurons")["selected"]
                assert torch.equal(found["masked"][place], right(loaded, "zero", chosen))
                draws = []
                for draw in range(DRAWS):
                    key = generator(0, "control", name, count, draw, "layer")
                    draws.append(right(loaded, "zero", random_like(chosen, torch.ones_like(chosen), key)))
                assert torch.equal(found["random"][place].long(), torch.stack(draws).sum(dim=0))
                torch.testing.assert_close(found["random_accuracy"][place], torch.stack(draws).double().mean(dim=1))
    assert found.meta["draws"] == DRAWS and found.meta["task"] == cell.task and found.provenance["seed"] == cell.seed


def test_the_cells_differ(masked_sweep):
    """Otherwise the test above would pass with one cell's prompt in all."""
    found = [results(masked_sweep, task, seed, "valence")["masked"] for task in TASKS for seed in SEEDS]
    assert len({tuple(f.flatten().tolist()) for f in found}) == len(found)


def test_factors_and_overall_draws(own_sweep):
    mask("sweep", "scaled", "--match", "overall", "--attributes", "arousal", "--emotions", "anger", "--seed", 5)
    found = results(own_sweep, TASKS[1], 1, "arousal", "scaled")
    assert (found.meta["mask"], found.meta["match"], found.meta["draw_seed"]) == ("scale", "overall", 5)
    assert sorted(p.name for p in (own_sweep / "sweep/masked/scaled/emotion").iterdir()) == ["anger"]
    loaded = Sweep.open("sweep").run(Cell(TASKS[1], 1)).load()
    sets = artifacts.load(own_sweep / "scaled/arousal-top20.safetensors", "neurons")
    assert torch.equal(found["masked"][0], right(loaded, "scale", sets["selected"], sets["factor"]))
    key = generator(5, "control", 20, 2)  # as 'mask --run --match overall' draws it
    drawn = random_like(sets["selected"], torch.ones_like(sets["selected"]), key, "overall")
    accuracy = right(loaded, "scale", drawn, random_factors(drawn, key)).double().mean()
    torch.testing.assert_close(found["random_accuracy"][0, 2], accuracy)


def test_tables(masked_sweep):
    folder = masked_sweep / "sweep/masked/sets"
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
    found = results(masked_sweep, TASKS[2], 2, "arousal")
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
            found = results(masked_sweep, task, seed, "arousal")
            share = found["random"][1] / DRAWS
            b += int(((share > 0.5) & ~found["masked"][1]).sum())
            c += int(((share < 0.5) & found["masked"][1]).sum())
    assert (document["rows"][3]["mcnemar"]["b"], document["rows"][3]["mcnemar"]["c"]) == (b, c)


def test_resumed_by_attribute_and_emotion_to_the_same_bytes(masked_sweep, own_sweep):
    mask("sweep", "sets", "--emotions", "fear,joy")
    mask("sweep", "sets", "--resume", "--emotions", "anger", "--attributes", "arousal")
    mask("sweep", "sets", "--resume")
    assert tree(own_sweep / "sweep/masked") == tree(masked_sweep / "sweep/masked")


def test_one_load_and_nothing_done_twice(own_sweep, monkeypatch):
    mask_cell._loaded.clear()
    loads, passes = [], []
    load, forward = backbone.Backbone.load, mask_cell.predict_batches
    monkeypatch.setattr(backbone.Backbone, "load", lambda *a: loads.append(1) or load(*a))
    monkeypatch.setattr(mask_cell, "predict_batches", lambda *a, **k: passes.append(1) or forward(*a, **k))
    mask("sweep", "sets")
    assert len(loads) == 1 and len(passes) == 6 * (1 + 2 * 2 * (1 + DRAWS))
    (own_sweep / "sweep/masked/sets/emotion/joy/seed-2/arousal.safetensors").unlink()
    passes.clear()
    mask("sweep", "sets", "--resume")
    assert len(loads) == 1 and len(passes) == 1 + 2 * (1 + DRAWS)


def test_what_is_to_do_is_said_at_the_start(own_sweep, caplog):
    caplog.set_level("INFO", "skn")
    mask("sweep", "sets", "--top", "40", "--emotions", "joy")
    assert (
        "2 cells x (1 unmasked + 2 attributes x 1 sizes x (1 + 3 draws)): 18 evaluations, 18 to do" in caplog.messages
    )


def test_attributes_share_the_overall_draws_of_a_size(own_sweep, monkeypatch, caplog):
    """Which attributes stand beside it changes nothing, and each draw is computed once for each cell."""
    caplog.set_level("INFO", "skn")
    passes, forward = [], mask_cell.predict_batches
    monkeypatch.setattr(mask_cell, "predict_batches", lambda *a, **k: passes.append(1) or forward(*a, **k))
    options = ["--match", "overall", "--emotions", "joy"]
    mask("sweep", "sets", *options)
    said = "2 cells x (1 unmasked + 2 sizes x (2 attributes + 3 draws for all of them)): 22 evaluations, 22 to do"
    assert said in caplog.messages and len(passes) == 22
    both = [results(own_sweep, TASKS[0], 2, name) for name in NAMES]
    for name in ("random", "random_accuracy"):
        assert torch.equal(both[0][name], both[1][name])
    assert not torch.equal(both[0]["random"][0], both[0]["random"][1])  # sizes do not share
    mask("sweep", "sets", *options, "--attributes", "arousal", "--name", "alone")
    alone = results(own_sweep, TASKS[0], 2, "arousal", "sets@alone")
    assert all(torch.equal(alone[name], both[1][name]) for name in alone.tensors)


def test_a_sweep_of_older_draws_is_not_resumed_with_shared_ones(own_sweep, refused):
    """Files of older versions do not say for whom they were drawn: for each attribute."""
    options = ["--emotions", "joy", "--attributes", "valence"]
    command = ["mask", "--sweep", "sweep", "--sets", "sets", "--controls", DRAWS, *options]
    file = own_sweep / f"sweep/masked/sets/{TASKS[0]}/seed-1/valence.safetensors"

    def forget():
        old = artifacts.load(file, "masked")
        meta = {name: value for name, value in old.meta.items() if name != "drawn_for"}
        artifacts.save(file, "masked", old.tensors, old.provenance, **meta)

    mask("sweep", "sets", *options, "--match", "overall")
    forget()
    refused([*command, "--match", "overall", "--resume"], "was started with drawn_for attribute, not size; ")
    mask("sweep", "sets", *options, "--overwrite")
    forget()
    (own_sweep / f"sweep/masked/sets/{TASKS[0]}/seed-2/valence.safetensors").unlink()
    skn(*command, "--resume")  # draws in each layer are what they were


def test_methods_that_change_the_backbone(tiny, tmp_path, sweep_with_sets):
    """Biases and adapters go into the shared backbone, each cell's while it runs."""
    for method in ("bitfit", "adapter"):
        sweep = make_sweep(tmp_path / method, tiny("roberta"), TASKS[:1], (1, 2), method=method, epochs=1,
                           prompt_length=1, lr=0.05)  # fmt: skip
        mask(sweep.path, sweep_with_sets / "sets", "--top", "20", "--attributes", "valence")
        for cell in sweep.cells:
            loaded = sweep.run(cell).load()
            encoded = loaded.encoded("test")
            file = sweep.path / f"masked/sets/{cell}/valence.safetensors"
            unmasked = predict(loaded.model, encoded, engine=loaded.engine).argmax(dim=1) == encoded.label
            assert torch.equal(artifacts.load(file, "masked")["unmasked"], unmasked), (method, cell)
