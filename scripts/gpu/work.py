"""Run named pieces of work one after the other, and write their answers as JSON lines. check.py and bench.py share
this.

The pieces run in a process of their own. If a piece breaks the device, ends the process or hangs, this is its answer,
and a new process runs the other pieces. Only that process imports torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from lines import Lines

NO_DEVICE = 2
STARTING = 120  # seconds that a process may take to import torch and to reach the device


def main(description: str, pieces: dict[str, Callable], context: Callable[[str, Lines], object]) -> int:
    """Run the ``pieces`` with ``context(device, lines)``. Exit codes: 0 all done, 1 a piece failed, 2 no device."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"of {', '.join(pieces)}; all unless named")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU at small sizes, to test this script")
    parser.add_argument("--lines", type=Path, metavar="FILE", help="append the answers to FILE as JSON lines")
    parser.add_argument("--still", type=float, default=600, help="seconds without a line that end a piece [600]")
    parser.add_argument("--within", type=float, default=1e9, help="seconds after which no further piece begins")
    parser.add_argument("--here", action="store_true", help="in this process: for sanitizers and debuggers")
    options = parser.parse_args()
    names = options.pieces or list(pieces)
    unknown = [name for name in names if name not in pieces]
    if unknown:
        parser.error(f"no piece {unknown[0]}: expected one of {', '.join(pieces)}")
    if options.here:
        return work_here(names, pieces, context, options)
    if options.lines is not None:
        return work_apart(names, options)
    with tempfile.TemporaryDirectory() as folder:
        options.lines = Path(folder, "lines.jsonl")
        return work_apart(names, options)


def later(where: str) -> Callable:
    """Import "module.function" when it is called.

    So the first process imports nothing, and only the piece that lacks a package fails.
    """

    def piece(*given: object) -> object:
        module, _, name = where.partition(".")
        return getattr(importlib.import_module(module), name)(*given)

    return piece


def work_here(names: list[str], pieces: dict[str, Callable], context: Callable, options: argparse.Namespace) -> int:
    begin = time.monotonic()
    import torch

    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print(f"{Path(sys.argv[0]).name}: no CUDA device", file=sys.stderr)
        return NO_DEVICE
    lines, failed = Lines(options.lines or Path(os.devnull)), False
    given = context(device, lines)
    lines.add(began=names)  # from here on, the first piece may hang
    for name in names:
        if time.monotonic() - begin > options.within:
            answer(lines, name, None, 0, f"left out: {options.within:.0f} s have passed")
            continue
        torch.manual_seed(0)
        start = time.monotonic()
        try:
            said = pieces[name](given)
            answer(lines, name, True, time.monotonic() - start, said or "")
        except Exception as error:
            failed = True
            answer(lines, name, False, time.monotonic() - start, f"{type(error).__name__}: {error}")
            traceback.print_exc(file=sys.stdout)
            if not alive(device):
                break
    return 1 if failed else 0


def answer(lines: Lines, name: str, ok: bool | None, seconds: float, said: str) -> None:
    """Write one piece's answer to the log and to the lines. ``ok`` is None for a piece that never began."""
    lines.add(piece=name, ok=ok, seconds=round(seconds, 1), said=said[:2000])
    word = {True: "ok     ", False: "FAILED ", None: "       "}[ok]
    print(f"{word} {name}, {seconds:.1f} s{f': {said}' if said else ''}", flush=True)


def alive(device: str) -> bool:
    """Whether the device still computes. After an illegal access, nothing in the process does."""
    import torch

    try:
        return torch.ones(2, device=device).sum().item() == 2
    except RuntimeError:
        return False


def work_apart(names: list[str], options: argparse.Namespace) -> int:
    """Run the pieces in processes of their own, as many as needed."""
    lines, left, failed = Lines(options.lines), list(names), False
    begin = time.monotonic()
    while left:
        start = lines.size()
        flags = [*(["--dry-run"] if options.dry_run else []), "--lines", str(options.lines)]
        within = options.within - (time.monotonic() - begin)
        child = subprocess.Popen([sys.executable, sys.argv[0], "--here", *flags, "--within", str(within), *left])
        reason = watch(child, lines, options.still)
        if child.returncode == NO_DEVICE:
            return NO_DEVICE
        answers = {line["piece"]: line["ok"] for line in lines.since(start) if "piece" in line}
        failed |= False in answers.values()
        left = [name for name in left if name not in answers]
        # A process ends early after a piece that broke the device, or inside the piece that has no answer.
        if left and False not in list(answers.values())[-1:]:
            answer(lines, left.pop(0), False, 0, reason)
            failed = True
    return 1 if failed else 0


def watch(child: subprocess.Popen, lines: Lines, still: float) -> str:
    """Wait for a process, end it if it writes no line for ``still`` seconds, and say how it ended.

    Its first line says that the pieces begin. Until then it may take ``STARTING`` seconds.
    """
    size, last, limit = lines.size(), time.monotonic(), max(still, STARTING)
    while child.poll() is None:
        time.sleep(0.05)
        if lines.size() != size:
            size, last, limit = lines.size(), time.monotonic(), still
        elif time.monotonic() - last > limit:
            child.kill()
            child.wait()
            return f"stood still for {limit:.0f} s and was ended"
    return f"its process ended with exit code {child.returncode}"
