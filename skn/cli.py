"""The command line: runs a command and prints its errors.

Exit codes: 0 done, 1 failed, 2 bad input (one line on standard error), 130 interrupted by Ctrl-C, 143 by SIGTERM.
``skn`` alone shows the help and counts as bad input. If the reader of standard output is gone (``skn … | head``), the
command ends quietly with 1.

Output in an encoding other than UTF-8 is complete, too: :func:`skn.texts.spelled` replaces the characters that the
encoding lacks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence

# Functions import everything else, so that skn handles Ctrl-C before the long imports.
from skn import interrupts, ranks
from skn.errors import InputError, Interrupted, SknError
from skn.limits import exhausted
from skn.parameters import command_line
from skn.texts import shown, spelling

INTERRUPTED = 130  # typer returns this after Ctrl-C; its older versions raise Abort


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``skn``."""
    with interrupts.heard(to_the_end=arguments is None), spelling(sys.stdout, sys.stderr):
        code = 0
        try:
            code = _logged(arguments)
            if sys.stdout is not None:  # None if the parent process closed standard output
                sys.stdout.flush()
        except BaseException as error:
            if interrupts.was_interrupted(error):
                code = _fail("interrupted", interrupts.exit_code())
            elif isinstance(error, BrokenPipeError):
                code = 1
            elif (words := exhausted(error)) is not None:
                code = code or _fail(words, 1)  # a command that failed over it has printed the line already
            else:
                raise
            _leave_output()
        if arguments is None and code == interrupts.exit_code():
            interrupts.leave_with(code)
        elif arguments is None and code:
            ranks.give_way()
    sys.exit(code)


def _leave_output() -> None:
    """Discard output that standard output could not take. Otherwise Python would try to write it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, ValueError):
        pass  # standard output is missing or closed


def _logged(arguments: Sequence[str] | None) -> int:
    import logging

    from skn import console
    from skn.commands import habits

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(console.PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("skn").setLevel(logging.INFO)
    # hides the retries and hints of libraries; skn itself reports what matters in them
    habits.set_library_level(logging.ERROR)
    return run(arguments)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error becomes one line on standard error."""
    from skn import console
    from skn.commands import habits
    from skn.store.changes import remembered

    with habits.restored(), remembered(), command_line():
        code = _run(arguments)
        document = console.take_document()
        # A command that fails may print tables first: a sweep prints its grid and then names the failed cells.
        if document is not None and code != InputError.exit_code:
            print(document)
    return code


@functools.cache
def _commands() -> Callable[..., object]:
    """Return every command with its options. Typer would build them again at each call."""
    from typer.main import get_command

    from skn.commands import app

    return get_command(app)


def _run(arguments: Sequence[str] | None) -> int:
    import logging

    import typer

    from skn.store.changes import what_stands

    commands = _commands()
    try:
        result = commands(args=arguments, prog_name="skn", standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except Interrupted as error:
        return _fail(str(error), interrupts.exit_code())
    except SknError as error:
        logging.getLogger("skn").debug("where this arose:", exc_info=error)
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", interrupts.exit_code())
    except typer.Exit as exit_:
        return exit_.exit_code
    except OSError as error:
        # An OSError with a path is a path that the system refuses (no permission, a name too long). An OSError without
        # a path is a bug, as below, unless the system has run out of something.
        if error.filename is None and (words := exhausted(error)) is not None:
            return _fail(words + what_stands(), SknError.exit_code)
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}", InputError.exit_code)
    except Exception as error:
        # Usage errors of the option parser format their own message. Any other exception is a bug and shows its
        # traceback.
        if hasattr(error, "format_message"):
            return _fail(_usage(error), InputError.exit_code)
        raise


def _usage(error: Exception) -> str:
    """Write an error of the option parser with the nearest option, and with the command whose help explains it."""
    message, near = error.format_message(), getattr(error, "possibilities", None)
    if near:  # versions of the parser write this in different words
        message = f"{error.message.partition(' Did you mean')[0].rstrip('.')}. Did you mean '{near[0]}'?"
    context = getattr(error, "ctx", None)
    return f"{message or 'name a command'} (see '{context.command_path if context else 'skn'} --help')"


def _fail(message: str, code: int) -> int:
    if ranks.rank():  # of several processes, the first says it once for all
        return code
    with contextlib.suppress(OSError):  # if standard error cannot be written, the exit code must suffice
        print("skn: " + shown(" ".join(message.split())), file=sys.stderr)
    return code
