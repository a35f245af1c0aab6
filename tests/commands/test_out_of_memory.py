"""Out of memory is one line that names the options that need less, wherever it strikes."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import pytest
import torch
import transformers
from refusals import command
from spoiled import on

from skn.inference import engine
from skn.limits import is_out_of_memory
from skn.store import artifacts

ERRORS = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
]


def raises(error):
    def fail(*_args, **_kwargs):
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_out_of_memory_in_a_pass_and_while_loading(run, tmp_path, monkeypatch, capsys, quiet_exit, error):
    monkeypatch.chdir(tmp_path)
    for owner, name in (
        (engine, "collate"),
        (transformers.AutoModelForMaskedLM, "from_pretrained"),
        (artifacts, "safe_open"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, raises(error))
            assert command(on("mask")) == 1, name
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("skn: out of memory"), lines
        assert "; lower --batch-tokens; nothing was changed" in lines[0]


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes differ"), KeyError("memory")])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_a_process_with_little_memory(run):
    """So little that torch cannot be imported."""

    def little():
        resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))

    line = [sys.executable, "-m", "skn", "probe", "--run", str(run), "--overwrite"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(line, preexec_fn=little, capture_output=True, text=True, env=one_thread)
    assert (done.returncode, done.stderr) == (1, "skn: out of memory; lower --batch-tokens; nothing was changed\n")
