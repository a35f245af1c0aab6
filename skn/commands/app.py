"""The application that commands register on, and what they share in reading their options."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import Any

import typer

from skn.data.spec import DataSpec

app = typer.Typer(
    help="Find skill neurons in pretrained Transformers, prove that they matter, keep only them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def value(choice: Enum | None) -> str | None:
    return None if choice is None else choice.value


def said(context: typer.Context, spec: DataSpec, verbalizer: str | None, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the user says beside ``--resume``, on the command line or in a task file; no defaults, nothing of ``apart``."""
    unstored = ("out", "overwrite", "resume", *apart)
    given = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE" and name not in unstored
    }
    in_file = {name: value for name, value in asdict(spec).items() if value}
    return given | in_file | ({} if verbalizer is None else {"verbalizer": verbalizer})
