"""What is to happen when another package is imported or first used."""

from __future__ import annotations

import importlib
import sys

import pytest

from skn.hooks import after_import, on_first_use


@pytest.fixture
def other(tmp_path, monkeypatch):
    """The name of a module that can be imported and has not been."""
    (tmp_path / "some_other.py").write_text(
        "class Auto:\n    @classmethod\n    def load(cls, name):\n        return cls.__name__, name\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_other"
    sys.modules.pop("some_other", None)


def test_the_action_waits_for_the_import_and_comes_once(other):
    seen = []
    after_import(other, lambda: seen.append(hasattr(sys.modules[other], "Auto")))
    assert not seen and other not in sys.modules
    module = importlib.import_module(other)
    importlib.reload(module)
    assert seen == [True], "the module must have been executed before the action"


def test_the_actions_keep_their_order(other):
    seen = []
    for number in range(3):
        after_import(other, lambda number=number: seen.append(number))
    importlib.import_module(other)
    assert seen == [0, 1, 2]


def test_what_has_been_imported_is_not_waited_for(other):
    seen = []
    importlib.import_module(other)
    after_import(other, lambda: seen.append(1))
    assert seen == [1]


def test_a_module_that_is_nowhere_is_still_nowhere():
    after_import("skn_nowhere", lambda: pytest.fail("there is no such module"))
    with pytest.raises(ModuleNotFoundError, match="skn_nowhere"):
        importlib.import_module("skn_nowhere")


@pytest.mark.parametrize("imported_first", [True, False])
def test_the_first_use_of_a_class(other, imported_first):
    seen = []
    if imported_first:
        importlib.import_module(other)
    on_first_use(other, "Auto", ["load"], lambda: seen.append(1))
    owner = importlib.import_module(other).Auto
    assert not seen
    assert [owner.load("a"), owner.load(name="b")] == [("Auto", "a"), ("Auto", "b")] and seen == [1]
    assert owner.load.__func__.__code__.co_filename.endswith("some_other.py"), "the method must be its own again"


def test_a_subclass_stays_itself(other):
    owner = importlib.import_module(other).Auto
    on_first_use(other, "Auto", ["load"], lambda: None)
    assert type("Mine", (owner,), {}).load("a") == ("Mine", "a")
