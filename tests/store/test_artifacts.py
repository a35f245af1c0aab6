"""Artifacts: validated, deterministic, atomic."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from skn.errors import InputError
from skn.store import artifacts

PROVENANCE = {"backbone_digest": "abc", "prompt_length": 4, "task": "t", "zeta": 1}
MOMENTS = {
    "count": torch.tensor([2, 3]),
    "total": torch.randn(2, 3, 4, 5, dtype=torch.float64),
    "total_sq": torch.rand(2, 3, 4, 5, dtype=torch.float64),
    "present": torch.ones(3, 5, dtype=torch.bool),
}


def save(path, **changes):
    return artifacts.save(path, "moments", MOMENTS | changes, PROVENANCE, split="train")


def test_round_trip(tmp_path):
    found = artifacts.load(save(tmp_path / "m.safetensors"), "moments", PROVENANCE)
    for name, tensor in MOMENTS.items():
        assert torch.equal(found[name], tensor)
    assert found.provenance == PROVENANCE and found.meta == {"split": "train"}
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        description = json.loads(file.metadata()["skn"])
    assert description["kind"] == "moments" and description["format_version"] == 2
    assert description["axes"]["total"] == ["C", "L", "P", "F"]


def test_a_slice_of_one_value_is_stored_as_the_value(tmp_path):
    """A column of one row is contiguous with a stride that is not 1."""
    made = {"one": lambda: torch.tensor([[7, 8]])[:, 0], "two": lambda: torch.tensor([7])}
    files = {
        name: artifacts.save(
            tmp_path / name, "splits", {split: rows() for split in ("train", "validation", "test")}, PROVENANCE
        )
        for name, rows in made.items()
    }
    assert files["one"].read_bytes() == files["two"].read_bytes()
    assert artifacts.load(files["one"], "splits")["train"].tolist() == [7]


def test_same_bytes_in_another_process(tmp_path):
    """Several metadata keys would come out in random order; one JSON document does not."""
    code = (
        "import sys, torch; from skn.store import artifacts;"
        "artifacts.save(sys.argv[1], 'neurons', {'rank': torch.arange(6).reshape(2, 3)}, {k: k for k in 'qwertyuiop'}, a=1, b=2)"
    )
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for file in files:
        subprocess.run([sys.executable, "-c", code, str(file)], check=True, cwd=tmp_path)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "changes,problem",
    [
        ({"count": torch.tensor([2.0, 3.0])}, "'count' is torch.float32"),
        ({"total": torch.zeros(2, 3, 4, dtype=torch.float64)}, "has 3 axes"),
        ({"total": torch.zeros(2, 3, 4, 6, dtype=torch.float64)}, "along F"),
        ({"extra": torch.zeros(1)}, "unknown ['extra']"),
    ],
)
def test_a_tensor_that_does_not_fit_is_not_saved(tmp_path, changes, problem):
    with pytest.raises(ValueError) as error:
        save(tmp_path / "m.safetensors", **changes)
    assert problem in str(error.value) and not list(tmp_path.iterdir())


def test_refused_on_load(tmp_path):
    path = save(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="holds 'moments', expected 'hits'"):
        artifacts.load(path, "hits")
    with pytest.raises(InputError, match="made for another backbone"):
        artifacts.load(path, "moments", {"backbone_digest": "other"})
    with pytest.raises(InputError, match="made for another prompt length"):
        artifacts.load(path, "moments", {"prompt_length": 5})
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="damaged"):
            artifacts.load(path, "moments")
    with pytest.raises(InputError, match="no such file"):
        artifacts.load(tmp_path / "nothing", "moments")


def test_nan_is_refused_where_it_has_no_meaning(tmp_path):
    nan = torch.full((3, 8), torch.nan)
    with pytest.raises(ValueError, match="'prompt' holds NaN"):
        artifacts.save(tmp_path / "t", "tuned", {"prompt": nan, "label_ids": torch.tensor([1, 2])}, {})
    save(tmp_path / "m.safetensors", total=torch.full((2, 3, 4, 5), torch.nan, dtype=torch.float64))


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path / "m.safetensors")
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        save(path, count=torch.tensor([7, 7]))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_stream_writes_what_save_would(tmp_path):
    values = np.random.default_rng(0).random((6, 2, 3, 5), np.float32)
    with artifacts.stream(
        tmp_path / "s", "activations", "activations", values.shape, PROVENANCE, split="test"
    ) as array:
        for row in reversed(range(6)):
            array[row] = values[row]
    found = artifacts.load(tmp_path / "s", "activations", PROVENANCE)
    assert torch.equal(found["activations"], torch.from_numpy(values)) and found.meta["split"] == "test"
    with pytest.raises(KeyError), artifacts.stream(tmp_path / "t", "activations", "activations", (1, 1, 1, 1), {}):
        raise KeyError("interrupted")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def flipped(path, position):
    """The file with one bit of one byte turned."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_is_refused_by_name(tmp_path):
    """In a tensor as well as in what the file says of itself."""
    path = save(tmp_path / "m.safetensors")
    whole = path.read_bytes()
    start = whole.index(b"prompt_length")
    for position in (len(whole) - 1, len(whole) - 300, start + whole[start:].index(b"4")):
        path.write_bytes(whole)
        flipped(path, position)
        with pytest.raises(InputError, match=r"m\.safetensors: damaged.*make it again with 'skn probe'"):
            artifacts.load(path, "moments")
    path.write_bytes(whole)
    artifacts.load(path, "moments")


def test_a_flipped_bit_of_a_streamed_file(tmp_path):
    path = tmp_path / "s.safetensors"
    with artifacts.stream(path, "activations", "activations", (4, 1, 2, 3), {}) as array:
        array[:] = 1
    artifacts.load(path, "activations")
    flipped(path, path.stat().st_size - 1)
    with pytest.raises(InputError, match="its digest differs"):
        artifacts.load(path, "activations")


def test_a_file_of_format_1_loads_with_a_note(tmp_path, caplog):
    path = save(tmp_path / "m.safetensors")
    description, tensors = artifacts.read_safetensors(path)
    description.pop("digest")
    description["format_version"] = 1
    path.write_bytes(safetensors.torch.save(tensors, metadata={"skn": json.dumps(description)}))
    with caplog.at_level("INFO"):
        artifacts.load(path, "moments")
        artifacts.load(path, "moments")
    assert caplog.text.count("m.safetensors: written by an older skn, without a digest") == 1


def test_what_is_no_plain_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(InputError, match="not a plain file"):
        artifacts.load(tmp_path / "pipe.safetensors", "moments")


def test_a_description_nested_too_deep(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    path = tmp_path / "m.safetensors"
    path.write_bytes(
        safetensors.torch.save({"count": torch.ones(1)}, metadata={"skn": '{"provenance": {"a": ' + deep + "}}"})
    )
    with pytest.raises(InputError, match="nested too deep"):
        artifacts.load(path, "moments")
