"""Command lines with some options changed: an option of one value may be given once."""

from __future__ import annotations

from collections.abc import Sequence


def replaced(arguments: Sequence, options: Sequence) -> list:
    """The arguments without those options that are given again, value and all, and then the options."""
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
