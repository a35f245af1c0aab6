"""The application that commands register on, and what they share in reading their options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from skn import __version__
from skn.commands.groups import with_groups
from skn.commands.habits import HABITS, with_habits
from skn.data.spec import DataSpec
from skn.errors import InputError


class Command(TyperCommand):
    """Refuses an option that takes one value and is given twice: the parser passes over all but the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, parameters = self.make_parser(ctx).parse_args(args=list(args))
        for name, times in Counter(p.name for p in parameters if _takes_one_value(p)).items():
            if times > 1:
                option = next(p.opts[0] for p in parameters if p.name == name)
                raise InputError(
                    f"{option}: given {times} times, but takes one value (see '{ctx.command_path} --help')"
                )
        return super().parse_args(ctx, args)


def _takes_one_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag or parameter.count)


class Application(typer.Typer):
    """Gives every command the options that all have."""

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
    context: typer.Context, spec: DataSpec, words: list[str] | None, apart: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What the user says beside ``--resume``, on the command line or in a task file; no defaults, nothing of ``apart``."""
    unstored = ("out", "overwrite", "resume", "verbalizer", *HABITS, *apart)
    given = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE" and name not in unstored
    }
    in_file = {name: value for name, value in asdict(spec).items() if value}
    return given | in_file | ({} if words is None else {"verbalizer": words})
