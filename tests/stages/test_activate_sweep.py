"""skn activate --sweep against a plain forward with hooks, and the layout of the original."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import command
from spoiled import edit, redescribe, rewrite

from skn.data.spec import DataSpec
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.runs.prepare import TrainRequest
from skn.runs.run import Run
from skn.runs.sweep import Sweep
from skn.runs.tuned import build_tuned
from skn.stages.activate_sweep import activate_sweep
from skn.stages.train import train
from skn.store import artifacts

TASKS, SEEDS = ["emotion/joy", "emotion/fear"], [3, 1]


@pytest.fixture(scope="module", params=["roberta", "bert-headless", "gpt2"])
def sweep(request, tiny, corpus_folder, tmp_path_factory):
    """Starting prompts, one a cell: what is read does not ask how well they were tuned."""
    found = Sweep(tmp_path_factory.mktemp("sweep"), TASKS, SEEDS, {})
    found.save()
    for cell in found.cells:
        data = DataSpec(data=str(corpus_folder))
        asked = {"backbone": str(tiny(request.param)), "data": data, "words": ["negative", "positive"]}
        train(TrainRequest(**asked, prompt_length=4, epochs=0, seed=cell.seed), found.folder(cell))
    return found


def plainly(run: Run, ids: list[int], up: bool):
    """[L, F] at the first prompt position, from the Hugging Face modules alone."""
    backbone = Backbone.load(run.config.backbone)
    model = build_tuned(backbone, artifacts.load(run.tuned_file, "tuned"))
    ids = torch.tensor([ids])
    prompted = model.assemble(ids, torch.ones_like(ids), None)
    first = ids.shape[1] if backbone.causal else 0
    rows = []
    for site in model.backbone.ffn_sites:
        module = site.up if up else site.activation
        module.register_forward_hook(lambda _m, _i, out: rows.append(out[0, first].detach()))
    with torch.no_grad():
        model.backbone.last_hidden(prompted)
    return torch.stack(rows)


@pytest.mark.parametrize("up", [False, True])
def test_every_cell_is_what_a_plain_forward_reads(sweep, up):
    activate_sweep(sweep.path, pre_activation=up, overwrite=True)
    found = artifacts.load(sweep.activations_file, "activations")
    assert found.meta["seeds"] == SEEDS and found.meta["conditions"] == ["joy", "fear"]
    assert found.meta["pre_activation"] is up and found["activations"].shape[:2] == (2, 2)
    for s, seed in enumerate(SEEDS):
        for t, task in enumerate(TASKS):
            run = next(sweep.run(cell) for cell in sweep.cells if (cell.task, cell.seed) == (task, seed))
            tokenizer = load_tokenizer(run.config.backbone)
            token = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
            expected = plainly(run, [token], up)
            torch.testing.assert_close(found["activations"][s, t], expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found["activations"][0, 0], found["activations"][1, 1])


def test_prompts_of_another_cell_or_tuned_again_since(sweep, refused, tmp_path):
    """Neither is read as the cell's own, nor are activations that were read before."""
    again, asked = tmp_path / "again", ["activate", "--sweep", "again", "--overwrite"]
    shutil.copytree(sweep.path, again)
    (again / "activations.safetensors").unlink(missing_ok=True)
    assert command(asked) == 0
    cell, other = (again / TASKS[0] / f"seed-{seed}/tuned.safetensors" for seed in SEEDS)
    kept = cell.read_bytes()
    shutil.copy(other, cell)
    refused(asked, "again/emotion/joy/seed-3/tuned.safetensors: made for another seed", "seed-3/run.json has 3")
    cell.write_bytes(kept)
    rewrite(cell, lambda tensors: tensors["prompt"].add_(1))
    said = (
        "again/activations.safetensors: made for another tuned prompt",
        "again/emotion/joy/seed-3/tuned.safetensors has",
    )
    refused(
        ["rsa", "--sweep", "again", "--attributes", "ratings.csv"], *said, "'skn activate --sweep again --overwrite'"
    )


@pytest.fixture(scope="module", params=["bitfit", "adapter"])
def inside(request, tiny, corpus_folder, tmp_path_factory):
    """Three cells whose tuning lies inside the encoder: random biases or adapters, no two alike."""
    found = Sweep(tmp_path_factory.mktemp("inside"), TASKS[:1], [1, 2, 3], {})
    found.save()
    asked = {"backbone": str(tiny("roberta")), "data": DataSpec(data=str(corpus_folder)), "method": request.param}
    for cell in found.cells:
        words = ["negative", "positive"]
        run = train(TrainRequest(**asked, words=words, epochs=0, seed=cell.seed), found.folder(cell))
        tuned, generator = artifacts.load(run.tuned_file, "tuned"), torch.Generator().manual_seed(cell.seed)
        for name, tensor in tuned.tensors.items():
            if name.startswith(("bias.", "adapter.")):
                tensor += torch.randn(tensor.shape, generator=generator) * 0.3
        artifacts.save(run.tuned_file, "tuned", tuned.tensors, tuned.provenance, **tuned.meta)
    return found


