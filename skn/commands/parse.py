"""Turn the texts of options into plain values: layers, shares, counts, names, contrasts.

No other module parses them.
"""

from __future__ import annotations

import re
from pathlib import Path

from skn.errors import InputError
from skn.seeds import MAX_SEED

MAX_FRACTIONS = 10_000  # more values than this come from a mistyped step


def names(text: str | None) -> list[str] | None:
    """ "joy,anger" → ["joy", "anger"]; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def runs(text: str | None, option: str) -> list[Path] | None:
    """ "runs/a,runs/b" → the folders; None stays None. Raises :class:`InputError` for an empty name."""
    if text is None:
        return None
    if not all(part.strip() for part in text.split(",")):
        raise InputError(f"{option} {text}: expected folders of runs with commas between them, such as runs/a,runs/b")
    return [Path(part.strip()) for part in text.split(",")]


def words(text: str | None) -> list[str] | None:
    """Return the label words of ``--verbalizer``. A space before a word belongs to the word."""
    return None if text is None else [word for word in text.split(",") if word.strip()]


def layers(text: str | None) -> range | None:
    """ "3:12" → range(3, 12), half-open. Raises :class:`InputError`."""
    if text is None:
        return None
    try:
        low, high = (int(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--layers {text}: expected LOW:HIGH, half-open, such as 3:12") from None
    return range(low, high)


def fractions(text: str | None) -> list[float] | None:
    """ "0.2", "0.00:0.20:0.01" (both ends included), or several of them with commas. Raises :class:`InputError`."""
    if text is None:
        return None
    return list(dict.fromkeys(share for part in text.split(",") for share in _fractions(part)))


def _fractions(text: str) -> list[float]:
    try:
        parts = [float(part) for part in text.split(":")]
        if len(parts) not in (1, 3) or (len(parts) == 3 and not 0 < parts[2] <= 1):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--fraction {text}: expected a number or FIRST:LAST:STEP, such as 0.00:0.20:0.01, or several with commas"
        ) from None
    first, last, step = parts if len(parts) == 3 else (parts[0], parts[0], 1.0)
    if not (0 <= first <= 1 and 0 <= last <= 1):
        raise InputError(f"--fraction {text}: outside 0 to 1, of which it is a share")
    count = (last - first) / step + 1e-9
    if not 0 <= count < MAX_FRACTIONS:
        raise InputError(f"--fraction {text}: FIRST must not exceed LAST, nor the values {MAX_FRACTIONS}")
    return [round(first + i * step, 10) for i in range(int(count) + 1)]


def counts(text: str | None, option: str) -> list[int] | None:
    """ "500,1000" in increasing order. Raises :class:`InputError`."""
    if text is None:
        return None
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"{option} {text}: expected counts of neurons, such as 500,1000") from None
    if numbers[0] < 1:
        raise InputError(f"{option} {numbers[0]}: a count of neurons, 1 or more")
    return numbers


def layer_counts(text: str | None) -> int | list[int] | None:
    """ "61" for every layer, or "61,40" for one after the other. Raises :class:`InputError`."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--count {text}: expected a number, or one for each layer separated by commas") from None
    return numbers[0] if len(numbers) == 1 else numbers


def seeds(text: str | None) -> list[int] | None:
    """ "1,3,5" → [1, 3, 5]. Raises :class:`InputError`."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds {text}: expected numbers and commas, such as 1,3,5") from None
    for seed in numbers:
        if not 0 <= seed <= MAX_SEED:
            raise InputError(f"--seeds {text}: {seed} is outside 0 to {MAX_SEED}")
        if numbers.count(seed) > 1:
            raise InputError(f"--seeds {text}: {seed} stands there twice; give each seed once")
    return numbers


def neurons(texts: list[str] | None) -> list[tuple[int, int] | str]:
    """ "9,1893" → (9, 1893); "best" stays. Raises :class:`InputError`."""
    return [text if text == "best" else _neuron(text) for text in texts or []]


def _neuron(text: str) -> tuple[int, int]:
    try:
        layer, neuron = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--neuron {text}: expected LAYER,NEURON such as 9,1893, or 'best'") from None
    return layer, neuron


def contrast(text: str) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """ "1:0" → ((1,), (0,)); "2:rest" → ((2,), None). Raises :class:`InputError`."""
    left, colon, right = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return _classes(left), None if right == "rest" else _classes(right)
    except ValueError:
        raise InputError(
            f"--contrast {text}: expected CLASSES:CLASSES or CLASS:rest, classes as numbers, such as 2:0,1"
        ) from None


def _classes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def shape(text: str | None) -> tuple[int, int] | None:
    """ "12x3072" → (12, 3072). Raises :class:`InputError`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if match is None:
        raise InputError(f"--shape {text}: expected LxF, layers and width, such as 12x3072")
    return int(match[1]), int(match[2])


def names_or_file(text: str | None, option: str) -> list[str] | None:
    """Return names from a text with commas, or from the lines of a file. Raises :class:`InputError`."""
    if text is None:
        return None
    if "," not in text:
        try:
            text = Path(text).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{option} {text}: neither names with commas nor a file of names ({error})") from error
    return [name for line in text.splitlines() for part in line.split(",") if (name := part.strip())]
