"""Where ``bench/`` keeps the results of a machine."""

import json

import pytest
from repository import REPOSITORY


@pytest.fixture
def record_of(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    import machine

    return lambda rate: machine.record_of(tmp_path, {"float32": rate})


def test_a_machine_of_the_same_name_and_another_speed_has_a_record_of_its_own(record_of):
    first = record_of(100.0)
    first.write_text(json.dumps({"rates": {"float32": 100.0}}))
    second = record_of(40.0)
    assert second.name == f"{first.stem}-2.json"
    second.write_text(json.dumps({"rates": {"float32": 40.0}}))
    assert [record_of(rate) for rate in (140.0, 75.0, 50.0, 30.0)] == [first, first, second, second]
    assert record_of(250.0).name == f"{first.stem}-3.json"
