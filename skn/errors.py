"""What skn raises when it cannot go on, and how the command line turns it into an exit code."""

from skn.parameters import for_reader
from skn.texts import shown


class SknError(Exception):
    """Something failed. One line; the command line prints it and exits with 1.

    Outside of the command line its options are shown as parameters (:mod:`skn.parameters`).
    """

    exit_code = 1

    def __str__(self) -> str:
        return shown(for_reader(super().__str__()))  # names out of files are in it


class Interrupted(SknError):
    """Ctrl-C or SIGTERM ended the work: the line says what stands. Exit code 130 or 143."""


class InputError(SknError):
    """The input is at fault: the line says what is wrong, where, and what would be right. Exit code 2."""

    exit_code = 2
