"""What benchmarks and scripts import of skn exists, at the top of a file and inside of its functions. None of their files
stands before a module that others import.
"""

import ast
import importlib.machinery
import sys

import pytest
from repository import REPOSITORY

FILES = sorted(path for folder in ("bench", "scripts") for path in (REPOSITORY / folder).rglob("*.py"))


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "skn":
            yield from ((node.module, alias.name) for alias in node.names)


def exists(module, name):
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ImportError:
        return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_what_is_imported_of_skn_exists(path):
    pytest.importorskip("triton", reason="Triton is not installed (pip install 'skn[gpu]')")
    assert [names for names in imports(path.read_text()) if not exists(*names)] == []


def test_what_does_not_exist_is_seen():
    assert not exists("skn.ops", "no_such_operator") and not exists("skn.nowhere", "thing")
    assert exists("skn.ops", "encode") and exists("skn", "ops")


FIRST = ("bench", "scripts", "scripts/gpu", "tests/support")  # Python looks in such a folder before it looks elsewhere


def shadowed(name):
    """Whether a file of this name would stand before a module of Python or of an installed package."""
    installed = [path for path in sys.path if path.endswith("-packages")]
    return name in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(name, installed) is not None


@pytest.mark.parametrize("folder", FIRST)
def test_no_file_takes_the_place_of_an_installed_module(folder):
    names = [path.stem for path in (REPOSITORY / folder).glob("*.py")]
    assert names and [name for name in names if shadowed(name)] == []


def test_a_file_that_takes_the_place_of_a_module_is_seen():
    assert shadowed("wheel") and shadowed("json") and not shadowed("make_wheel")
