"""Bound the size of what a file of ``torch.save`` would become, before anything is built.

A pickle of a kilobyte can stand for gigabytes: when each value refers twice to the value before it, the size doubles
with each step. A message that prints such values doubles, too. A zip file may unpack to a thousand times its size. This
module follows the opcodes of a pickle without building a value; on its stack, a number stands for each value. It knows
only the few opcodes that torch's own restricted unpickler knows.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from skn.errors import InputError

# Far above real files: a prompt or an array has a few dozen values, in five levels at most.
MOST_VALUES = 1_000_000
DEEPEST = 100

_DAMAGED = "damaged or not written by torch.save"
_UNREAL = "no file of the originals is like that"
_ALLOWED = re.compile(
    r"torch\.\w+|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.nn\.parameter\.Parameter"
    r"|collections\.OrderedDict|_codecs\.encode|numpy\.(ndarray|dtype)|numpy\._?core\.multiarray\.(_reconstruct|scalar)"
)
# a file of the format before zip holds these pickles: magic number, version, system, content, keys of storages
_LEGACY_PICKLES = 5

# For each opcode that leaves one value on the stack: how many values it takes from the stack.
_TAKES = {
    **dict.fromkeys(("NONE", "NEWFALSE", "NEWTRUE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), 0),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "GLOBAL"), 0
    ),
    **{"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1, "REDUCE": 2, "NEWOBJ": 2},
}
_ADDS = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}  # how many values an opcode takes and adds to the value below them


def check(path: Path) -> None:
    """Check a file before it is loaded.

    Raises :class:`InputError` if the loaded content would be larger than any real file, or if a global must not be
    loaded.
    """
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        for pickle in _zipped(path, file) if zipped else [file] * _LEGACY_PICKLES:
            try:
                held = _held(path, pickle)
            except (ValueError, IndexError, KeyError, EOFError) as error:
                raise InputError(f"{path}: {_DAMAGED}") from error
            _check_graph(path, held)


def _zipped(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    try:
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
        size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
        if unpacked > size:
            raise InputError(
                f"{path}: {size:,} bytes that unpack to {unpacked:,}; torch.save compresses nothing, save it again"
            )
        for member in members:
            if member.filename.lower().endswith("data.pkl"):  # torch does not tell capitals apart either
                yield io.BytesIO(archive.read(member))
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{path}: {_DAMAGED}") from error


def _held(path: Path, pickle: BinaryIO) -> list[list[int]]:
    """List, for each value of a pickle, the numbers of the values that it holds in the end.

    An opcode that torch does not know raises KeyError.
    """
    held: list[list[int]] = []
    memo: dict[int, int] = {}
    stack: list[int] = []
    below: list[list[int]] = []  # the stacks below each mark
    for opcode, argument, _ in pickletools.genops(pickle):
        name = opcode.name
        if len(held) > MOST_VALUES:
            raise InputError(f"{path}: more than {MOST_VALUES:,} values; {_UNREAL}")
        if name in ("PROTO", "STOP"):
            continue
        if name == "MARK":
            below.append(stack)
            stack = []
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            values, stack = stack, below.pop()
            if name == "TUPLE":
                held.append(values)
                stack.append(len(held) - 1)
            else:
                held[stack[-1]].extend(values)
        elif name in _ADDS:
            values = [stack.pop() for _ in range(_ADDS[name])]
            held[stack[-1]].extend(values)
        else:
            _check_global(path, name, argument)
            held.append([stack.pop() for _ in range(_TAKES[name])])
            stack.append(len(held) - 1)
    return held


def _check_global(path: Path, opcode: str, argument: object) -> None:
    if opcode != "GLOBAL":
        return
    name = str(argument).replace(" ", ".")
    if not _ALLOWED.fullmatch(name):
        raise InputError(f"{path}: holds '{name}', which skn does not load")


def _check_graph(path: Path, held: list[list[int]]) -> None:
    """Count the values, and measure how deep they are nested, when every reference is followed as printing and hashing
    do.
    """
    sizes, depths = [0] * len(held), [0] * len(held)  # 0: not known yet
    for start in range(len(held)):
        entered, waiting = {start}, [] if sizes[start] else [(start, iter(held[start]))]
        while waiting:
            value, parts = waiting[-1]
            part = next((part for part in parts if not sizes[part]), None)
            if part in entered:
                raise InputError(f"{path}: holds a value that holds itself; {_UNREAL}")
            if part is not None:
                entered.add(part)
                waiting.append((part, iter(held[part])))
                continue
            sizes[value] = 1 + sum(sizes[part] for part in held[value])
            depths[value] = 1 + max((depths[part] for part in held[value]), default=0)
            if sizes[value] > MOST_VALUES:
                raise InputError(f"{path}: more than {MOST_VALUES:,} values where references are followed; {_UNREAL}")
            if depths[value] > DEEPEST:
                raise InputError(f"{path}: values nested more than {DEEPEST} deep; {_UNREAL}")
            entered.discard(value)
            waiting.pop()
