"""What skn wants to reach on an H100, computed from the rows of a run: ratios of rows of the same run, and single values."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("32 × 56", "256 × 128")


@dataclass(frozen=True)
class Aim:
    """Row ``slow`` takes at least ``least`` times as long as row ``fast``. If both were timed many in a row, these times are
    compared; if not, those of single calls.
    """

    slow: str
    fast: str
    least: float

    def reached(self, rows: dict[str, dict]) -> dict | None:
        """Return what was reached; None if the run lacks a row."""
        slow, fast = rows.get(self.slow, {}), rows.get(self.fast, {})
        if "median" not in slow or "median" not in fast:
            return None
        ratio = round(_time(slow, fast) / _time(fast, slow), 2)
        return {"what": f"{self.slow} / {self.fast}", "ratio": ratio, "aim": f"≥ {self.least:g}"}


def _time(row: dict, other: dict) -> float:
    """Return the time of a pass in a row of passes, if both rows have it."""
    return row["in a row"] if "in a row" in row and "in a row" in other else row["median"]


@dataclass(frozen=True)
class Bound:
    """A value of a row: its median in µs, at most ``most``, or its share of a copy's bandwidth, at least ``share``."""

    row: str
    most: float | None = None
    share: float | None = None

    def reached(self, rows: dict[str, dict]) -> dict | None:
        name = "of copy" if self.most is None else "median"
        value = rows.get(self.row, {}).get(name)
        if value is None:
            return None
        aim = f"≥ {self.share:g}" if self.most is None else f"≤ {self.most:g} µs"
        return {"what": f"{self.row}: {name}", "value": value, "aim": aim}


PRUNED, ORIGINAL = "pruned encoder, {}, bfloat16, {}", "original, {}, float32, {}"
SST2 = "32 of SST-2's lengths, at most 56"

AIMS: list[Aim | Bound] = [
    *(Bound(f"ffn_pruned, {rows} rows, 61 neurons, operator", share=0.75) for rows in ("65,536", "16,384")),
    *(Aim(PRUNED.format(shape, "torch.compile"), PRUNED.format(shape, "skn"), 1.3) for shape in SHAPES),
    # A padded pass takes as long whatever the lengths are.
    Aim(PRUNED.format("32 × 56", "torch.compile"), PRUNED.format(SST2, "skn"), 2),
    *(
        Aim(ORIGINAL.format(shape, "hooks and every word"), PRUNED.format(shape, "skn"), least)
        for shape, least in zip(SHAPES, (13, 20), strict=True)
    ),
    *(
        Aim(ORIGINAL.format(shape, "host copies"), f"probe, {shape}, {dtype}, skn", least)
        for dtype, least in (("bfloat16", 50), ("float32", 20))
        for shape in SHAPES
    ),
    Bound("kendall_tau, 36,864 × 14, n = 351", most=5000),
]


def reached(rows: dict[str, dict]) -> list[dict]:
    """Return what was reached of each aim whose rows the run has."""
    return [found for aim in AIMS if (found := aim.reached(rows)) is not None]
