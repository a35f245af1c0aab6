"""The commands that make a run and read its activations: train, probe, activate."""

from __future__ import annotations

import typer

from skn.commands import options as opt
from skn.commands import parse
from skn.commands import read_options as read_opt
from skn.commands.app import app, said
from skn.commands.forms import chosen_form, is_said, refuse_beside, refuse_without
from skn.commands.groups import Columns, Computing, Reading, Training
from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS

ACTIVATE_FORMS = {
    "run": ("neuron", "best", "empty", "everything", "top", "neurons", "split", "batch_tokens"),
    "sweep": ("emotions", "probe_text", "pre_activation", "csv"),
}


@app.command()
def train(
    context: typer.Context,
    *,
    out: opt.TrainOut,
    backbone: opt.BackboneName = None,
    task: opt.TaskName = None,
    columns: Columns,
    training: Training,
    seed: opt.TrainSeed = 0,
    init_from: opt.InitFrom = None,
    device_map: opt.DeviceMap = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Tune a soft prompt, the biases or adapters on a frozen backbone.

    The last line gives the best validation accuracy with its 95% interval beside the share of the larger class, and says what to
    try where the accuracy is no better than that share or still rose at the end.

    Example: skn train --backbone roberta-base --task sst2 --out runs/sst2

    After an interruption: skn train --resume --out runs/sst2
    """
    if backbone is None and not resume:
        raise InputError("--backbone is needed; 'skn train --help' shows an example")
    in_file = columns.spec(task)
    of_classes = training.of_classes(in_file)
    from skn.runs.prepare import OF_TUNING, TrainRequest, refuse_tuning
    from skn.stages.train import resume as continue_
    from skn.stages.train import train as stage

    if resume:
        continue_(out, said(context, in_file.spec, of_classes))
        return
    if training.method.value == "template":
        refuse_tuning(name for name in OF_TUNING if is_said(context, name))  # a default, too, where it is said
    asked = {"backbone": backbone, "data": in_file.spec, "seed": seed, "init_from": init_from}
    asked |= {"words": of_classes["verbalizer"], "class_names": of_classes["class_names"]}
    settings = training.values() | {"device_map": device_map}
    if device_map is not None and not is_said(context, "device"):
        settings["device"] = None
    stage(TrainRequest(**asked, **settings), out, overwrite)


@app.command()
def probe(
    *,
    run: opt.RunDir,
    at: read_opt.At = None,
    neuron: read_opt.ProbeNeuron = read_opt.NeuronPart.activation,
    threshold: read_opt.ProbeThreshold = read_opt.Threshold.mean,
    permutations: read_opt.Permutations = 1000,
    keep_bits: read_opt.KeepBits = True,
    auroc: read_opt.Auroc = False,
    computing: Computing,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Measure how well every neuron's activation predicts the label.

    Thresholds come from train, hits and accuracies from validation and test: one pass over each. The labels of validation and test are
    permuted to say which neurons predict beyond chance. A claim quotes test, because validation chooses the neurons.

    Example: skn probe --run runs/sst2

    In four processes: torchrun --nproc-per-node 4 -m -- skn probe --run runs/sst2
    """
    from skn.stages.probe import probe as stage

    how = {"neuron": neuron.value, "threshold": threshold.value, "permutations": permutations}
    how |= {"keep_bits": keep_bits, "auroc": auroc}
    stage(run, parse.names(at), computing.compute(), **how, overwrite=overwrite, resume=resume)


@app.command()
def activate(
    context: typer.Context,
    *,
    run: opt.OneRun = None,
    sweep: opt.SweepDir = None,
    neuron: read_opt.Neuron = None,
    best: read_opt.BestNeurons = None,
    empty: read_opt.Empty = False,
    everything: read_opt.Everything = False,
    top: read_opt.Exemplars = None,
    neurons: read_opt.ExemplarNeurons = None,
    split: read_opt.ReadSplit = opt.Split.test,
    batch_tokens: opt.BatchTokens = BATCH_TOKENS,
    emotions: read_opt.Emotions = None,
    probe_text: read_opt.ProbeText = "<s>",
    pre_activation: read_opt.PreActivation = False,
    csv: read_opt.CsvFolder = None,
    reading: Reading,
    overwrite: opt.Overwrite = False,
) -> None:
    """Write activations at the prompt positions to a file, or the texts on which neurons are most and least active (--top).

    Of one run: --best, --neuron, --empty or --all; with --top, --neurons in place of --empty. Of a sweep: every neuron at the first position under each cell's prompt.

    Example: skn activate --run runs/sst2 --best 10

    Example: skn activate --run runs/sst2 --top 20 --best 10
    """
    if chosen_form(context, ACTIVATE_FORMS) == "run":
        for option in ("split", "batch_tokens", "top"):
            refuse_beside(context, option, "empty")  # the empty text belongs to no split
        refuse_without(context, "neurons", "top")
        asked = {"best": best, "everything": everything, "split": split.value, "overwrite": overwrite}
        named, asked["compute"] = parse.neurons(neuron), reading.compute(batch_tokens)
        if top is None:
            from skn.stages.activate import activate as of_run

            of_run(run, named, empty=empty, **asked)
        else:
            from skn.stages.activate_exemplars import activate_exemplars as of_texts

            of_texts(run, top, named, file=neurons, **asked)
        return
    from skn.stages.activate_sweep import activate_sweep as of_sweep

    how = {"probe_text": probe_text, "pre_activation": pre_activation, "compute": reading.compute()}
    of_sweep(sweep, parse.names(emotions), csv, **how, overwrite=overwrite)
