"""The command ``compare``: its options, and the stage that it calls."""

from __future__ import annotations

from skn.commands import compare_options as compare_opt
from skn.commands import options as opt
from skn.commands import parse
from skn.commands import read_options as read_opt
from skn.commands.app import app
from skn.commands.choices import value


@app.command()
def compare(
    runs: compare_opt.ComparedRuns,
    fraction: compare_opt.CompareFraction = 0.05,
    overall: compare_opt.Overall = False,
    aggregate: opt.SeedAggregate = opt.Aggregate.mean,
    split: opt.DecidingSplit = opt.HeldOut.validation,
    by: opt.SelectBy = opt.By.predictivity,
    readout: read_opt.SelectReadout = None,
    out: compare_opt.CompareOut = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Whether tasks share neurons: for every two of several probed runs, how alike they rank the neurons, and the best ones
    that they share beside chance.

    Example: skn compare runs/sst2 runs/imdb runs/mnli --out compared

    Example: skn compare runs/sst2-1,runs/sst2-2 runs/imdb-1,runs/imdb-2 --fraction 0.01 --overall
    """
    groups = [parse.runs(text, "RUN") for text in runs]
    from skn.stages.compare import compare as stage

    chosen = {"aggregate": aggregate, "split": split, "by": by, "readout": readout}
    how = {name: value(choice) for name, choice in chosen.items()}
    stage(groups, {"fraction": fraction, "overall": overall, **how}, out, overwrite)
