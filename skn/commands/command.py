"""A command of the application: its checks of any command line, and its lines when it cannot go on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from skn import interrupts, ranks
from skn.errors import InputError, Interrupted, SknError
from skn.limits import is_out_of_memory
from skn.store.changes import what_stands

# The options that bound how much memory a command needs at once.
MEMORY_OPTIONS = ("batch_tokens", "batch_size", "workers")


# The commands that several processes can run. A sweep has its own processes.
OF_SEVERAL = ("probe", "mask", "evaluate")


class Command(TyperCommand):
    """Refuses options that would silently have no effect.

    Such options are an option of one value that is given twice, of which the parser keeps only the last, and
    --overwrite beside --resume, which replaces nothing.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, parameters = self.make_parser(ctx).parse_args(args=list(args))
        for name, times in Counter(p.name for p in parameters if _takes_one_value(p)).items():
            if times > 1:
                option = next(p.opts[0] for p in parameters if p.name == name)
                raise InputError(
                    f"{option}: given {times} times, but takes one value (see '{ctx.command_path} --help')"
                )
        rest = super().parse_args(ctx, args)
        if ctx.params.get("overwrite") and ctx.params.get("resume"):
            raise InputError(
                "--overwrite has no effect with --resume, which keeps what is complete; leave one of them out"
            )
        return rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx) if ranks.count() == 1 else self._invoke_in_several(ctx)
        except Interrupted:
            raise
        except BaseException as error:
            if interrupts.was_interrupted(error) and not isinstance(error, SknError):
                raise Interrupted(_what_stands(ctx)) from error
            if is_out_of_memory(error):
                raise SknError(_out_of_memory(ctx, error)) from error
            raise

    def _invoke_in_several(self, ctx: Any) -> Any:
        if self.name not in OF_SEVERAL or ctx.params.get("sweep") is not None:
            form = " --sweep" if self.name in OF_SEVERAL else ""
            *others, last = (f"'skn {name} --run'" for name in OF_SEVERAL)
            raise InputError(
                f"'{ctx.command_path}{form}' runs in one process, and a launcher such as torchrun has started "
                f"{ranks.count()}: start it alone; several processes can run {', '.join(others)} and {last}"
            )
        from skn.inference import processes

        if ranks.rank():
            return processes.follow()
        with processes.led():
            return super().invoke(ctx)


def _takes_one_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag or parameter.count)


def _what_stands(ctx: Any) -> str:
    """Say what an interrupted command leaves and, if the command can resume, how to go on."""
    out = ctx.params.get("out")
    if out is not None and not _is_begun(Path(out)):
        return "interrupted; nothing was written"
    resume = any(parameter.name == "resume" for parameter in ctx.command.params)
    return "interrupted; what was complete is kept" + (", --resume continues" if resume else "")


def _out_of_memory(ctx: Any, error: BaseException) -> str:
    """Say what the command was doing, if this is known, and which of its options need less memory."""
    where = f" ({error})" if isinstance(error, SknError) else ""
    options = [p.opts[0] for p in ctx.command.params if p.name in MEMORY_OPTIONS and ctx.params.get(p.name)]
    return (
        f"out of memory{where}; " + (f"lower {' or '.join(options)}" if options else "free some of it") + what_stands()
    )


def _is_begun(out: Path) -> bool:
    """Whether anything is in ``out``. Hidden names do not count, because they are half-written files."""
    return out.is_file() or (out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()))