def test_a_cell_is_read_through_its_own_biases_or_adapters(inside):
    """The cells share a backbone, and none is read through what another added to it."""
    activate_sweep(inside.path, overwrite=True)
    found = artifacts.load(inside.activations_file, "activations")["activations"][:, 0]
    token = load_tokenizer(inside.run(inside.cells[0]).config.backbone).cls_token_id
    alone = [plainly(inside.run(cell), [token], up=False) for cell in inside.cells]
    torch.testing.assert_close(found, torch.stack(alone), rtol=1e-5, atol=1e-6)
    assert (found[0] - found[1]).abs().max() > 1e-2 and (found[1] - found[2]).abs().max() > 1e-2


def test_the_order_of_the_cells_changes_nothing(inside, tmp_path):
    """A cell that is read first, last, and twice has the same values each time."""
    activate_sweep(inside.path, overwrite=True)
    there = artifacts.load(inside.activations_file, "activations")["activations"]
    again = Sweep(tmp_path / "again", inside.tasks, [3, 2, 1, 5, 4], {})
    for cell in again.cells:
        same = next(own for own in inside.cells if own.seed == (cell.seed if cell.seed < 4 else cell.seed - 3))
        folder = shutil.copytree(inside.folder(same), again.folder(cell))
        edit(folder / "run.json", lambda stored, seed=cell.seed: stored["config"].update(seed=seed))
        redescribe(folder / "tuned.safetensors", lambda said, seed=cell.seed: said["provenance"].update(seed=seed))
    again.save()
    activate_sweep(again.path)
    found = artifacts.load(again.activations_file, "activations")["activations"]
    assert torch.equal(found, there[[2, 1, 0, 1, 0]])


def test_another_text_gives_other_values(sweep):
    values = []
    for text in ("<s>", "", "."):
        activate_sweep(sweep.path, probe_text=text, overwrite=True)
        values.append(artifacts.load(sweep.activations_file, "activations")["activations"])
    causal = sweep.run(sweep.cells[0]).config.backbone.endswith("gpt2")
    # An empty text has no tokens of its own where the tokenizer adds none.
    assert not torch.equal(values[0], values[2]) and (causal or not torch.equal(values[0], values[1]))


def test_the_layout_of_the_original(sweep, tmp_path):
    activate_sweep(sweep.path, csv=tmp_path / "csv", overwrite=True)
    found = artifacts.load(sweep.activations_file, "activations")["activations"].flatten(2).numpy()
    names = {f"{c}-{s}.csv" for c in ("joy", "fear") for s in (*SEEDS, "all")}
    assert {file.name for file in (tmp_path / "csv").glob("*.csv")} == names
    header, row = (tmp_path / "csv" / "fear-1.csv").read_text().splitlines()
    assert header.split(",") == [str(i) for i in range(found.shape[2])]
    np.testing.assert_array_equal(np.array(row.split(","), dtype=np.float32), found[1, 1])
    total = np.array((tmp_path / "csv" / "joy-all.csv").read_text().splitlines()[1].split(","), dtype=np.float32)
    np.testing.assert_array_equal(total, found[:, 0].sum(axis=0))


def test_some_emotions(sweep):
    activate_sweep(sweep.path, ["fear"], overwrite=True)
    assert artifacts.load(sweep.activations_file, "activations").meta["conditions"] == ["fear"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probe-text", "two words here"], " tokens ("),
        (["--emotions", "feer"], "--emotions feer: unknown; did you mean 'fear'"),
        (["--all"], "--all goes with --run; leave it out"),
        ([], "activations.safetensors: exists already; --overwrite"),
    ],
)
def test_bad_input(sweep, options, message, refused):
    activate_sweep(sweep.path, overwrite=True)
    before = sweep.activations_file.read_bytes()
    extra = ["--overwrite"] if options and options != ["--all"] else []
    refused(["activate", "--sweep", str(sweep.path), *options, *extra], message)
    assert sweep.activations_file.read_bytes() == before


def test_cells_that_are_missing_or_unfinished_are_named(sweep, tmp_path, refused):
    larger = Sweep(sweep.path, [*TASKS, "emotion/anger"], SEEDS, {})
    replace(larger, path=tmp_path).save()
    for cell in sweep.cells:
        folder = tmp_path / cell.task / f"seed-{cell.seed}"
        folder.parent.mkdir(exist_ok=True, parents=True)
        folder.symlink_to(sweep.folder(cell))
    refused(
        ["activate", "--sweep", str(tmp_path)],
        "2 of 6 cells are missing or unfinished (emotion/anger/seed-3, emotion/anger/seed-1)",
    )
    assert not (tmp_path / "activations.safetensors").exists()


def test_csv_replaces_nothing_but_a_folder_of_its_own(sweep, tmp_path, refused, quiet_exit):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    asked = ["activate", "--sweep", str(sweep.path), "--overwrite", "--csv"]
    refused([*asked, "thesis"], "thesis: is no folder of csv files of skn", "will not be deleted; choose another --csv")
    refused([*asked, str(sweep.path)], "is no folder of csv files of skn", "will not be deleted")
    refused([*asked, "."], "will not be deleted")
    assert command([*asked, "mine"]) == 0 and command([*asked, "mine"]) == 0
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused([*asked, "mine"], "mine: holds notes.txt, which skn did not write")
