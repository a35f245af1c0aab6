"""A full disk at every command that writes: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import resource

import datasets
import pytest
import safetensors.torch
import torch
import transformers
from refusals import command
from spoiled import STAGES, on

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


@contextlib.contextmanager
def largest_file(size: int):
    """In the block no file may become larger; the system's own limit, as a cluster sets it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("stage", ["select", "activate", "prune"])
def test_files_that_may_hold_nothing(refused, run, stage):
    with largest_file(0):
        refused(on(stage), "cannot be written (File too large); nothing was changed")


def test_files_that_may_hold_little(run, tmp_path, monkeypatch, capsys, quiet_exit):
    """What was small enough stands, and the line names it."""
    monkeypatch.chdir(tmp_path)
    with largest_file(4000):
        assert command(on("report")) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        line.startswith("skn: run/report/")
        and "cannot be written (File too large); written before that: run/report/skn.json" in line
    )


def test_no_temporary_folder_is_a_line(monkeypatch, capsys, quiet_exit):
    """Where no file may hold anything, Python finds no place for its own."""
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    monkeypatch.setattr("skn.stages.tasks.tasks", raises(error))
    assert command(["tasks"]) == 1
    line = capsys.readouterr().err.strip()
    assert (
        line.startswith("skn: No usable temporary directory found")
        and "raise the limit of a file's size ('ulimit -f')" in line
    )
