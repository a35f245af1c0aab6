"""``skn import`` of small files that expand: refused before anything large is built or printed."""

from __future__ import annotations

import io
import pickle
import resource
import time
import zipfile

import numpy as np
import pytest
import torch
from foreign_files import F, H, L, P, imported, saved

from skn.errors import InputError
from skn.neurons.pickle_bounds import DEEPEST, MOST_VALUES
from skn.stages.import_ import import_

DEEP = 100_000


def doubled(make, steps=60):
    """A value of two references to a value of two references to …"""
    value = make(("a", "b"))
    for _ in range(steps):
        value = make((value, value))
    return value


class Called:
    """Calls a function where it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def raw(content: bytes, zipped: bool) -> bytes:
    """A pickle in one of the two formats of ``torch.save``."""
    if not zipped:
        good = io.BytesIO()
        torch.save(None, good, _use_new_zipfile_serialization=False)
        none = pickle.dumps(None, protocol=2)
        assert none in good.getvalue()
        return good.getvalue().replace(none, content)
    good, made = io.BytesIO(), io.BytesIO()
    torch.save(None, good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return made.getvalue()


def appended_later(steps=60) -> bytes:
    """Lists that are put into each other before they are filled."""
    code = b"\x80\x02" + b"".join(b"]r" + i.to_bytes(4, "little") for i in range(steps))
    for i in range(steps - 1):
        outer, inner = (b"j" + n.to_bytes(4, "little") for n in (i, i + 1))
        code += outer + inner + b"a" + inner + b"a"
    return code + b"j" + (0).to_bytes(4, "little") + b"."


SHARED = {
    "lists": lambda: pickle.dumps({"prompt": 1, "pos": doubled(list)}, protocol=2),
    "tuples as a key": lambda: pickle.dumps(doubled(tuple), protocol=2)[:-1] + b"N\x86\x85.",
    "a key": lambda: b"\x80\x02}" + pickle.dumps(doubled(tuple), protocol=2)[2:-1] + b"Ns.",
    "called": lambda: (
        pickle.dumps(doubled(list), protocol=2)[:-1] + b")R."
    ),  # torch's own message prints what is called
    "lists filled later": appended_later,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", SHARED.values(), ids=SHARED)
def test_values_that_double_by_reference(small, content, zipped):
    small(raw(content(), zipped), f"more than {MOST_VALUES:,} values where references are followed")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("code", [b"]" * DEEP + b"a" * (DEEP - 1), b")" + b"\x85" * DEEP], ids=["lists", "tuples"])
def test_deep_nesting(small, code, zipped):
    small(raw(b"\x80\x02" + code + b".", zipped), f"values nested more than {DEEPEST} deep", limit=1_000_000)


def test_a_list_in_itself(small):
    held = []
    held.append(held)
    small(raw(pickle.dumps(held, protocol=2), True), "holds a value that holds itself")


def test_many_values(small):
    small(
        raw(b"\x80\x02](" + b"N" * (MOST_VALUES + 1) + b"e.", True), f"more than {MOST_VALUES:,} values;", limit=2**21
    )


def archive(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


ARRAYS = {
    "expanded": lambda: torch.zeros(1).expand(36_000, 36_000),
    "expanded prompt": lambda: {"prompt": torch.zeros(1, 1, 1).expand(1, 36_000, 36_000), "pos": [1, 2]},
    "beside others": lambda: {
        "best_prompt": torch.zeros(P, H),
        "best_acc": 1.0,
        "rest": [torch.zeros(1).expand(10**10)],
    },
    "strided": lambda: torch.zeros(40_000).as_strided((20_000, 20_000), (1, 1)),
    "only said": lambda: Called(np.ndarray, (36_000, 36_000)),
    "of a large type": lambda: Called(np.ndarray, (1,), Called(np.dtype, "(10000,20000)f8")),
}


@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_arrays_larger_than_their_file(small, content):
    small(archive(content()), "an array [", "bytes in a file of", limit=200_000)


def test_a_storage_that_is_smaller_than_its_tensor(small):
    """The record of the values is cut, the pickle says as many as before."""
    good, made = io.BytesIO(archive(torch.randn(L, P, F))), io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name)[: 4 if name.endswith("data/0") else None])
    small(made.getvalue(), "damaged or not written by torch.save")


@pytest.mark.parametrize("record", ["data.pkl", "data/0", "more"])
def test_a_zip_that_unpacks_to_more(small, record):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        with zipfile.ZipFile(io.BytesIO(archive(torch.randn(2, 2)))) as source:
            for name in source.namelist():
                if not name.endswith(record):
                    target.writestr(name, source.read(name))
        with target.open(f"archive/{record}", "w") as file:
            for _ in range(64):
                file.write(bytes(2**20))
    small(made.getvalue(), "bytes that unpack to 67,", "torch.save compresses nothing", limit=200_000)


def test_bytes_of_a_number(small):
    small(archive(Called(bytearray, 10**10)), "bytearray', which skn does not load")


def test_texts_are_no_numbers(small):
    small(archive(Called(np.ndarray, (2,), Called(np.dtype, "S3"))), "holds an array of |S3, expected numbers")
    small(archive({"prompt": torch.randn(1, P, H), "pos": [1, 2**70]}), "'pos' is [1, ", "expected a list")


def test_arrays_that_share_their_values_are_read(tmp_path, out):
    shared = torch.randn(1, P, H)
    found = imported(
        "tuned", [saved(tmp_path / "f", {"prompt": shared, "pos": [1, 2], "again": [shared, shared]})], out
    )
    assert torch.equal(found["prompt"], shared[0])


@pytest.fixture
def small(tmp_path, out):
    """``small(content, *phrases)``: refused in a line and in no time, with little memory."""

    def check(content: bytes, *phrases: str, limit: int = 20_000):
        assert len(content) < limit
        (tmp_path / "file").write_bytes(content)
        peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with pytest.raises(InputError) as refusal:
            import_([tmp_path / "file"], out)
        assert time.process_time() - began < 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2**20  # KiB
        line = str(refusal.value)
        assert all(phrase in line for phrase in ("/file: ", *phrases)) and len(line) < 500 and "\n" not in line, line

    return check
