"""Run an action when another package is imported or used, without importing the package.

``import skn`` must not import torch or transformers, but must tell transformers of the pruned models, whichever of the
two is imported first.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

Action = Callable[[], object]


def after_import(name: str, action: Action) -> None:
    """Call ``action`` once the module ``name`` is imported: now if it is imported already, otherwise after its import."""
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        action()
        return
    _finder.waiting.setdefault(name, []).append(action)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def on_first_use(module: str, name: str, methods: Sequence[str], action: Action) -> None:
    """Call ``action`` before the first call of any of these class methods of ``module.name``.

    This is the earliest safe moment: during the import of ``module``, other modules that the action needs may be only
    half imported. The original methods are restored before the action is called.
    """
    after_import(module, lambda: _intercept(getattr(sys.modules[module], name), methods, action))


def _intercept(owner: type, methods: Sequence[str], action: Action) -> None:
    originals = {method: vars(owner)[method] for method in methods}

    def calling(method: str) -> Any:
        @wraps(originals[method].__func__)
        def first(cls: type, *arguments: Any, **named: Any) -> Any:
            for each, original in originals.items():
                setattr(owner, each, original)
            action()
            return getattr(cls, method)(*arguments, **named)

        return classmethod(first)

    for method in methods:
        setattr(owner, method, calling(method))


class _Finder(MetaPathFinder):
    """Finds no module itself. It extends the loader of an awaited module, so that the actions run after the import."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Action]] = {}

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name not in self.waiting:
            return None
        spec = _spec_of_others(name, path, target)
        if spec is not None and spec.loader is not None:
            self._extend(spec.loader, name)
        return spec

    def _extend(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for action in self.waiting.pop(name, ()):
                action()

        loader.exec_module = exec_module


_finder = _Finder()


def _spec_of_others(name: str, path: Any, target: ModuleType | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None if finder is _finder or find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None
