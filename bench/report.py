"""Tables and the chart of bench/results.

    python bench/report.py [RESULT.json ...] [--chart docs/images/speed.png]

Prints Markdown: a table for each claim with median and quartiles in milliseconds, every contestant's time over skn's
with its lowest and highest turn, the target, and the time of the least bytes and operations at the rates measured in
that run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from roofline import COUNTED

RESULTS = Path(__file__).parent / "results"
DRAWN = {
    "encoder pruned bfloat16": "pruned encoder, bfloat16",
    "encoder pruned int8": "pruned encoder, int8",
    "encoder pruned float32": "pruned encoder, float32",
    "probing libraries, MiniLM": "probe of MiniLM, float32",
}
DASH = "–"
PLAIN_LOOPS = 5.0  # of torch's rate: a processor without the instruction of a product


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, help="[default: all of bench/results]")
    parser.add_argument(
        "--chart", type=Path, help="also draw the chart of the result with the most claims into this file"
    )
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in options.results or sorted(RESULTS.glob("*.json"))]
    found = [record for record in records if "claims" in record]  # results of a GPU have other rows: docs/gpu.md
    if not found:
        parser.error("no results; 'make bench' makes them")
    for result in found:
        print("\n".join(_machine(result)))
        for claim, record in result["claims"].items():
            print("\n".join(["", f"### {claim}", "", f"{record['what']} (commit {record['commit']}).", ""]))
            print("\n".join(_contest(record) if "rows" in record else _memory(record)))
        print()
    if options.chart:
        _chart(max(found, key=lambda result: len(result["claims"])), options.chart)


def _machine(result: dict) -> list[str]:
    machine, rates = result["machine"], result["rates"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    measured = f"copy {rates['copy'] / 1e9:.1f} GB/s, torch.mm {rates['float32'] / 1e9:.0f} GFLOP/s in float32 and {rates['bfloat16'] / 1e9:.0f} in bfloat16{_in_int8(rates)}{_counted(rates)}"
    return [
        f"## {machine['cpu']}, {machine['threads']} threads, {machine['instruction_set']}",
        "",
        f"Python {machine['python']}, {libraries}. Measured: {measured}.",
    ]


def _in_int8(rates: dict) -> str:
    return f", torch._int_mm {rates['int8'] / 1e9:.0f} GOP/s" if "int8" in rates else ""


def _counted(rates: dict) -> str:
    return f", population count {rates[COUNTED] / 1e9:.1f} G words/s" if COUNTED in rates else ""


def _contest(record: dict) -> list[str]:
    lines = ["| | ms (quartiles) | time over skn (lowest – highest) | target |", "|---|---|---|---|"]
    for row in record["rows"]:
        if "missing" in row:
            lines.append(f"| {row['name']} | {DASH} | {row['missing']} | {DASH} |")
            continue
        low, median, high = row["ms"]
        over = "" if row is record["rows"][0] else "{1:.2f} ({0:.2f} – {2:.2f})".format(*row["over_skn"])
        target = _target(row, record["targets_need_amx"])
        lines.append(f"| {row['name']} | {median:,.4g} ({low:,.4g} – {high:,.4g}) | {over} | {target} |")
    if record["roofline_ms"] is not None:
        share = record["roofline_ms"] / record["rows"][0]["ms"][1]
        said = f"skn reaches {share:.0%} of them" if share < PLAIN_LOOPS else "no bound: torch has plain loops here"
        lines.append(f"| *at the measured rates* | {record['roofline_ms']:,.4g} | {said} | |")
    return lines


def _target(row: dict, needs_amx: bool) -> str:
    if row["target"] is None:
        return ""
    if needs_amx:
        return f"≥ {row['target']:g} with AMX"
    return f"≥ {row['target']:g}: {'met' if row['over_skn'][1] >= row['target'] else 'missed'}"


def _memory(record: dict) -> list[str]:
    before, after = record["megabytes"]
    verdict = "met" if record["ratio"] <= record["target"] else "missed"
    return [
        "| MiB before | MiB after | ratio | target |",
        "|---|---|---|---|",
        f"| {before:,.0f} | {after:,.0f} | {record['ratio']:.3f} | ≤ {record['target']}: {verdict} |",
    ]


def _chart(result: dict, path: Path) -> None:
    """Draw every contestant's time over skn's, one panel for each claim."""
    drawn = {title: result["claims"][claim] for claim, title in DRAWN.items() if claim in result["claims"]}
    figure, axes = plt.subplots(1, len(drawn), figsize=(4.2 * len(drawn), 2.6), squeeze=False, layout="constrained")
    for axis, (title, record) in zip(axes[0], drawn.items(), strict=True):
        rows = [row for row in record["rows"] if "over_skn" in row][::-1]
        names, over = [row["name"] for row in rows], [row["over_skn"][1] for row in rows]
        bars = axis.barh(names, over, color=["tab:orange" if n.startswith("skn") else "tab:gray" for n in names])
        axis.bar_label(bars, [f"{value:.2f}" for value in over], padding=3)
        axis.set_xlim(0, 1.2 * max(over))
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("time over skn's")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
