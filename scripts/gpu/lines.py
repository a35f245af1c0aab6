"""What a run found, as JSON lines: written one by one as it is known, and put together into one record of the device.

    python scripts/gpu/lines.py quick.jsonl full.jsonl --out bench/results

Every line names its step ("quick/bench"). Beside that it holds ``facts``, or who ``serves`` each operator, or the answer of
a ``piece`` of work, or a ``row`` of the benchmark, or how a step ended (``outcome``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

from aims import reached

DRY_RUN = "dry run"  # what the facts of a dry run give as the device


class Lines:
    """Appends to a file. A line is in the file when ``add`` returns, whatever happens to the process."""

    def __init__(self, path: Path):
        self.path = path

    def add(self, **fields: object) -> None:
        line = {"step": os.environ.get("GPU_STEP", ""), **fields}
        with self.path.open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, start: int) -> list[dict]:
        """Return the lines from a byte on, without a line that is not complete."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(start)
            return parse(file.read().decode(errors="replace"))


def parse(text: str) -> list[dict]:
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # a process was ended while it wrote the line
            continue
    return found


def assemble(lines: list[dict]) -> dict[str, dict]:
    """Device → its record: for each run ("quick", "full") facts, serving kernels, steps, checks, rows, and what was reached
    of the aims.

    A run belongs to the device of its facts. Of two lines about the same thing, the later line counts.
    """
    runs: dict[str, dict] = {}
    for line in lines:
        run, _, step = line["step"].partition("/")
        record = runs.setdefault(run, {"facts": {}, "serves": {}, "steps": {}, "pieces": {}, "rows": {}})
        rest = {key: value for key, value in line.items() if key not in ("step", "piece", "row")}
        if "outcome" in line:
            record["steps"][step] = rest
        elif "row" in line:
            record["rows"][line["row"]] = rest
        elif "piece" in line:
            record["pieces"].setdefault(step, {})[line["piece"]] = rest
        else:
            for kind in ("facts", "serves"):
                record[kind] |= line.get(kind, {})
    devices: dict[str, dict] = {}
    for run, record in runs.items():
        record["aims"] = reached(record["rows"])
        device = record["facts"].get("device", "unknown device")
        devices.setdefault(device, {"device": device, "unit": "µs", "runs": {}})["runs"][run] = record
    return devices


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("lines", nargs="+", type=Path, help="files of JSON lines")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a JSON file for each device goes here")
    options = parser.parse_args()
    missing = [str(path) for path in options.lines if not path.exists()]
    if missing:
        print(f"lines.py: there is no {missing[0]}; scripts/gpu_check.sh writes it", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for device, record in assemble([line for path in options.lines for line in parse(path.read_text())]).items():
        path = options.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', device)}.json"
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        print(f"wrote {path}")
        for run, found in record["runs"].items():
            for aim in found["aims"] if device != DRY_RUN else []:  # whose small sizes say nothing
                print(f"{run}: {aim['what']} {aim.get('ratio', aim.get('value'))}, aim {aim['aim']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
