"""``skn train --resume``: what is said beside it must be what the run was started with."""

from __future__ import annotations

import pytest
from refusals import command

RESUME = ["train", "--resume", "--out", "run"]


@pytest.mark.parametrize(
    "option, other, was",
    [
        ("--epochs", 5, "--epochs 0, not 5"),
        ("--seed", 1, "--seed 0, not 1"),
        ("--lr", 0.5, "--lr 0.01, not 0.5"),
        ("--method", "bitfit", "--method prompt, not bitfit"),
        ("--dtype", "bfloat16", "--dtype float32, not bfloat16"),
        ("--prompt-length", 5, "--prompt-length 4, not 5"),
        ("--verbalizer", "bad,good", "--verbalizer negative,positive, not bad,good"),
        ("--task", "sst2", "no --task"),
        ("--pair-column", "p", "no --pair-column"),
        ("--drop-unlabelled", None, "no --drop-unlabelled"),
        ("--init-from", "elsewhere", "no --init-from"),
        ("--data", "elsewhere.csv", "elsewhere.csv; leave out"),
    ],
)
def test_another_value(refused, run, option, other, was):
    given = [option] if other is None else [option, other]
    refused([*RESUME, *given], "--resume: run was started with ", was, "leave out what differs")


def test_another_backbone(refused, run, tiny):
    wanted, given = tiny("roberta"), tiny("bert")
    refused([*RESUME, "--backbone", given], f"run was started with --backbone {wanted}, not {given};")


def test_all_that_differs_is_named(refused, run):
    refused([*RESUME, "--epochs", 5, "--lr", 0.01, "--seed", 3], "with --epochs 0, not 5 and --seed 0, not 3; leave")


def test_what_a_task_file_says_counts(refused, run, corpus_folder, tmp_path):
    (tmp_path / "t.toml").write_text(f'data = "{corpus_folder}"\nverbalizer = "bad,good"')
    refused([*RESUME, "--data", "t.toml"], "run was started with --verbalizer negative,positive, not bad,good; leave")
    (tmp_path / "t.toml").write_text(f'data = "{corpus_folder}"\nverbalizer = "negative,positive"')
    assert command([*RESUME, "--data", "t.toml"]) == 0


def test_the_whole_command_again(run, tiny, corpus_folder, monkeypatch, quiet_exit):
    """Chosen values and defaults said aloud; the paths named from elsewhere. Defaults unsaid are no contradiction."""
    monkeypatch.chdir(corpus_folder.parent)
    backbone = tiny("roberta").relative_to(corpus_folder.parent)
    again = ["train", "--resume", "--out", run, "--backbone", backbone, "--data", corpus_folder.name]
    assert command([*again, "--epochs", 0, "--prompt-length", 4, "--seed", 0, "--verbalizer", "negative,positive"]) == 0
    assert command(again) == 0


@pytest.mark.parametrize("name", ["tuned", "splits"])
def test_a_finished_run_that_is_damaged(refused, run, quiet_exit, name):
    """It is not called complete; without the torn file it is trained again, to the same bytes."""
    file = run / f"{name}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(RESUME, f"run/{name}.safetensors: damaged, though the training is complete; delete this file, and")
    file.unlink()
    assert command(RESUME) == 0 and file.read_bytes() == whole
