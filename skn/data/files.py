"""Read one file of rows: csv, tsv, jsonl, json or parquet. A text such as "null" stays a text."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skn.data.rows import Rows
from skn.errors import InputError
from skn.store.delimited import Dialect, read_delimited
from skn.store.foreign_files import check_file, read_text, reading, refusal

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FILE_KINDS = (*DELIMITERS, ".jsonl", ".json", ".parquet")
# The options that each kind of file may need. The other kinds do not quote, and name their columns themselves.
SAYABLE = {
    **dict.fromkeys(DELIMITERS, ("quoting", "encoding", "columns")),
    **dict.fromkeys((".jsonl", ".json"), ("encoding",)),
    ".parquet": (),
}
NOT_UTF8 = "save it as UTF-8, or name its encoding: --encoding 'cp1252'"


def read_file(path: Path, dialect: Dialect) -> Rows:
    """Read a file. Raises :class:`InputError` if the file is missing, empty or not readable."""
    check_file(path)
    kind = path.suffix.lower()
    if kind not in FILE_KINDS:
        raise InputError(f"{path}: unknown kind of file; skn reads {', '.join(FILE_KINDS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; give one with a header and rows")
    if kind in DELIMITERS:
        found = read_delimited(path, DELIMITERS[kind], dialect, not_utf8=NOT_UTF8)
        columns = {name: [fields[i] for fields in found.rows] for i, name in enumerate(found.header)}
        return Rows(columns, str(path), found.lines, has_header=dialect.columns is None, blank=found.blank)
    if pointless := [
        name for name, value in asdict(dialect).items() if value is not None and name not in SAYABLE[kind]
    ]:
        raise InputError(f"--{pointless[0]}: {path}: has no effect on a {kind} file; leave the option out")
    dialect.check()
    if kind == ".parquet":
        return _read_parquet(path)
    text = read_text(path, dialect.encoding, NOT_UTF8)
    return _read_jsonl(path, text) if kind == ".jsonl" or _is_lines(text) else _read_json(path, text)


def _is_lines(text: str) -> bool:
    """Whether a .json file has an object on each line, as many files on the hub have."""
    first, _, rest = text.lstrip().partition("\n")
    return first.startswith("{") and first.rstrip().endswith("}") and rest.lstrip().startswith("{")


def _read_jsonl(path: Path, text: str) -> Rows:
    rows, lines, blank = [], [], 0
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            blank += 1
            continue
        where = f"{path}: line {number}"
        row = _parsed(line.rstrip(), where)
        if not isinstance(row, dict):
            raise InputError(f"{where} is not a JSON object")
        rows.append(row)
        lines.append(number)
    return Rows(_columns_of(rows), str(path), lines, blank=blank)


def _read_json(path: Path, text: str) -> Rows:
    """Read a list of objects, an object of lists, or either of them under the key "data"."""
    found = _parsed(text, str(path))
    if isinstance(found, dict) and isinstance(found.get("data"), list | dict) and _rows_of(found) is None:
        found = found["data"]
    rows = _rows_of(found)
    if rows is None:
        raise InputError(
            f"{path}: expected a list of objects, or an object of lists of as many values: one for each row"
        )
    return Rows(_columns_of(rows), str(path))


def _rows_of(found: Any) -> list[dict[str, Any]] | None:
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    if isinstance(found, dict) and len(found) > 1 and all(isinstance(column, list) for column in found.values()):
        if len({len(column) for column in found.values()}) == 1:
            return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return None


def _columns_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return a column for every key of any row, in order of first occurrence.

    A key that a row lacks is a missing value there.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parsed(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise InputError(f"{where}: not JSON ({error.msg}, {line}column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, or deep nesting
        raise refusal(where, "cannot be read", error) from error
    if "\\u" in text:  # half of a surrogate pair is no character, and no encoding can write it
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise refusal(where, "holds what is no text", error, "; write the character whole") from error
    return value


def _read_parquet(path: Path) -> Rows:
    import pyarrow.parquet

    with reading(path, "not a parquet file"):
        return Rows(pyarrow.parquet.read_table(path).to_pydict(), str(path))
