"""The first commands of a run: train, probe, activate."""

from __future__ import annotations

import typer

from skn.commands import options as opt
from skn.commands.app import app, said, value
from skn.commands.forms import chosen_form
from skn.data.task_file import data_spec
from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS

ACTIVATE_FORMS = {
    "run": ("neuron", "empty", "everything", "split", "batch_tokens"),
    "sweep": ("emotions", "probe_text", "pre_activation", "csv"),
}


@app.command()
def train(
    context: typer.Context,
    out: opt.TrainOut,
    backbone: opt.BackboneName = None,
    task: opt.TaskName = None,
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
    seed: opt.TrainSeed = 0,
    device: opt.TrainDevice = "cpu",
    dtype: opt.TrainDtype = opt.DType.float32,
    init_from: opt.InitFrom = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Tune a soft prompt, the biases or adapters on a frozen backbone.

    Example: skn train --backbone roberta-base --task sst2 --out runs/sst2

    After an interruption: skn train --resume --out runs/sst2
    """
    from skn.stages.train import TrainRequest
    from skn.stages.train import resume as continue_
    from skn.stages.train import train as stage

    if backbone is None and not resume:
        raise InputError("--backbone is needed; 'skn train --help' shows an example")
    spec, words = data_spec(task, data, text_column, pair_column, label_column, drop_unlabelled)
    if resume:
        continue_(out, said(context, spec, verbalizer or words))
        return
    request = TrainRequest(
        backbone, spec, method.value, prompt_length, verbalizer or words, max_length, device, dtype.value,
        epochs, batch_size, lr, warmup, eval_every, patience, seed, init_from,
    )  # fmt: skip
    stage(request, out, overwrite)


@app.command()
def probe(
    run: opt.RunDir,
    pool: opt.Pool = None,
    batch_tokens: opt.BatchTokens = BATCH_TOKENS,
    device: opt.StageDevice = None,
    dtype: opt.StageDtype = None,
    engine: opt.StageEngine = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Measure how well every neuron's activation predicts the label.

    Thresholds come from train, hits and accuracies from validation and test: one pass over each.
    """
    from skn.stages.probe import probe as stage

    stage(run, pool.split(",") if pool else [], batch_tokens, device, value(dtype), value(engine), overwrite, resume)


@app.command()
def activate(
    context: typer.Context,
    run: opt.OneRun = None,
    sweep: opt.SweepDir = None,
    neuron: opt.Neuron = None,
    empty: opt.Empty = False,
    everything: opt.Everything = False,
    split: opt.ReadSplit = opt.Split.test,
    batch_tokens: opt.BatchTokens = BATCH_TOKENS,
    emotions: opt.Emotions = None,
    probe_text: opt.ProbeText = "<s>",
    pre_activation: opt.PreActivation = False,
    csv: opt.CsvFolder = None,
    device: opt.StageDevice = None,
    dtype: opt.StageDtype = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Write activations at the prompt positions to a file.

    Of one run: --neuron, --empty or --all. Of a sweep: every neuron at the first position under each cell's prompt.
    """
    from skn.stages.activate import activate as of_run
    from skn.stages.activate_sweep import activate_sweep as of_sweep

    if chosen_form(context, ACTIVATE_FORMS) == "run":
        of_run(run, neuron or [], empty, everything, split.value, batch_tokens, device, value(dtype), overwrite)
    else:
        of_sweep(sweep, emotions, probe_text, pre_activation, csv, device, value(dtype), overwrite)
