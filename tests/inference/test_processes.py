"""Several processes for one command, against a single process, and what remains when one of them dies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import crews
import pytest
import torch
from patience import HUNG
from refusals import tree

from skn.cli import run as skn
from skn.errors import InputError
from skn.inference import processes
from skn.pruned.evaluation import read_evaluation
from skn.store import artifacts, documents

BATCHES = ["--batch-tokens", "256"]  # several batches in every split
COMMANDS = {
    "probe": ["probe", "--auroc", "--overwrite", *BATCHES],
    "mask": ["mask", "--kind", "gaussian", "--fraction", "0.2", "--controls", "1", *BATCHES],
    "evaluate": ["evaluate", "--predictions", "predictions.csv", *BATCHES],
}
KINDS = ("hits", "accuracy", "significance", "bits")
HITS = [f"{kind}-{split}.safetensors" for kind in KINDS for split in ("validation", "test")]
AREAS = [f"auroc-{split}.safetensors" for split in ("validation", "test")]


def on(run: Path, name: str, *options: str) -> list[str]:
    arguments = [str(run / part) if part.endswith(".csv") else part for part in COMMANDS[name]]
    return [*arguments, "--run", str(run), *options]


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """Three copies of a run: made by one process, by two, and probed by two over the thresholds of one."""
    folder, threads = tmp_path_factory.mktemp("processes"), torch.get_num_threads()
    one, two, resumed = (Path(shutil.copytree(runs(), folder / name)) for name in ("one", "two", "resumed"))
    torch.set_num_threads(1)  # as in the processes, because sums of float32 depend on it
    try:
        assert skn(["prune", "--run", str(one), "--fraction", "0.5"]) == 0
        shutil.copytree(one / "pruned", two / "pruned")
        for name in COMMANDS:
            assert skn(on(one, name)) == 0
    finally:
        torch.set_num_threads(threads)
    for name in COMMANDS:
        assert crews.ended(crews.start(on(two, name), 2, folder / name)) == [0, 0]
        assert crews.lines(folder / name)[1] == []
    shutil.copy(one / "moments.safetensors", resumed)
    for file in HITS:
        (resumed / file).unlink()
    probe = ["probe", "--auroc", "--resume", "--run", str(resumed), *BATCHES]
    assert crews.ended(crews.start(probe, 2, folder / "resume")) == [0, 0]
    return one, two, resumed


def test_moments_are_the_same_but_for_the_last_bits(made):
    one, two = (artifacts.load(run / "moments.safetensors", "moments") for run in made[:2])
    assert one.provenance == two.provenance and torch.equal(one["count"], two["count"])
    for name in ("total", "total_sq"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-12, atol=0)


def test_counts_over_the_same_thresholds_are_the_same_bytes(made):
    one, _, resumed = made
    for file in ("moments.safetensors", *HITS, *AREAS):
        assert (one / file).read_bytes() == (resumed / file).read_bytes(), file


def test_masks_and_evaluations_are_the_same(made):
    one, two, _ = made
    masks = [documents.read(run / "mask-gaussian.json", "mask", dict, "")["rows"] for run in (one, two)]
    assert masks[0] == masks[1]
    models = [read_evaluation(run / "evaluate-test.json")["models"] for run in (one, two)]
    assert models[0] == models[1] and len(models[0]) == 2
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()


def test_a_process_is_named_if_the_library_names_it(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    in_a_barrier = "Rank 1 failed to pass monitoredBarrier in 600000 ms\n Original exception: gloo"
    assert processes._lost_in(in_a_barrier) == "process 1 of 3 has died or does not answer"
    elsewhere = "Connection closed by peer [127.0.0.1]:2222\nsecond line"
    assert processes._lost_in(elsewhere) == (
        "another of 3 processes has died or does not answer (Connection closed by peer [127.0.0.1]:2222)"
    )


# A barrier names the process that died. If the process dies before all others have left the sum of the batch before, the sum
# fails, and its message names none.
@pytest.mark.parametrize(
    ("spoiled", "codes", "said"),
    [
        ({1: crews.die}, [1, -9, 1], "(process 1|another) of 3( processes)? has died"),
        ({0: crews.die}, [-9, 1, 1], "another of 3 processes has died"),
        ({2: crews.fail}, [1, 1, 1], "process 2 of 3: ValueError: no such batch"),
        ({1: crews.run_out}, [1, 1, 1], r"out of memory \(process 1 of 3: MemoryError\); lower --batch-tokens"),
    ],
    ids=["another is killed", "the first is killed", "another fails", "another has no memory"],
)
def test_one_that_dies_ends_all(run, tmp_path, spoiled, codes, said):
    for file in ("moments.safetensors", *HITS):
        (run / file).unlink()
    before = tree(run)
    processes = crews.start(["probe", "--run", run, *BATCHES], 3, tmp_path / "logs", spoiled)
    assert crews.ended(processes) == codes
    lines = crews.lines(tmp_path / "logs")
    own = [line for line in lines[0 if codes[0] == 1 else 1] if line.startswith("skn: ")]  # gloo adds lines
    assert len(own) == 1 and re.search(said, own[0]), own
    (run / ".skn.lock").unlink(missing_ok=True)  # of the process that was killed
    assert tree(run) == before


def test_bad_input_is_one_line(tmp_path):
    """Under the real launcher, which says at length that the processes have failed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    done = subprocess.run([*launcher, "skn", "probe", "--run", tmp_path], timeout=HUNG, capture_output=True, text=True)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("skn: ")]
    assert len(said) == 1 and "not a run" in said[0]


@pytest.mark.parametrize("arguments", [["probe"], ["probe", "--nonsense"], ["evaluate", "--run", "run", "--speed"]])
def test_the_others_are_silent(arguments, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("skn.inference.processes.follow", lambda: 2)
    assert skn(arguments) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--out", "run"], "'skn train' runs in one process"),
        (["mask", "--sweep", "sweep", "--sets", "sets"], "'skn mask --sweep' runs in one process"),
    ],
)
def test_other_commands_are_refused(arguments, named, refused, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(arguments, named, "'skn probe --run', 'skn mask --run' and 'skn evaluate --run'")


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for name, number in (("RANK", 3), ("WORLD_SIZE", 4), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(number))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    processes._choose_gpu()
    assert chosen == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="2 processes on a machine with 1 GPU:"):
        processes._choose_gpu()
