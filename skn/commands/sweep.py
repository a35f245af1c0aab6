"""Commands on sweeps: what they take, and the stage that they call."""

from __future__ import annotations

from dataclasses import asdict

import typer

from skn.commands import options as opt
from skn.commands import sweep_options as sweep_opt
from skn.commands.app import app, said
from skn.data.task_file import data_spec
from skn.data.tasks import expand_tasks
from skn.errors import InputError

PLACEMENT = ("workers", "address", "gpus_per_cell")  # where cells run is no part of what they are


@app.command()
def sweep(
    context: typer.Context,
    out: sweep_opt.SweepOut,
    tasks: sweep_opt.Tasks = None,
    seeds: sweep_opt.Seeds = None,
    backbone: opt.BackboneName = None,
    data: opt.Data = None,
    text_column: opt.TextColumn = None,
    pair_column: opt.PairColumn = None,
    label_column: opt.LabelColumn = None,
    drop_unlabelled: opt.DropUnlabelled = False,
    method: opt.TrainMethod = opt.Method.prompt,
    prompt_length: opt.PromptLength = None,
    verbalizer: opt.Verbalizer = None,
    max_length: opt.MaxLength = None,
    epochs: opt.Epochs = 6,
    batch_size: opt.BatchSize = 32,
    lr: opt.Lr = None,
    warmup: opt.Warmup = 0.006,
    eval_every: opt.EvalEvery = None,
    patience: opt.Patience = 6,
    device: opt.TrainDevice = "cpu",
    dtype: opt.TrainDtype = opt.DType.float32,
    threads: sweep_opt.Threads = 1,
    workers: sweep_opt.Workers = None,
    address: sweep_opt.Address = None,
    gpus_per_cell: sweep_opt.GpusPerCell = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Train many tasks with many seeds: one run for each, a table of all.

    Example: skn sweep --backbone roberta-base --tasks 'goemotions/*' --seeds 1,3,5 --out emotions

    A cell that fails stops no other. --resume trains what is not done: broken cells go on, failed ones are tried again.
    """
    spec, words = data_spec(None, data, text_column, pair_column, label_column, drop_unlabelled)
    words = verbalizer or words
    names = None if tasks is None else expand_tasks(tasks)
    for option, value in (("--tasks", tasks), ("--seeds", seeds), ("--backbone", backbone)):
        if value is None and not resume:
            raise InputError(f"{option} is needed; 'skn sweep --help' shows an example")
    from skn.runs.sweep import Sweep
    from skn.runs.workers import Placement
    from skn.stages.sweep import parse_seeds
    from skn.stages.sweep import resume as continue_
    from skn.stages.sweep import sweep as stage

    numbers = None if seeds is None else parse_seeds(seeds)
    placement = Placement(workers, address, gpus_per_cell)
    if resume:
        given = said(context, spec, words, apart=PLACEMENT)
        grid = {name: value for name, value in (("tasks", names), ("seeds", numbers)) if value is not None}
        continue_(out, given | grid, placement)
        return
    settings = {
        "backbone": backbone,
        "data": {name: value for name, value in asdict(spec).items() if name not in ("task", "draw_seed")},
        "method": method.value,
        "prompt_length": prompt_length,
        "verbalizer": words,
        "max_length": max_length,
        "device": device,
        "dtype": dtype.value,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "warmup": warmup,
        "eval_every": eval_every,
        "patience": patience,
        "threads": threads,
    }
    stage(Sweep(out, names, numbers, settings), placement, overwrite)
