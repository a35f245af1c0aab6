"""Comments, docstrings and messages name modules, functions and files that exist."""

import importlib
import re

import pytest
from repository import REPOSITORY

SOURCES = [
    REPOSITORY / "setup.py",
    *sorted(
        path
        for folder in ("csrc", "kernels", "scripts", "skn")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".h", ".cpp", ".cu", ".sh")
    ),
]
DOTTED = re.compile(r"(?<![\w./])skn(?:\.[A-Za-z_]\w*)+|torch\.ops\.skn\.\w+")
PATH = re.compile(r"(?<![\w./])(?:csrc|kernels|scripts|skn|tests)/[\w/.*-]*[\w*]")
# Operators that a library itself defines: without the library, torch does not know them.
DEFINED = {
    f"torch.ops.skn.{name}"
    for path in (REPOSITORY / "csrc").rglob("*.cpp")
    for name in re.findall(r'm\.def\(\s*"(\w+)\(', path.read_text())
}
FILES = ("skn.json", "skn/_native/build.json")  # what a run and a build write


def names(pattern):
    """What the sources name -> the first of them that does."""
    found = {}
    for path in SOURCES:
        for name in pattern.findall(path.read_text()):
            found.setdefault(name, path.relative_to(REPOSITORY))
    return {name: path for name, path in found.items() if name not in FILES}


def resolves(name):
    """Whether a dotted name leads somewhere, through modules that are imported for it."""
    if name in DEFINED:
        return True
    first, *rest = name.split(".")
    here, reached = importlib.import_module(first), first
    for part in rest:
        reached += "." + part
        if not hasattr(here, part):
            try:
                importlib.import_module(reached)
            except ImportError:
                return False
        here = getattr(here, part)
    return True


def test_names_of_modules_and_functions():
    found = names(DOTTED)
    assert {"skn.ops.pack", "skn.ops.encoder.encode"} <= found.keys()
    assert {name: path for name, path in found.items() if not resolves(name)} == {}


def test_names_of_files():
    found = names(PATH)
    assert {"csrc/cpu/linear.h", "tests/kernels/test_oldest_torch.py"} <= found.keys()
    assert {name: path for name, path in found.items() if not list(REPOSITORY.glob(name))} == {}
    assert PATH.fullmatch("csrc/cuda/registration.cu") and not list(REPOSITORY.glob("csrc/cuda/registration.cu"))


@pytest.mark.parametrize("name", ["skn.encoder_ops", "skn.ops.no_such_operator", "torch.ops.skn.no_such_operator"])
def test_a_stale_name_is_found(name):
    assert DOTTED.fullmatch(name) and not resolves(name)
