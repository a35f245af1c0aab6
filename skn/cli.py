"""The command line: runs a command, prints errors.

Exit codes: 0 done, 1 failed, 2 bad input (one line on standard error). ``skn`` alone shows the help and counts as bad
input. Where the reader of standard output has gone (``skn … | head``), the command ends quietly with 1.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer

from skn import console
from skn.commands import app, habits
from skn.errors import InputError, SknError
from skn.texts import shown

INTERRUPTED = 130  # what typer returns after Ctrl-C; older versions raise Abort

log = logging.getLogger("skn")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``skn``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(console.PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
    habits.set_library_level(logging.ERROR)  # their retries and hints: what matters in them, skn says itself
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python flushes into the pipe at its end
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    with habits.restored():
        code = _run(arguments)
        document = console.take_document()
        # A command that failed may have printed tables before: a sweep prints its grid and then names the failed cells.
        if document is not None and code != InputError.exit_code:
            print(document)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = app(args=arguments, prog_name="skn", standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except SknError as error:
        log.debug("where this arose:", exc_info=error)
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; what was complete is kept, --resume continues", 1)
    except typer.Exit as exit_:
        return exit_.exit_code
    except OSError as error:
        # A path that the system refuses (no permission, a name too long); without a path it is a bug, as below.
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}", InputError.exit_code)
    except Exception as error:
        # Usage errors of the option parser know how to say themselves; anything else is a bug and shows its traceback.
        if hasattr(error, "format_message"):
            return _fail(_usage(error), InputError.exit_code)
        raise


def _usage(error: Exception) -> str:
    """An error of the option parser, with the nearest option and the command whose help to see."""
    message, near = error.format_message(), getattr(error, "possibilities", None)
    if near:  # versions of the parser say this in different words
        message = f"{error.message.partition(' Did you mean')[0].rstrip('.')}. Did you mean '{near[0]}'?"
    context = getattr(error, "ctx", None)
    return f"{message or 'name a command'} (see '{context.command_path if context else 'skn'} --help')"


def _fail(message: str, code: int) -> int:
    print("skn: " + shown(" ".join(message.split())), file=sys.stderr)
    return code
