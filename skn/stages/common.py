"""What the stages share: output that exists, layer ranges, sweeps, tables, times."""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from skn import artifacts, atomic
from skn.artifacts import Artifact
from skn.errors import InputError
from skn.runs import read_times

# A file or a pipe has no width of its own; at rich's 80 columns a table of a searchlight loses its names.
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)

MAX_FRACTIONS = 10_000  # values of a sweep; more is a slip of the step


def refuse_existing(files: Sequence[Path], overwrite: bool, resume_option: bool = False) -> None:
    """Output is only replaced where the user says so."""
    existing = [file for file in files if file.exists()]
    if existing and not overwrite:
        resume = ", --resume continues" if resume_option else ""
        raise InputError(f"{existing[0]}: exists already; --overwrite replaces it{resume}")


def parse_layers(text: str | None, layers: int) -> range:
    """ "3:12" → range(3, 12), half-open; all layers without a text. Raises :class:`InputError`."""
    if text is None:
        return range(layers)
    try:
        low, high = (int(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--layers {text}: expected LOW:HIGH, half-open, such as 3:{layers}") from None
    if not 0 <= low < high <= layers:
        raise InputError(f"--layers {text}: empty or out of range; this model has layers 0:{layers}")
    return range(low, high)


def parse_fractions(text: str) -> list[float]:
    """ "0.2" or "0.00:0.20:0.01" (both ends included). Raises :class:`InputError`."""
    try:
        parts = [float(part) for part in text.split(":")]
        if len(parts) not in (1, 3) or (len(parts) == 3 and not 0 < parts[2] <= 1):
            raise ValueError
    except ValueError:
        raise InputError(f"--fraction {text}: expected a number or FIRST:LAST:STEP, such as 0.00:0.20:0.01") from None
    first, last, step = parts if len(parts) == 3 else (parts[0], parts[0], 1.0)
    if not (0 <= first <= 1 and 0 <= last <= 1):
        raise InputError(f"--fraction {text}: outside 0 to 1, of which it is a share")
    count = (last - first) / step + 1e-9
    if not 0 <= count < MAX_FRACTIONS:
        raise InputError(f"--fraction {text}: FIRST must not exceed LAST, nor the values {MAX_FRACTIONS}")
    return [round(first + i * step, 10) for i in range(int(count) + 1)]


def parse_counts(text: str, option: str) -> list[int]:
    """ "500,1000" in increasing order. Raises :class:`InputError`."""
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"{option} {text}: expected counts of neurons, such as 500,1000") from None
    if counts[0] < 1:
        raise InputError(f"{option} {counts[0]}: a count of neurons, 1 or more")
    return counts


def pick(wanted: str | None, known: Sequence[str], option: str, where: str) -> list[str]:
    """The names "a,b" in the order of ``known``, or all; an unknown one is refused with the nearest.

    ``where`` begins the list of those there are: "FILE: attributes". Raises :class:`InputError`.
    """
    if wanted is None:
        return list(known)
    names = [part.strip() for part in wanted.split(",")]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise InputError(f"{option} {name}: unknown; {hint}({where} {', '.join(known)})")
    return [name for name in known if name in names]


def load_mean(path: Path, match: dict, present: torch.Tensor) -> torch.Tensor:
    """μ [L, F] float64 from a file with thresholds: ours (moments, hits) or imported; averaged over positions.

    Refused where it is of another backbone, prompt length or shape than ``match`` and ``present`` [L, F] say.
    """
    description, _ = artifacts.read_safetensors(path)
    kind = (description or {}).get("kind")
    if kind not in ("moments", "hits", "thresholds"):
        raise InputError(f"{path}: holds '{kind}', expected moments, hits or thresholds")
    found = artifacts.load(path, kind, match)
    mean = threshold_of(found).mean(dim=1)
    if mean.shape != present.shape:
        raise InputError(
            f"{path}: thresholds of {list(mean.shape)} neurons, this backbone has {list(present.shape)}; give one made for it"
        )
    return mean


def threshold_of(found: Artifact) -> torch.Tensor:
    """The threshold [L, P, F] of moments, hits or thresholds."""
    if found.kind == "moments":
        return found["total"].sum(dim=0) / found["count"].sum()
    return found["threshold"]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row))
    console.print(table)


@contextmanager
def timed(run_path: Path, stage: str) -> Iterator[None]:
    """Record how long a stage took in the run's ``timings.json`` (seconds)."""
    start = time.perf_counter()
    yield
    times = read_times(run_path)
    times[stage] = round(time.perf_counter() - start, 2)
    atomic.write_json(run_path / "timings.json", times)
