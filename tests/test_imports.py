"""What benchmarks and scripts import of skn exists, at the top of a file and inside of its functions."""

import ast
import importlib

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
