"""The command line: runs a command, prints errors.

Exit codes: 0 done, 1 failed, 2 bad input (one line on standard error).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import transformers
import typer

from skn.commands import app
from skn.errors import InputError, SknError

INTERRUPTED = 130  # what typer returns after Ctrl-C; older versions raise Abort


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``skn``."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("skn").setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for library in ("huggingface_hub", "datasets"):  # their retries and hints: what matters in them, skn says itself
        logging.getLogger(library).setLevel(logging.ERROR)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    try:
        result = app(args=arguments, standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except SknError as error:
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
            return _fail(f"{error.format_message() or 'name a command'} (see --help)", InputError.exit_code)
        raise


def _fail(message: str, code: int) -> int:
    print("skn: " + " ".join(message.split()), file=sys.stderr)
    return code
