"""Text files with delimiters, csv and tsv: a header and rows of as many fields, each with the number of its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skn.errors import InputError
from skn.names import one_of
from skn.store.foreign_files import read_text

# "none": a quote is a letter like others. "multiline": a quoted field may go on over lines.
QUOTING = ("none", "multiline")
QUOTING_HINT = (
    "--quoting none reads a file that does not quote, --quoting multiline one with line breaks inside of quotes"
)


@dataclass(frozen=True)
class Delimited:
    """A header and rows of as many texts; ``lines`` holds the number of the line, from 1, where each row begins."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]


def read_delimited(path: Path, delimiter: str, quoting: str | None = None, hint: str = QUOTING_HINT) -> Delimited:
    """Raises :class:`InputError`, naming the line, for a quote that does not end, a ragged row, a column name twice.

    Without ``quoting`` a field that begins with a quote ends with one in the same line. A stray quote would otherwise
    take the rows up to the next quote into one field, and they would be gone without a word. Empty lines are passed by.

    :param hint: what to do about such a quote.
    """
    if quoting is not None:
        one_of(quoting, QUOTING, "--quoting")
    csv.field_size_limit(2**31 - 1)
    text = io.StringIO(read_text(path), newline="")
    found = (
        _spanning(path, text, delimiter, hint)
        if quoting == "multiline"
        else _lines(path, text, delimiter, quoting, hint=hint)
    )
    numbered = [(number, fields) for number, fields in found if fields]
    _, header = numbered[0] if numbered else (0, [])
    repeated = sorted({name for name in header if header.count(name) > 1}) if len(set(header)) < len(header) else []
    if repeated:
        raise InputError(f"{path}: column '{repeated[0]}' stands twice in the header; rename one")
    for number, fields in numbered:
        if len(fields) != len(header):
            raise InputError(f"{path}: line {number} has {len(fields)} fields, the header has {len(header)}")
    return Delimited(header, [fields for _, fields in numbered[1:]], [number for number, _ in numbered[1:]])


def _lines(
    path: Path, text: io.StringIO, delimiter: str, quoting: str | None, hint: str
) -> Iterator[tuple[int, list[str]]]:
    """Every line by itself; one without quotes needs no csv reader, which costs more than the line."""
    for number, line in enumerate(text, start=1):
        if quoting == "none" or '"' not in line:
            plain = line.rstrip("\r\n")
            yield number, plain.split(delimiter) if plain else []
            continue
        try:
            yield number, next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise _refusal(path, number, error, "a quote opens that does not end in this line", hint=hint) from error


def _spanning(path: Path, text: io.StringIO, delimiter: str, hint: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that may take several lines, under the number of their first."""
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _refusal(path, number, error, "a quote opens that never ends", hint=hint) from error


def _refusal(path: Path, number: int, error: csv.Error, unended: str, hint: str) -> InputError:
    if "unexpected end of data" in str(error):
        return InputError(f"{path}: line {number}: {unended}; {hint}")
    if "expected after" in str(error):
        return InputError(f"{path}: line {number}: text stands behind a closing quote; {hint}")
    return InputError(f"{path}: line {number}: not a line of fields ({error})")
