"""The commands around a run: its report, data sets, foreign files, the demo, the installation."""

from __future__ import annotations

from pathlib import Path

import typer

from skn.commands import options as opt
from skn.commands import parse
from skn.commands.app import app
from skn.commands.choices import value
from skn.commands.forms import chosen_form
from skn.commands.groups import Columns
from skn.errors import InputError


@app.command()
def report(
    context: typer.Context,
    run: opt.ReportRuns = None,
    sweep: opt.SweepDir = None,
    rsa: opt.ReportRsa = None,
    out: opt.ReportOut = None,
    data: opt.MovedData = None,
) -> None:
    """One self-contained HTML page of all that a run, a sweep or a searchlight holds, or of several runs beside each other.

    The page of a run begins with a paragraph that may be quoted, and with what is not measured yet.

    Example: skn report --run runs/sst2

    Example: skn report --run runs/sst2 --run runs/sst2-seed2 --out reports/seeds
    """
    form = chosen_form(context, {"run": ("out", "data"), "sweep": (), "rsa": ()})
    from skn.stages.report import compare
    from skn.stages.report import report as stage

    if form == "run" and len(run) > 1:
        if data is not None:
            raise InputError("--data: goes with one run, whose data was moved; leave it out")
        compare(run, out)
        return
    if out is not None:
        raise InputError("--out: goes with several runs; the report of one stands in its folder")
    stage({"run": run and run[0], "sweep": sweep, "rsa": rsa}[form], form, data)


@app.command()
def binarize(
    *,
    out: opt.BinarizeOut,
    task: opt.TaskName = None,
    columns: Columns,
    one_vs_rest: opt.OneVsRest = False,
    seed: opt.BinarizeSeed = 0,
    overwrite: opt.Overwrite = False,
) -> None:
    """Balanced binary sub-tasks of a multi-class data set.

    Three or four classes give -pn (the poles against each other) and -neu (the neutral class against the others), as the
    original defines them. Columns of the result: text, pair, label.
    """
    spec = columns.spec(task).spec
    from skn.stages.binarize import binarize as stage

    stage(spec, out, one_vs_rest, seed=seed, overwrite=overwrite)


@app.command("import")
def import_(
    files: opt.ForeignFiles,
    out: opt.ImportOut,
    as_: opt.As = None,
    aggregate: opt.SeedAggregate = opt.Aggregate.mean,
    column: opt.RankColumn = None,
    shape: opt.NeuronShape = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Turn prompts, thresholds, accuracies, neuron sets and ranks of the original code bases into skn's artifacts."""
    layers_and_width = parse.shape(shape)
    from skn.stages.import_ import import_ as stage

    how = {"as_": value(as_), "aggregate": aggregate.value, "columns": column, "shape": layers_and_width}
    stage(files, out, **how, overwrite=overwrite)


@app.command()
def demo(
    out: opt.DemoOut = Path("demo-run"),
    epochs: opt.DemoEpochs = 8,
    controls: opt.Controls = 20,
    seed: opt.DemoSeed = 0,
    overwrite: opt.Overwrite = False,
) -> None:
    """The whole path on built-in input and a real encoder, offline, with a report."""
    from skn.stages.demo import demo as stage

    stage(out, epochs, controls, seed, overwrite)


@app.command()
def tasks() -> None:
    """The task registry: columns, classes, label words, where the data is."""
    from skn.stages.tasks import tasks as stage

    stage()


@app.command()
def doctor() -> None:
    """Versions, devices, instruction sets, and which implementation serves which operator."""
    from skn.stages.doctor import doctor as stage

    stage()
