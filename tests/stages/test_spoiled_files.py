"""Every file of a run, of its backbone and of its data, spoiled in many ways: one line that names the file, and no hang."""

from __future__ import annotations

import builtins
import os
import random
import shutil
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from refusals import command
from spoiled import edit, edit_artifact, on

SECONDS = 20  # none takes one; a pipe or a device would be read for ever

MASK, EVALUATE = [*on("mask"), "--overwrite"], [*on("evaluate"), "--overwrite"]

# File → the stage that reads it soonest.
READ_BY = {
    "run/run.json": on("select"),
    "run/tuned.safetensors": on("select"),
    "run/hits-validation.safetensors": on("select"),
    "run/moments.safetensors": [*on("mean"), "--overwrite"],
    "run/neurons.safetensors": MASK,
    "run/splits.safetensors": MASK,
    "run/pruned/config.json": EVALUATE,
    "run/pruned/tokenizer.json": EVALUATE,
    "run/pruned/tokenizer_config.json": EVALUATE,
    "run/pruned/model.safetensors": EVALUATE,
    "run/pruned/skn.json": EVALUATE,
    "data/validation.tsv": MASK,
    "backbone/config.json": MASK,
    "backbone/tokenizer.json": MASK,
    "backbone/model.safetensors": MASK,
}


def flipped(content: bytes, seed: int) -> bytes:
    """One bit is another, somewhere."""
    place = random.Random(seed).randrange(len(content))
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


CONTENTS = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "an empty object": lambda content: b"{}",
    "nested objects": lambda content: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a long number": lambda content: b'{"a": ' + b"9" * 5_000 + b"}",
    "bytes": lambda content: bytes(range(256)) * 20,
    "a header without end": lambda content: b"\xff" * 8 + content[8:],
    "a pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
}


PLACES = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to nowhere": lambda file: file.symlink_to("nowhere"),
    "a device": lambda file: file.symlink_to("/dev/zero"),
}


@contextmanager
def at_most(seconds: int):
    def late(*_):
        raise TimeoutError(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def good(tiny, corpus_folder, tmp_path_factory) -> Path:
    """A run with everything that the stages read, its backbone and its data beside it."""
    folder = tmp_path_factory.mktemp("good")
    shutil.copytree(tiny("roberta"), folder / "backbone")
    shutil.copytree(corpus_folder, folder / "data")
    run = folder / "run"
    train = ["train", "--backbone", folder / "backbone", "--data", folder / "data", "--out", run, "--epochs", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for arguments in ([*train, "--prompt-length", 4], on("probe"), on("select"), on("prune")):
            assert command(arguments) == 0
    return folder


@pytest.fixture
def place(good, monkeypatch):
    """Where the good run stands; a file that a test spoils is put back."""
    monkeypatch.chdir(good)
    return good


def check(arguments, file: Path, capsys, way: str) -> None:
    """The stage refuses in one line, of the file or of the folder that holds it."""
    capsys.readouterr()
    with at_most(SECONDS):
        code = command(arguments)
    line = capsys.readouterr().err.strip()
    assert code == 2 and line.startswith("skn: ") and "\n" not in line, (way, code, line)
    assert file.name in line or file.parent.name in line, (way, line)


@contextmanager
def put_back(file: Path):
    content = file.read_bytes()
    try:
        yield content
    finally:
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        file.write_bytes(content)


@pytest.mark.parametrize("name", READ_BY)
def test_spoiled(place, capsys, quiet_exit, name):
    file = place / name
    ways = dict(CONTENTS)
    if file.name == "skn.json":
        del ways["an empty object"]  # says nothing of its kind, as the mark of an older skn
    if name.startswith("run/"):  # what skn wrote carries a digest
        ways |= {f"bit {seed}": partial(flipped, seed=seed) for seed in range(2)}
    for way, change in ways.items():
        with put_back(file) as content:
            file.write_bytes(change(content))
            check(READ_BY[name], file, capsys, way)
    for way, make in PLACES.items():
        with put_back(file):
            file.unlink()
            make(file)
            check(READ_BY[name], file, capsys, way)


@pytest.mark.parametrize("name", READ_BY)
def test_a_file_that_may_not_be_read(place, capsys, quiet_exit, monkeypatch, name):
    """Simulated: who runs the tests may be root."""
    file, opened = (place / name).resolve(), builtins.open

    def refusing(path, *arguments, **named):
        if isinstance(path, str | Path) and Path(path).resolve() == file:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refusing)
        patch.setattr("io.open", refusing)
        check(READ_BY[name], file, capsys, "unreadable")


EDITS = {
    "method": ("tuned", lambda description, tensors: description.update(method={})),
    "no method": ("tuned", lambda description, tensors: description.pop("method")),
    "position": ("tuned", lambda description, tensors: description.update(position_start="x")),
    "words beyond": ("tuned", lambda description, tensors: tensors["label_ids"].fill_(10**6)),
    "other sizes": (
        "tuned",
        lambda description, tensors: tensors.update(mask_embedding=tensors["mask_embedding"][:-1]),
    ),
    "no words": ("tuned", lambda description, tensors: tensors.update(label_ids=tensors["label_ids"][:0])),
    "rows beyond": ("splits", lambda description, tensors: tensors["test"].fill_(10**6)),
    "no rows": ("splits", lambda description, tensors: tensors.update(test=tensors["test"][:0])),
}


@pytest.mark.parametrize("way", EDITS)
def test_edited_with_a_digest_of_its_own(place, capsys, quiet_exit, way):
    kind, change = EDITS[way]
    file = place / "run" / f"{kind}.safetensors"
    with put_back(file):
        edit_artifact(file, change)
        check(MASK, file, capsys, way)


def test_a_document_edited_with_a_digest_of_its_own(place, capsys, quiet_exit):
    file = place / "run" / "run.json"
    for name, value in {"max_length": -1, "batch_size": 0, "dtype": "x", "method": "x", "seed": 10**30}.items():
        with put_back(file):
            edit(file, lambda content, name=name, value=value: content["config"].update({name: value}))
            check(MASK, file, capsys, name)
