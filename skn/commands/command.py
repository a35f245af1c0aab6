"""A command of the application: what it refuses of any command line, and what it says when it is interrupted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from skn import interrupts
from skn.errors import InputError, Interrupted, SknError


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

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SknError:
            raise
        except BaseException as error:
            if not interrupts.was_interrupted(error):
                raise
            raise Interrupted(_what_stands(ctx)) from error


def _takes_one_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag or parameter.count)


def _what_stands(ctx: Any) -> str:
    """What an interrupted command leaves, and how to go on where the command can."""
    out = ctx.params.get("out")
    if out is not None and not _is_begun(Path(out)):
        return "interrupted; nothing was written"
    resume = any(parameter.name == "resume" for parameter in ctx.command.params)
    return "interrupted; what was complete is kept" + (", --resume continues" if resume else "")


def _is_begun(out: Path) -> bool:
    """Something stands there; hidden names are of files that were being written."""
    return out.is_file() or (out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()))
