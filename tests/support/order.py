"""The order of the tests: the order of their files, except for the slowest files."""

import pytest
from repository import REPOSITORY

TESTS = REPOSITORY / "tests"
# These files come first, so that no worker is left with one of them at the end.
LONGEST = (
    "stages/test_sweep.py",
    "scripts/test_gpu_check.py",
    "stages/test_resume.py",
    "ops/test_amx.py",
    "stages/test_mask_sweep.py",
    "scripts/test_gpu_parts.py",
    "ops/test_native.py",
    "ops/test_opcheck.py",
    "kernels/test_cuda_on_host.py",
    "kernels/test_triton.py",
    "stages/test_real_encoder.py",
    "test_tour.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
