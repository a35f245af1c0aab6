"""Every native source compiles against the headers of the oldest torch that is promised, where those headers are."""

import runpy
from types import SimpleNamespace

import pytest
from repository import REPOSITORY

OLDEST = SimpleNamespace(**runpy.run_path(str(REPOSITORY / "scripts" / "oldest_torch.py")))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not OLDEST.HEADERS.is_dir(),
        reason=f"no headers of torch {OLDEST.VERSION}: make check-oldest-torch gets them",
    ),
]


@pytest.mark.parametrize("source", OLDEST.sources())
def test_it_compiles(source):
    assert OLDEST.complaint(source) == ""


def test_a_macro_of_a_newer_torch_is_found(tmp_path):
    source = tmp_path / "newer.cpp"
    source.write_text("#include <torch/csrc/stable/library.h>\nvoid f() { STABLE_TORCH_ERROR_CODE_CHECK(0); }\n")
    assert "STABLE_TORCH_ERROR_CODE_CHECK" in OLDEST.complaint(str(source))
