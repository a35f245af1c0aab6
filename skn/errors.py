"""The exceptions of skn. The command line turns each into an exit code."""

from skn.parameters import for_reader
from skn.texts import shown


class SknError(Exception):
    """Something failed. The command line prints the message, which is one line, and exits with 1.

    Outside of the command line, the message shows options as parameters (:mod:`skn.parameters`).
    """

    exit_code = 1

    def __str__(self) -> str:
        return shown(for_reader(super().__str__()))  # the message may hold names from files


class Interrupted(SknError):
    """Ctrl-C or SIGTERM ended the work. The line says what has been written. Exit code 130 or 143."""


class InputError(SknError):
    """The input is bad. The line says what is wrong, where, and what would be right. Exit code 2."""

    exit_code = 2
