"""Option texts → plain values: ranges of layers, shares, counts, names."""

from __future__ import annotations

from skn.errors import InputError

MAX_FRACTIONS = 10_000  # values of a sweep; more is a slip of the step


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
