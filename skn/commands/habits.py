"""The options of every command, before its name or after it: --quiet, --verbose, --json."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial, wraps
from typing import Annotated, Any

import typer

from skn import console, progress, ranks
from skn.errors import InputError
from skn.hooks import after_import

PANEL = "Every command"
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Only results, warnings and errors: no progress, no notes.", rich_help_panel=PANEL
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Also debug messages, what libraries warn of, and where an error arose.",
        rich_help_panel=PANEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Tables as one JSON document on standard output; all else on standard error.",
        rich_help_panel=PANEL,
    ),
]
HABITS = {"quiet": Quiet, "verbose": Verbose, "json": Json}

# Each library's module that decides how much the library logs. Importing the module sets the level.
LIBRARIES = ("huggingface_hub.utils.logging", "datasets.utils.logging", "transformers.utils.logging")

log = logging.getLogger("skn")


def with_habits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command after the command's own options."""

    @wraps(command)
    def called(*arguments: Any, **named: Any) -> Any:
        apply(**{name: named.pop(name) for name in HABITS})
        return command(*arguments, **named)

    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in HABITS.items()
    ]
    called.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])
    called.__annotations__ = {p.name: p.annotation for p in called.__signature__.parameters.values()}
    return called


def apply(quiet: bool, verbose: bool, json: bool) -> None:
    """Apply the given options. Others keep their state, because they may have been given before the command's name."""
    if (quiet or console.notes.quiet) and (verbose or log.level == logging.DEBUG):
        raise InputError("--quiet and --verbose: leave one of them out (see --help)")
    if quiet:
        log.setLevel(logging.WARNING)
        console.notes.quiet = progress.console.quiet = True
    if verbose:
        log.setLevel(logging.DEBUG)
        set_library_level(logging.WARNING)
    if json:
        console.collect_tables()


@contextmanager
def restored() -> Iterator[None]:
    """Undo the settings after the block, because a process may run several commands.

    Of several processes for one command, all but the first are silent in the block.
    """
    level = log.level
    try:
        with _silence() if ranks.rank() else nullcontext():
            yield
    finally:
        log.setLevel(level)
        console.notes.quiet = progress.console.quiet = False
        console.take_document()


@contextmanager
def _silence() -> Iterator[None]:
    """Say nothing in the block but errors that are bugs."""
    disabled = logging.root.manager.disable
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        progress.console.quiet = True
        try:
            yield
        finally:
            logging.disable(disabled)


def set_library_level(level: int) -> None:
    """Set the log level of the libraries, at once or when each is imported: importing them here would take seconds."""
    for name in LIBRARIES:
        after_import(name, partial(_set_level, name, level))


def _set_level(name: str, level: int) -> None:
    logging_of = sys.modules[name]
    logging_of.set_verbosity(level)
    if name == "transformers.utils.logging":
        logging_of.disable_progress_bar()
