"""The command ``sweep``: its options, and the stage that it calls."""

from __future__ import annotations

import typer

from skn.commands import options as opt
from skn.commands import parse
from skn.commands import sweep_options as sweep_opt
from skn.commands.app import app, said
from skn.commands.groups import Columns, Training
from skn.data.tasks import expand_tasks
from skn.errors import InputError

# The place where cells run does not change their results; cells in one forward end within float error of their own.
PLACEMENT = ("workers", "address", "gpus_per_cell", "together")


@app.command()
def sweep(
    context: typer.Context,
    *,
    out: sweep_opt.SweepOut,
    tasks: sweep_opt.Tasks = None,
    seeds: sweep_opt.Seeds = None,
    backbone: opt.BackboneName = None,
    columns: Columns,
    training: Training,
    threads: sweep_opt.Threads = 1,
    workers: sweep_opt.Workers = None,
    address: sweep_opt.Address = None,
    gpus_per_cell: sweep_opt.GpusPerCell = None,
    together: sweep_opt.Together = 1,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Train many tasks with many seeds: one run for each, a table of all.

    Example: skn sweep --backbone roberta-base --tasks 'goemotions/*' --seeds 1,3,5 --out emotions

    "95%: ±" in the table is how far an accuracy of the task lies from the farther end of its 95% interval, at the most.

    A cell that fails stops no other. --resume trains what is not done: broken cells go on, failed ones are tried again.
    """
    in_file = columns.spec()
    spec, of_classes = in_file.spec, training.of_classes(in_file)
    patterns, numbers = parse.names(tasks), parse.seeds(seeds)
    names = None if patterns is None else expand_tasks(patterns)
    for option, value in (("--tasks", names), ("--seeds", numbers), ("--backbone", backbone)):
        if value is None and not resume:
            raise InputError(f"{option} is needed; 'skn sweep --help' shows an example")
    from skn.runs.sweep import Sweep
    from skn.runs.workers import Placement
    from skn.stages.sweep import resume as continue_
    from skn.stages.sweep import sweep as stage

    placement = Placement(workers, address, gpus_per_cell, together)
    if resume:
        given = said(context, spec, of_classes, apart=PLACEMENT)
        grid = {name: value for name, value in (("tasks", names), ("seeds", numbers)) if value is not None}
        continue_(out, given | grid, placement)
        return
    data = {name: value for name, value in vars(spec).items() if name not in ("task", "draw_seed")}
    settings = {"backbone": backbone, "data": data, **of_classes, "threads": threads, **training.values()}
    stage(Sweep(out, names, numbers, settings), placement, overwrite)
