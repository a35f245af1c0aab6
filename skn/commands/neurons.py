"""The commands that choose neurons, mask them, keep only them, and evaluate what is left."""

from __future__ import annotations

from pathlib import Path

import typer

from skn.commands import mask_options as sets_opt
from skn.commands import options as opt
from skn.commands import sweep_options as sweep_opt
from skn.commands.app import app, value
from skn.commands.forms import chosen_form
from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS

SELECT_FORMS = {
    "run": ("with_run", "aggregate", "split", "by", "readout", "contrast"),
    "rsa": ("top", "attributes", "kind", "seed"),
}
MASK_FORMS = {
    "run": ("neurons", "fraction", "alpha", "layers", "thresholds"),
    "sweep": ("sets", "emotions", "attributes", "top", "workers", "address", "gpus_per_cell"),
}


@app.command()
def select(
    context: typer.Context,
    run: opt.ProbedRuns = None,
    with_run: opt.WithRun = None,
    aggregate: opt.SeedAggregate = opt.Aggregate.mean,
    split: opt.DecidingSplit = opt.HeldOut.validation,
    by: opt.SelectBy = opt.By.predictivity,
    readout: opt.SelectReadout = opt.Readout.prompt,
    contrast: opt.Contrast = None,
    rsa: sets_opt.RsaFile = None,
    top: sets_opt.SelectTop = None,
    attributes: sets_opt.Attributes = None,
    kind: sets_opt.SelectKind = sets_opt.SetKind.binary,
    seed: sets_opt.SelectSeed = 0,
    out: opt.SelectOut = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Rank the neurons of each layer (--run), or cut the best of each attribute over all layers (--rsa).

    Fractions of a ranking are cut where it is used.

    Example: skn select --rsa sweep/rsa/rsa.safetensors --top 500,1000 --out sweep/sets
    """
    if chosen_form(context, SELECT_FORMS) == "run":
        from skn.stages.select import select as stage

        groups = [[Path(part) for part in text.split(",")] for text in with_run or []]
        stage(run, groups, aggregate.value, split.value, by.value, readout.value, contrast, out, overwrite)
        return
    from skn.stages.select_rsa import select_rsa

    if top is None or out is None:
        raise InputError("--rsa: needs --top, such as --top 500,1000, and --out, the folder for the sets")
    select_rsa(rsa, top, out, attributes, kind.value, seed, overwrite)


@app.command()
def mask(
    context: typer.Context,
    run: opt.OneRun = None,
    neurons: opt.Neurons = None,
    fraction: opt.MaskFraction = None,
    alpha: opt.Alpha = None,
    layers: opt.Layers = None,
    thresholds: opt.Thresholds = None,
    sweep: opt.SweepDir = None,
    sets: sets_opt.Sets = None,
    emotions: opt.Emotions = None,
    attributes: sets_opt.Attributes = None,
    top: sets_opt.MaskTop = None,
    workers: sweep_opt.Workers = None,
    address: sweep_opt.Address = None,
    gpus_per_cell: sweep_opt.GpusPerCell = None,
    kind: opt.MaskKind = None,
    controls: opt.Controls = 20,
    match: sets_opt.MaskMatch = sets_opt.Match.layer,
    split: opt.EvaluatedSplit = opt.Split.test,
    seed: opt.MaskSeed = 0,
    batch_tokens: opt.BatchTokens = BATCH_TOKENS,
    device: opt.StageDevice = None,
    dtype: opt.StageDtype = None,
    engine: opt.StageEngine = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Accuracy with the best neurons masked, beside random masks of the same size: of a run, or of a sweep's every run.

    Example: skn mask --run runs/sst2 --kind zero --fraction 0.00:0.20:0.05

    Example: skn mask --sweep sweep --sets sweep/sets --emotions joy,anger
    """
    choices = {"kind": kind, "match": match, "split": split, "dtype": dtype, "engine": engine}
    common = {name: choice.value for name, choice in choices.items() if choice is not None}
    common |= {"controls": controls, "seed": seed, "batch_tokens": batch_tokens, "device": device}
    if chosen_form(context, MASK_FORMS) == "run":
        from skn.stages.mask import MaskRequest
        from skn.stages.mask import mask as stage

        request = MaskRequest(
            neurons=neurons, alpha=alpha, layers=layers, fraction=fraction, thresholds=thresholds, **common
        )
        stage(run, request, overwrite, resume)
        return
    from skn.runs.workers import Placement
    from skn.stages.mask_sweep import MaskSweepRequest, mask_sweep

    if sets is None:
        raise InputError("--sweep: needs --sets, a folder made by 'skn select --rsa'")
    placement = Placement(workers, address, gpus_per_cell)
    request = MaskSweepRequest(sweep=sweep, sets=sets, emotions=emotions, attributes=attributes, top=top, **common)
    mask_sweep(request, placement, overwrite, resume)


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

    stage(run, model or [], split.value, speed, repeats, batch_tokens, device, value(dtype), value(engine), overwrite)
