"""An extension of griffe: turn reST in docstrings into Markdown and into the sections that griffe knows."""

from __future__ import annotations

import re
from typing import Any

import griffe

# ``:class:`InputError``` → ```InputError```
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
_EXAMPLE = re.compile(r"^( *)Example::$", re.MULTILINE)


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", text)
