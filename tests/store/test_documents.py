"""JSON documents: of one kind and format, whole, and of the declared types; or refused in one line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pytest

from skn.errors import InputError
from skn.store import documents


@dataclass
class Inner:
    rows: list[dict[str, float]]


@dataclass
class Schema:
    """What the documents of these tests hold."""

    name: str
    count: int
    inner: Inner
    maybe: float | None = None


CONTENT = {"name": "喜び", "count": 3, "inner": {"rows": [{"a": 0.1}]}, "maybe": None}


@pytest.fixture
def file(tmp_path):
    documents.write(tmp_path / "d.json", "thing", CONTENT)
    return tmp_path / "d.json"


def read(file):
    return documents.read(file, "thing", Schema, "make it again")


def test_round_trip(file):
    assert read(file) == CONTENT
    before = file.read_bytes()
    documents.write(file, "thing", read(file))
    assert file.read_bytes() == before


def test_any_changed_character_is_refused(file):
    """Every byte in turn: what still is JSON and says the same, such as another space, may pass."""
    whole = file.read_bytes()
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1
        file.write_bytes(content)
        try:
            assert read(file) == CONTENT
        except InputError as error:
            assert str(error).startswith(f"{file}: ")


def test_a_document_of_format_1_is_taken_with_a_note(file, caplog):
    file.write_text(json.dumps(CONTENT))
    with caplog.at_level("INFO"):
        assert read(file) == CONTENT
    assert "written by an older skn" in caplog.text
    with pytest.raises(InputError, match="holds 'None', expected 'thing'"):
        documents.read(file, "thing", Schema, "make it again", old_too=False)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"count": "3"}, "count: Input should be a valid integer"),
        ({"count": True}, "count: Input should be a valid integer"),
        ({"maybe": float("nan")}, "maybe: Input should be a finite number"),
        ({"inner": None}, "inner: "),
        ({"inner": {"rows": [{"a": "x"}]}}, "inner.rows.0.a: "),
        ({"more": 1}, "more: Unexpected keyword argument"),
    ],
)
def test_a_value_of_another_type_is_named(file, change, words):
    documents.write(file, "thing", {**CONTENT, **change})
    with pytest.raises(InputError) as error:
        read(file)
    assert words in str(error.value) and "make it again" in str(error.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "damaged"),
        (b"[1]", "a list, expected an object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b'{"name": "x"}', "count: "),
    ],
)
def test_what_is_no_document(file, content, words):
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(file)
    assert str(error.value).startswith(f"{file}: ") and words in str(error.value)


def test_a_pipe_and_a_device_are_not_read(file):
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match="not a plain file"):
        read(file)
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a plain file"):
        read(file)


def test_of_another_kind_or_format(file):
    documents.write(file, "other", CONTENT)
    with pytest.raises(InputError, match="holds 'other', expected 'thing'"):
        read(file)
    documents.write(file, "thing", CONTENT)
    file.write_text(file.read_text().replace('"format_version": 2', '"format_version": 9'))
    with pytest.raises(InputError, match="format version 9, this skn reads 2"):
        read(file)
