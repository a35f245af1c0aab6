"""The application on which commands register, and a shared function that reads their options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from typing import Annotated, Any

import typer

from skn import __version__
from skn.commands.command import Command
from skn.commands.groups import CLASS_OPTIONS, with_groups
from skn.commands.habits import HABITS, with_habits
from skn.data.spec import DataSpec


class Application(typer.Typer):
    """Gives every command the options that all commands have."""

    def command(self, *arguments: Any, **named: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        register = super().command(*arguments, cls=Command, **named)
        return lambda command: register(with_habits(with_groups(command)))


app = Application(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"skn {__version__}")
        raise typer.Exit


@app.callback()
@with_habits
def skn(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Find skill neurons in pretrained Transformers, prove that they matter, keep only them."""


def said(
    context: typer.Context, spec: DataSpec, of_classes: dict[str, list[str] | None], apart: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the options that the user gives beside ``--resume``, on the command line or in a task file.

    Defaults and the options in ``apart`` are left out.
    """
    unstored = ("out", "overwrite", "resume", *CLASS_OPTIONS, *HABITS, *apart)
    given = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE" and name not in unstored
    }
    in_file = {name: value for name, value in asdict(spec).items() if value}
    return given | in_file | {name: value for name, value in of_classes.items() if value is not None}
