"""Check that content from a file has the types that a dataclass declares."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

Share = Annotated[float, Field(ge=0, le=1)]


def fault(schema: Any, content: Mapping[str, Any], open_: bool = False, inside: str = "") -> str | None:
    """Say in words what is wrong with the content by this schema, a dataclass or a dict; None if it is right.

    :param open_: the content may have keys that the schema does not name.
    :param inside: the place of the content in its file, for the message.
    """
    try:
        _adapter(schema, open_).validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (inside, *first["loc"]) if inside else first["loc"]))
        return f"{where}: {first['msg']}"
    return None


def completed(schema: Any, content: dict[str, Any]) -> dict[str, Any]:
    """Fill the schema's defaults into valid content, at every depth."""
    adapter = _adapter(schema, False)
    return _merged(content, adapter.dump_python(adapter.validate_json(json.dumps(content)), mode="json"))


def _merged(said: Any, whole: Any) -> Any:
    """Keep the type of the given values: 1, and not the schema's 1.0."""
    if isinstance(said, dict):
        return {key: _merged(said[key], value) if key in said else value for key, value in whole.items()}
    if isinstance(said, list):
        return [_merged(*pair) for pair in zip(said, whole, strict=True)]
    return said


@functools.cache
def _adapter(schema: Any, open_: bool) -> Any:
    if not is_dataclass(schema):
        return TypeAdapter(schema, config=ConfigDict(strict=True))
    extra = "ignore" if open_ else "forbid"
    return TypeAdapter(with_config(ConfigDict(extra=extra, strict=True, allow_inf_nan=False))(schema))
