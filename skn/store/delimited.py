"""Read text files with delimiters, csv and tsv: a header and rows with as many fields, each with its line number."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.names import one_of
from skn.store.foreign_files import check_encoding, read_text

# "none": a quote is a letter like others. "multiline": a quoted field may span several lines.
QUOTING = ("none", "multiline")
QUOTING_HINT = (
    "--quoting none reads a file that does not quote, --quoting multiline one with line breaks inside of quotes"
)


_DATA = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*|\s*|(\S+\s+){4,}\S+\s*")  # a number, nothing, or a sentence


@dataclass(frozen=True)
class Dialect:
    """How a text file is written: its quoting, its encoding, and ``columns``, the column names if it has no header
    line.

    ``quoting`` None: a field that begins with a quote ends with a quote in the same line. ``encoding`` None: UTF-8, or
    UTF-16 with a byte-order mark.
    """

    quoting: str | None = None
    encoding: str | None = None
    columns: list[str] | None = None

    def check(self, where: str = "--") -> None:
        """Raises :class:`InputError` for values that have no meaning.

        ``where`` is put before the name of a field in the message.
        """
        if self.quoting is not None:
            one_of(self.quoting, QUOTING, f"{where}quoting")
        if self.encoding is not None:
            check_encoding(self.encoding, f"{where}encoding")


@dataclass(frozen=True)
class Delimited:
    """A header and rows with as many texts. ``lines`` holds for each row the number of its first line, counted from 1.

    ``blank`` counts the blank lines, which are left out.
    """

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    blank: int


PLAIN = Dialect()


def read_delimited(
    path: Path,
    delimiter: str,
    dialect: Dialect = PLAIN,
    *,
    hint: str = QUOTING_HINT,
    not_utf8: str = "save it as UTF-8",
) -> Delimited:
    """Read a file. Raises :class:`InputError`, which names the line, for an open quote, a ragged row or a repeated
    column name.

    Without the error, a stray quote would join all rows up to the next quote into one field, and nobody would notice.
    Blank lines are left out.

    :param hint: how to mend such a quote.
    :param not_utf8: how to mend a file of another encoding.
    """
    dialect.check()
    csv.field_size_limit(2**31 - 1)
    text = io.StringIO(read_text(path, dialect.encoding, not_utf8), newline="")
    if dialect.quoting == "multiline":
        found = _spanning(path, text, delimiter, hint)
    else:
        found = _lines(path, text, delimiter, dialect.quoting, hint=hint)
    numbered, blank = [], 0
    for number, fields in found:
        if _is_blank(fields):
            blank += 1
        else:
            numbered.append((number, fields))
    if dialect.columns is None:
        _, header = numbered.pop(0) if numbered else (0, [])
        _check_header(path, header)
    else:
        header = dialect.columns
        _check_names(path, header, numbered)
    _check_fields(
        path, header, numbered, "the header has {}" if dialect.columns is None else "{} names stand in --columns"
    )
    return Delimited(header, [fields for _, fields in numbered], [number for number, _ in numbered], blank)


def header_that_is_missing(header: Sequence[str], columns: Iterable[Sequence[Any]] = ()) -> str:
    """Return advice if the column names look like a row of data, otherwise an empty text. ``columns`` are the values
    below them.

    A number, a sentence, or a name that is also a value of its own column is hardly a column name.
    """
    again = any(name in values for name, values in zip(header, columns, strict=False))
    if not again and not any(_DATA.fullmatch(name) for name in header):
        return ""
    names = ",".join(["text", "label", *(f"c{i}" for i in range(3, len(header) + 1))][: len(header)])
    return f"; is the first line data? then --columns '{names}' names the columns, in the order of the file"


def _is_blank(fields: list[str]) -> bool:
    """Whether a line is empty, or holds only white space that separates no fields."""
    return not fields or (len(fields) == 1 and not fields[0].strip())


def _check_header(path: Path, header: list[str]) -> None:
    repeated = _repeated(header)
    if repeated is not None:
        what = f"{path}: column '{repeated}' stands twice in the header; rename one"
        raise InputError(what + header_that_is_missing(header))


def _check_names(path: Path, names: list[str], numbered: list[tuple[int, list[str]]]) -> None:
    """Check the names of ``--columns``: no name twice, and no name in the first line, because a header would become a
    row.
    """
    repeated = _repeated(names)
    if repeated is not None:
        raise InputError(f"--columns: '{repeated}' stands there twice; give each column a name of its own")
    number, first = numbered[0] if numbered else (0, [])
    for name, cell in zip(names, first, strict=False):
        if cell.strip().lower() == name.lower():
            raise InputError(
                f"{path}: line {number} is a header line, it has the name '{name}' too; leave --columns out, or if the "
                f"line is data, choose another name"
            )


def _repeated(names: list[str]) -> str | None:
    if len(set(names)) == len(names):  # a short cut for the usual case, because files have thousands of columns
        return None
    return min(name for name in names if names.count(name) > 1)


def _check_fields(path: Path, header: list[str], numbered: list[tuple[int, list[str]]], named: str) -> None:
    for number, fields in numbered:
        if len(fields) != len(header):
            raise InputError(f"{path}: line {number} has {len(fields)} fields, {named.format(len(header))}")


def _lines(
    path: Path, text: io.StringIO, delimiter: str, quoting: str | None, hint: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of every line. A line without quotes does not use the csv reader, which is slow."""
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
    """Yield rows that may span several lines, each with the number of its first line."""
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
