"""Calls can be read: with more than five values in a row, two could change places unnoticed."""

import ast

import pytest
from repository import REPOSITORY

MOST = 5
# These take any number of values of one kind: a line and its values, a seed and its names.
VARIADIC = ("log.info", "log.warning", "generator")
# What is called in skn/ops/ and kernels/ is bound to the schemas of the operators, whose order is their interface.
FILES = [path for path in sorted((REPOSITORY / "skn").rglob("*.py")) if "ops" not in path.parts]


def long_calls(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and len(node.args) > MOST and ast.unparse(node.func) not in VARIADIC:
            yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_call_has_more_than_five_positional_arguments(path):
    assert list(long_calls(path.read_text())) == []


def test_a_long_call_is_seen():
    assert list(long_calls("f(1, 2, 3, 4, 5, 6)")) and not list(long_calls("f(1, 2, 3, 4, 5, six=6)"))
