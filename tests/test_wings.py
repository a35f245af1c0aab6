"""The order of the wings: imports run downwards only, and the ground imports nothing of skn's."""

import ast
from pathlib import Path

import pytest
from repository import REPOSITORY

PACKAGE = REPOSITORY / "skn"
# From the roof to the cellar; a wing may import those that stand after it. kernels/ is the root's, installed as skn.kernels.
WINGS = ("cli", "commands", "stages", "reports", "rsa", "runs", "pruned", "neurons", "training", "int8", "inference", "data", "ops",
         "model", "store", "ground")  # fmt: skip


def wing(path):
    """The folder of a file, or what a file of the package's own folder is."""
    first, *rest = path.relative_to(PACKAGE).parts
    if rest:
        return first
    return "cli" if first in ("cli.py", "__main__.py", "__init__.py") else "ground"


def imported(source):
    """The files of skn that a file imports anywhere, functions included; the face of the package is none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "skn" and len(parts) > 1:
                yield from located(parts[1:])


def located(parts):
    """The file that holds a dotted name: a module, a package, or a module that defines the name."""
    for end in range(len(parts), 0, -1):
        below = PACKAGE.joinpath(*parts[:end])
        for file in (below.with_suffix(".py"), below / "__init__.py"):
            if file.is_file():
                yield file
                return


def upward(path, source):
    own = WINGS.index(wing(path))
    found = [file for file in imported(source) if wing(file) != wing(path)]
    if wing(path) == "ground":
        return [file for file in imported(source) if wing(file) != "ground"]
    return [file for file in found if WINGS.index(wing(file)) < own]


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "_native" not in path.parts]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_downwards(path):
    assert upward(path, path.read_text()) == []


def test_every_folder_is_a_wing():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(WINGS) - {"cli", "ground"}


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("store/atomic.py", "from skn.model import backbone"),
        ("model/backbone.py", "def late():\n    from skn.stages.train import train"),
        ("seeds.py", "import skn.store.atomic"),
        ("neurons/masking.py", "from skn.runs.run import Run"),
        ("stages/train.py", "from skn.commands import parse"),
    ],
)
def test_an_import_upwards_is_seen(place, line):
    assert upward(PACKAGE / place, line)


def test_an_import_downwards_is_fine():
    assert upward(Path(PACKAGE, "stages", "train.py"), "from skn.runs.run import Run\nimport torch, skn") == []
