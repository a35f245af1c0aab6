"""The order of the tests: that of their files, but for those that take longest."""

import pytest
from repository import REPOSITORY

TESTS = REPOSITORY / "tests"
# These begin first: no worker is then left with one of them at the end.
LONGEST = (
    "stages/test_real_encoder.py",
    "stages/test_sweep.py",
    "stages/test_resume.py",
    "scripts/test_gpu_check.py",
    "ops/test_opcheck.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
