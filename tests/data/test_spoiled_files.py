"""Data files that break the library that reads them: one line that names the file, the line where there is one, and the cause."""

from __future__ import annotations

import json
import os

import pyarrow
import pyarrow.parquet
import pytest

DEEP = 100_000
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
GOOD = b'{"text": "a", "label": 0}\n'


def parquet(**columns) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue().to_pybytes()


def twice() -> bytes:
    sink = pyarrow.BufferOutputStream()
    column = pyarrow.array(["a"])
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([column, column], names=["text", "text"]), sink)
    return sink.getvalue().to_pybytes()


WHOLE = parquet(text=[f"t {i}" for i in range(2000)], label=[i % 2 for i in range(2000)])
INVALID = pyarrow.array([b"\xff\xfe"]).cast(pyarrow.binary()).view(pyarrow.string())

FILES = {
    "lone surrogate": ("d.jsonl", GOOD + b'{"text": "b \\ud800", "label": 1}\n', "d.jsonl: line 2: holds what is no text", "surrogates"),
    "lone surrogate as a label": ("d.jsonl", GOOD + b'{"text": "b", "label": "\\uDFFF"}\n', "d.jsonl: line 2: holds what is no text"),
    "nested lists": ("d.jsonl", GOOD + b"\n" + b"[" * DEEP + b"]" * DEEP, "d.jsonl: line 3: cannot be read (nested too deep)"),
    "nested objects": ("d.jsonl", b'{"a":' * DEEP + b"1" + b"}" * DEEP, "d.jsonl: line 1: cannot be read (nested too deep)"),
    "a long number": ("d.jsonl", GOOD + b'{"text": "b", "label": ' + b"7" * 5000 + b"}", "d.jsonl: line 2: cannot be read (Exceeds the limit"),
    "byte-order mark alone": ("d.csv", "\ufeff".encode(), "d.csv: no rows for the train split"),
    "byte-order mark alone of jsonl": ("d.jsonl", "\ufeff".encode(), "d.jsonl: no rows for the train split"),
    "utf-16": ("d.csv", "text,label\na,0\n".encode("utf-16-le"), "d.csv: not UTF-8 (its first character has a NUL, as UTF-16 has)"),
    "not utf-8": ("d.jsonl", GOOD + b"\xff\n", "d.jsonl: not UTF-8 (byte 26, line 2); save it as UTF-8"),
    **{f"pointer as {kind}": (f"d.{kind}", POINTER, f"d.{kind}: a Git LFS pointer", "git lfs pull") for kind in ("csv", "tsv", "jsonl", "parquet")},
    "pointer as task file": ("d.toml", POINTER, "d.toml: a Git LFS pointer"),
    "cut parquet": ("d.parquet", WHOLE[:-20], "d.parquet: not a parquet file ("),
    "flipped parquet": ("d.parquet", WHOLE[:40] + bytes(200) + WHOLE[240:], "d.parquet: not a parquet file ("),
    "text of parquet that is none": ("d.parquet", parquet(text=INVALID, label=[0]), "d.parquet: not a parquet file (", "utf-8"),
    "two columns of parquet": ("d.parquet", twice(), "d.parquet: not a parquet file (Multiple matches"),
    "nested toml": ("d.toml", b"data = " + b"[" * DEEP + b"]" * DEEP, "d.toml: not TOML (nested too deep)"),
    "a long number of toml": ("d.toml", b"data = " + b"7" * 5000, "d.toml: not TOML (Exceeds the limit"),
    "toml in latin-1": ("d.toml", "data = 'é'".encode("latin-1"), "d.toml: not UTF-8 (byte 8, line 1)"),
    "saved data set": ("d/dataset_dict.json", b"[" * DEEP, "d: a saved data set that cannot be read (", "save it again"),
}  # fmt: skip


def train(tiny, data):
    return ["train", "--backbone", tiny("bert"), "--data", data, "--out", "run", "--epochs", 0]


@pytest.mark.parametrize("name, content, phrases", [(f, c, p) for f, c, *p in FILES.values()], ids=FILES)
def test_spoiled_files(refused, tiny, tmp_path, name, content, phrases):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    assert len(refused(train(tiny, name.split("/")[0]), *phrases)) < 600


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl", "d.parquet", "d.toml", "d"])
def test_a_pipe_is_not_read(refused_pipe, tiny, name):
    refused_pipe(train(tiny, name), name)


@pytest.mark.parametrize("option", ["--attributes", "--activations"])
def test_a_pipe_of_a_searchlight_is_not_read(refused_pipe, tmp_path, option):
    (tmp_path / "cells").mkdir()
    for condition in "abc":
        (tmp_path / "cells" / f"{condition}-1.csv").write_text("0,1\n0.5,1.5\n")
    files = {"--attributes": "a.csv", "--activations": "cells", option: "pipe.csv"}
    shape = ["--shape", "1x2"] if option == "--attributes" else []
    refused_pipe(["rsa", *(word for pair in files.items() for word in pair), *shape, "--out", "o"], "pipe.csv")


def test_a_pipe_or_pointer_is_not_imported(refused, refused_pipe, tmp_path):
    refused_pipe(["import", "best-backbone", "--out", "o.safetensors"], "best-backbone")
    refused_pipe(["import", "rank.csv", "--out", "o.safetensors"], "rank.csv")
    (tmp_path / "prompt").write_bytes(POINTER)
    refused(["import", "prompt", "--out", "o.safetensors"], "prompt: a Git LFS pointer, not the file itself")


def test_a_pipe_among_files_of_splits(refused_pipe, tiny, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "test.jsonl").write_text(json.dumps({"text": "a", "label": 0}) + "\n")
    refused_pipe(train(tiny, "d"), "d/train.jsonl")


@pytest.fixture
def refused_pipe(refused, tmp_path):
    """``refused_pipe(arguments, name)``: refused where the file of this name is a pipe that nobody writes to."""

    def check(arguments, name):
        os.mkfifo(tmp_path / name)
        refused(arguments, f"{name}: a pipe, socket or device")
        (tmp_path / name).unlink()

    return check
