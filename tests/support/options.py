"""Command lines with some options changed, because an option of one value may be given only once."""

from __future__ import annotations

from collections.abc import Sequence


def replaced(arguments: Sequence, options: Sequence) -> list:
    """Return the arguments without the options that ``options`` gives again, and then ``options``."""
    again = {option for option in options if str(option).startswith("--")}
    kept, skip = [], False
    for place, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument in again:
            skip = place + 1 < len(arguments) and not str(arguments[place + 1]).startswith("--")
        else:
            kept.append(argument)
    return [*kept, *options]
