"""The commands of a run and of the installation: what each takes, and the stage that it calls."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from skn import options as opt
from skn.batches import BATCH_TOKENS
from skn.data import DataSpec
from skn.errors import InputError
from skn.forms import chosen_form
from skn.task_file import data_spec

ACTIVATE_FORMS = {
    "run": ("neuron", "empty", "everything", "split", "batch_tokens"),
    "sweep": ("emotions", "probe_text", "pre_activation", "csv"),
}

app = typer.Typer(
    help="Find skill neurons in pretrained Transformers, prove that they matter, keep only them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


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

    stage(run, pool.split(",") if pool else [], batch_tokens, device, _value(dtype), _value(engine), overwrite, resume)


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
        of_run(run, neuron or [], empty, everything, split.value, batch_tokens, device, _value(dtype), overwrite)
    else:
        of_sweep(sweep, emotions, probe_text, pre_activation, csv, device, _value(dtype), overwrite)


@app.command()
def prune(
    run: opt.RunDir,
    neurons: opt.Neurons = None,
    fraction: opt.PruneFraction = None,
    count: opt.Count = None,
    layers: opt.Layers = None,
    thresholds: opt.Thresholds = None,
    out: opt.PruneOut = None,
    onnx: opt.Onnx = False,
    overwrite: opt.Overwrite = False,
) -> None:
    """Keep the best neurons only and write the smaller model as a Hugging Face folder.

    Example: skn prune --run runs/sst2 --count 61 --layers 3:12 --onnx
    """
    from skn.stages.prune import prune as stage

    stage(run, neurons, fraction, count, layers, thresholds, out, onnx, overwrite)


@app.command()
def evaluate(
    run: opt.RunDir,
    model: opt.Models = None,
    split: opt.EvaluatedSplit = opt.Split.test,
    speed: opt.Speed = False,
    repeats: opt.Repeats = 5,
    batch_tokens: opt.BatchTokens = BATCH_TOKENS,
    device: opt.StageDevice = None,
    dtype: opt.StageDtype = None,
    engine: opt.StageEngine = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Accuracy, and on request speed, of the full and the pruned model side by side."""
    from skn.stages.evaluate import evaluate as stage

    stage(run, model or [], split.value, speed, repeats, batch_tokens, device, _value(dtype), _value(engine), overwrite)


@app.command()
def binarize(
    out: opt.BinarizeOut,
    task: opt.TaskName = None,
    data: opt.Data = None,
    text_column: opt.TextColumn = None,
    pair_column: opt.PairColumn = None,
    label_column: opt.LabelColumn = None,
    drop_unlabelled: opt.DropUnlabelled = False,
    one_vs_rest: opt.OneVsRest = False,
    seed: opt.BinarizeSeed = 0,
    overwrite: opt.Overwrite = False,
) -> None:
    """Balanced binary sub-tasks of a multi-class data set.

    Three or four classes give -pn (the poles against each other) and -neu (the neutral class against the others), as the
    original defines them. Columns of the result: text, pair, label.
    """
    from skn.stages.binarize import binarize as stage

    spec, _ = data_spec(task, data, text_column, pair_column, label_column, drop_unlabelled)
    stage(spec, out, one_vs_rest, seed, overwrite)


@app.command()
def report(
    context: typer.Context, run: opt.OneRun = None, sweep: opt.SweepDir = None, rsa: opt.ReportRsa = None
) -> None:
    """Figures and one self-contained HTML page of all that a run, a sweep or a searchlight holds."""
    from skn.stages.common import console
    from skn.stages.report import report as of_run
    from skn.stages.report_sweep import report_rsa, report_sweep

    forms = {"run": (of_run, run), "sweep": (report_sweep, sweep), "rsa": (report_rsa, rsa)}
    stage, path = forms[chosen_form(context, dict.fromkeys(forms, ()))]
    console.print(f"wrote {stage(path)}", soft_wrap=True)


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
    from skn.stages.common import console
    from skn.stages.import_ import import_ as stage

    written = stage(files, out, _value(as_), aggregate.value, overwrite, column, shape)
    console.print(f"wrote {written}", soft_wrap=True)


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


def _value(choice: Enum | None) -> str | None:
    return None if choice is None else choice.value


def said(context: typer.Context, spec: DataSpec, verbalizer: str | None, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the user says beside ``--resume``, on the command line or in a task file; no defaults, nothing of ``apart``."""
    unstored = ("out", "overwrite", "resume", *apart)
    given = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE" and name not in unstored
    }
    in_file = {name: value for name, value in asdict(spec).items() if value}
    return given | in_file | ({} if verbalizer is None else {"verbalizer": verbalizer})
