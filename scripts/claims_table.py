"""The tables of docs/results.md about claims, as Markdown, from the folder of scripts/claim_runs.sh.

    python scripts/claims_table.py OUT

SEEDS and FIRST are those of claim_runs.sh.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from results_table import best_neuron

from skn.neurons.comparison import read_comparison
from skn.neurons.mask_table import MATCHED, controls_of, read_mask
from skn.neurons.off_target_seeds import off_target_over_seeds
from skn.neurons.off_target_table import read_off_target, test_of
from skn.neurons.stability import stability_table
from skn.runs.run import Run
from skn.store import artifacts
from skn.tables import Table

TASKS = ("sst2", "trec", "sick", "emotion")
KINDS = ("zero", "mean", "gaussian", "scale", "resample")
SEEDS, FIRST = os.environ.get("SEEDS", "0 1 2").split(), os.environ.get("FIRST", "0")

Rows = Iterator[Sequence[str]]


def predictive(out: Path) -> Rows:
    """A row for each run: the accuracy of the model, and the permutation tests of its neurons."""
    yield (
        "task, seed",
        "model: validation → test",
        "beyond chance: validation",
        "of these: test",
        "best neuron: validation → test",
        "by chance: test",
    )
    for task in TASKS:
        for seed in SEEDS:
            run = Run.open(out / f"{task}-{seed}")
            probe = run.probe("test")
            validation, test = (probe.significance_of(split) for split in ("validation", "test"))
            mean, (low, high) = test.best_by_chance
            yield (
                f"{task}, {seed}",
                f"{run.training['best_accuracy']:.3f} → {probe.model_accuracy('test', 'plain'):.3f}",
                f"{int(validation.beyond_chance.sum()):,} of {validation.tested:,}",
                f"{test.confirmed:,}",
                best_neuron(run),
                f"{mean:.3f} ({low:.3f} – {high:.3f})",
            )


def masked(out: Path) -> Rows:
    """A row for each task, kind of mask and match of the random sets."""
    yield (
        "task",
        "kind",
        "random sets",
        "accuracy",
        "random: mean (single sets)",
        "AUC",
        "random: mean (single sets)",
        "without equals",
    )
    for task in TASKS:
        for kind in KINDS:
            table = read_mask(out / f"{task}-{FIRST}" / f"mask-{kind}.json")
            (row,) = table["rows"]
            for match, drawn in controls_of(table, row).items():
                balance = row.get("balance") if match == "activity" else None
                both = [
                    cell
                    for measure in ("accuracy", "auc")
                    for cell in (f"{row[measure]:.3f}", "{mean:.3f} ({low:.3f} – {high:.3f})".format(**drawn[measure]))
                ]
                lone = f"{balance['unequal']:,.4g} of {row['neurons']:,}" if balance else "–"
                yield task, kind, f"{len(drawn['accuracy']['draws'])}, {MATCHED[match]}", *both, lone


def harmed(out: Path) -> Rows:
    """A row for each task whose neurons are masked, a column for each task that suffers: excess drop, D and p."""
    yield "neurons of", *TASKS
    for task in TASKS:
        harm = read_off_target(out / f"{task}-{FIRST}" / "off-target-zero.json")
        order = [task, *(other for other in TASKS if other != task)]  # as claim_runs.sh names the runs
        cells = {}
        for name, run in zip(order, harm["runs"], strict=True):
            (row,) = run["rows"]
            test = test_of(harm["tests"], run["run"], row["fraction"])
            judged = "" if test is None else f"; D {test['difference']:+.2f}, p {test['p']:.3f}"
            low, high = (f"{100 * end:+.1f}" for end in row["interval"])
            cells[name] = f"{100 * row['excess']:+.1f} ({low} – {high}){judged}"
        yield task, *(cells[name] for name in TASKS)


def over_seeds(out: Path) -> Rows:
    """On target against off target, over the seeds of each task."""
    harms = [out / f"{task}-{seed}" / "off-target-zero.json" for task in TASKS for seed in SEEDS]
    yield from _written(off_target_over_seeds(harms))


def stable(out: Path) -> Rows:
    """The stability of the joint ranking of each task's seeds."""
    for place, task in enumerate(TASKS):
        table = stability_table(artifacts.load(out / f"{task}.safetensors", "neurons").meta["stability"])
        if place == 0:
            yield "task", *table.columns
        for cells in table.written():
            yield task, *cells


def shared(out: Path) -> Rows:
    yield from _written(read_comparison(out / "compare" / "compare.json").table())


def times(out: Path) -> Rows:
    """Seconds of each command, by run."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/timings.json"))}
    names = sorted({name for times in found.values() for name in times})
    yield "run", *names
    for run, seconds in found.items():
        yield run, *(f"{seconds[name]:.0f}" if name in seconds else "–" for name in names)


def _written(table: Table) -> Rows:
    yield table.columns
    yield from table.written()


TABLES: tuple[Callable[[Path], Rows], ...] = (predictive, masked, harmed, over_seeds, stable, shared, times)


def main(out: Path) -> None:
    for table in TABLES:
        print(f"\n{table.__name__}\n")
        header, *rows = table(out)
        for line in (header, ["---"] * len(header), *rows):
            print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
