"""The command line: runs a command, prints errors.

Exit codes: 0 done, 1 failed, 2 bad input (one line on standard error), 130 interrupted by Ctrl-C, 143 by SIGTERM. ``skn``
alone shows the help and counts as bad input. Where the reader of standard output has gone (``skn … | head``), the command
ends quietly with 1.

Output in another encoding than UTF-8 is complete, too: what it lacks is spelled (:func:`skn.texts.spelled`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

# Whatever else is needed is imported in functions: Ctrl-C is heard by then.
from skn import interrupts
from skn.errors import InputError, Interrupted, SknError
from skn.limits import exhausted
from skn.parameters import command_line
from skn.texts import shown, spelling

INTERRUPTED = 130  # what typer returns after Ctrl-C; older versions raise Abort


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``skn``."""
    with interrupts.heard(to_the_end=arguments is None), spelling(sys.stdout, sys.stderr):
        code = 0
        try:
            code = _logged(arguments)
            if sys.stdout is not None:  # closed by whoever started the process
                sys.stdout.flush()
        except BaseException as error:
            if interrupts.was_interrupted(error):
                code = _fail("interrupted", interrupts.exit_code())
            elif isinstance(error, BrokenPipeError):
                code = 1
            elif (words := exhausted(error)) is not None:
                code = code or _fail(words, 1)  # a command that failed over it has said so
            else:
                raise
            _leave_output()
        if arguments is None and code == interrupts.exit_code():
            interrupts.leave_with(code)
    sys.exit(code)


def _leave_output() -> None:
    """What standard output could not take goes nowhere, or Python would try once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, ValueError):
        pass  # no standard output, or a closed one


def _logged(arguments: Sequence[str] | None) -> int:
    import logging

    from skn import console
    from skn.commands import habits

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(console.PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("skn").setLevel(logging.INFO)
    habits.set_library_level(logging.ERROR)  # their retries and hints: what matters in them, skn says itself
    return run(arguments)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    from skn import console
    from skn.commands import habits
    from skn.store.changes import remembered

    with habits.restored(), remembered(), command_line():
        code = _run(arguments)
        document = console.take_document()
        # A command that failed may have printed tables before: a sweep prints its grid and then names the failed cells.
        if document is not None and code != InputError.exit_code:
            print(document)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    import logging

    import typer

    from skn.commands import app
    from skn.store.changes import what_stands

    try:
        result = app(args=arguments, prog_name="skn", standalone_mode=False)
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
        # A path that the system refuses (no permission, a name too long); without a path it is a bug, as below, unless
        # the system has no more to give.
        if error.filename is None and (words := exhausted(error)) is not None:
            return _fail(words + what_stands(), SknError.exit_code)
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
    with contextlib.suppress(OSError):  # a standard error that cannot be written; the exit code says it
        print("skn: " + shown(" ".join(message.split())), file=sys.stderr)
    return code
