"""The commands that choose neurons, mask them, keep only them, export a model, evaluate models and predict."""

from __future__ import annotations

from pathlib import Path

import typer

from skn.commands import folder_options as folder_opt
from skn.commands import mask_options as sets_opt
from skn.commands import options as opt
from skn.commands import parse
from skn.commands import read_options as read_opt
from skn.commands import sweep_options as sweep_opt
from skn.commands.app import app
from skn.commands.choices import Freeze, value
from skn.commands.forms import chosen_form, refuse_beside, refuse_without
from skn.commands.groups import Computing, Machine, Meaning, Moved
from skn.errors import InputError
from skn.inference.compute import Compute

SELECT_FORMS = {
    "run": (
        *("with_run", "aggregate", "split", "by", "readout", "contrast"),
        *("permutations", "bootstrap", "bootstrap_fraction"),
    ),
    "rsa": ("top", "attributes", "kind", "seed"),
}
MASK_FORMS = {
    "run": ("neurons", "fraction", "alpha", "layers", "thresholds", "on"),
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
    readout: read_opt.SelectReadout = None,
    contrast: opt.Contrast = None,
    permutations: read_opt.SelectPermutations = 1000,
    bootstrap: read_opt.Bootstrap = 0,
    bootstrap_fraction: read_opt.BootstrapFraction = 0.05,
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

    Example: skn select --run runs/sst2 --bootstrap 1000

    Example: skn select --rsa sweep/rsa/rsa.safetensors --top 500,1000 --out sweep/sets
    """
    if chosen_form(context, SELECT_FORMS) == "run":
        refuse_without(context, "bootstrap_fraction", "bootstrap")
        groups = [[Path(part) for part in text.split(",")] for text in with_run or []]
        sides = [parse.contrast(text) for text in contrast or []]
        from skn.neurons.selection import Contrast
        from skn.stages.select import SelectOptions
        from skn.stages.select import select as stage

        how = {"aggregate": value(aggregate), "split": value(split), "by": value(by), "readout": value(readout)}
        how |= {"permutations": permutations, "bootstrap": bootstrap, "bootstrap_fraction": bootstrap_fraction}
        stage(run, groups, SelectOptions(contrasts=[Contrast(*both) for both in sides] or None, **how), out, overwrite)
        return
    if top is None or out is None:
        raise InputError("--rsa: needs --top, such as --top 500,1000, and --out, the folder for the sets")
    names, counts = parse.names(attributes), parse.counts(top, "--top")
    from skn.stages.select_rsa import select_rsa

    select_rsa(rsa, counts, out, names, kind=kind.value, seed=seed, overwrite=overwrite)


@app.command()
def mask(
    context: typer.Context,
    *,
    run: opt.OneRun = None,
    on: sets_opt.MaskOn = None,
    neurons: opt.Neurons = None,
    fraction: opt.MaskFraction = None,
    alpha: opt.Alpha = None,
    layers: opt.Layers = None,
    thresholds: opt.Thresholds = None,
    sweep: opt.SweepDir = None,
    sets: sets_opt.Sets = None,
    emotions: read_opt.Emotions = None,
    attributes: sets_opt.Attributes = None,
    top: sets_opt.MaskTop = None,
    workers: sweep_opt.Workers = None,
    address: sweep_opt.Address = None,
    gpus_per_cell: sweep_opt.GpusPerCell = None,
    kind: opt.MaskKind = None,
    controls: sets_opt.MaskControls = 20,
    match: sets_opt.MaskMatch = "layer",
    split: opt.EvaluatedSplit = opt.Split.test,
    seed: opt.MaskSeed = 0,
    name: opt.ResultName = None,
    computing: Computing,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
) -> None:
    """Accuracy with the best neurons masked, beside random masks of the same size: of a run, or of a sweep's every run.

    Example: skn mask --run runs/sst2 --kind zero --fraction 0.00:0.20:0.05 --match layer,activity

    Example: skn mask --run runs/sst2 --on runs/imdb,runs/mnli --fraction 0.05

    Example: skn mask --sweep sweep --sets sweep/sets --emotions joy,anger
    """
    common = {"controls": controls, "split": split.value, "seed": seed}
    if chosen_form(context, MASK_FORMS) == "run":
        refuse_beside(context, "thresholds", "on")
        chosen = {"fractions": parse.fractions(fraction), "layers": parse.layers(layers)}
        others = parse.runs(on, "--on")
        from skn.neurons.mask_options import MaskOptions
        from skn.stages.mask import MaskRequest
        from skn.stages.mask import mask as stage

        request = MaskRequest(
            options=MaskOptions(kind=value(kind) or "zero", alpha=alpha, match=parse.names(match), **common),
            compute=computing.compute(),
            neurons=neurons,
            thresholds=thresholds,
            name=name,
            **chosen,
        )
        if others is not None:
            from skn.stages.off_target import off_target

            off_target(run, others, request, overwrite, resume)
            return
        stage(run, request, overwrite, resume)
        return
    if sets is None:
        raise InputError("--sweep: needs --sets, a folder made by 'skn select --rsa'")
    counts = parse.counts(top, "--top")
    from skn.runs.mask_sweep import MaskSweepRequest
    from skn.runs.workers import Placement
    from skn.stages.mask_sweep import mask_sweep

    request = MaskSweepRequest(
        sweep=sweep,
        sets=sets,
        kind=value(kind),
        match=match,
        emotions=parse.names(emotions),
        attributes=parse.names(attributes),
        top=counts,
        name=name,
        compute=computing.compute(),
        **common,
    )
    mask_sweep(request, Placement(workers, address, gpus_per_cell), overwrite, resume)


@app.command()
def prune(
    *,
    run: opt.RunDir,
    neurons: opt.Neurons = None,
    fraction: folder_opt.PruneFraction = None,
    count: folder_opt.Count = None,
    layers: opt.Layers = None,
    thresholds: opt.Thresholds = None,
    freeze: folder_opt.Freeze = Freeze.mean,
    retune: folder_opt.Retune = None,
    out: folder_opt.PruneOut = None,
    portable: folder_opt.Portable = False,
    onnx: folder_opt.Onnx = False,
    int8: folder_opt.Int8 = False,
    no_plain: folder_opt.NoPlain = False,
    stock: folder_opt.Stock = False,
    moved: Moved,
    overwrite: opt.Overwrite = False,
) -> None:
    """Keep the best neurons only and write the smaller model as a Hugging Face folder.

    The prompt was tuned for all neurons; --retune tunes it again for those that are left.

    Example: skn prune --run runs/sst2 --count 61 --layers 3:12 --retune 3 --onnx
    """
    chosen = {"count": parse.layer_counts(count), "layers": parse.layers(layers)}
    from skn.stages.prune import PruneRequest
    from skn.stages.prune import prune as stage

    chosen |= {"retune": retune, "portable": portable, "onnx": onnx, "int8": int8, "no_plain": no_plain}
    chosen |= {"stock": stock, "compute": Compute(device="cpu", **vars(moved)), "freeze": freeze.value}
    request = PruneRequest(neurons=neurons, fraction=fraction, thresholds=thresholds, **chosen)
    stage(run, request, out, overwrite)


@app.command()
def export(
    *,
    run: opt.RunDir,
    out: folder_opt.ExportOut,
    portable: folder_opt.Portable = False,
    onnx: folder_opt.Onnx = False,
    int8: folder_opt.Int8 = False,
    no_plain: folder_opt.NoPlain = False,
    moved: Moved,
    overwrite: opt.Overwrite = False,
) -> None:
    """Write a run's model as a Hugging Face folder, every neuron of its backbone kept, full or pruned.

    Example: skn export --run runs/sst2-again --out models/sst2 --portable
    """
    from skn.stages.export import export as stage

    compute = Compute(device="cpu", **vars(moved))
    asked = {"portable": portable, "onnx": onnx, "int8": int8, "no_plain": no_plain}
    stage(run, out, compute=compute, **asked, overwrite=overwrite)


@app.command()
def evaluate(
    context: typer.Context,
    *,
    run: opt.RunDir,
    model: opt.Models = None,
    split: opt.EvaluatedOn = None,
    backbone: opt.MovedBackbone = None,
    data: opt.EvaluatedData = None,
    meaning: Meaning,
    drop_unlabelled: opt.DropUnlabelled = False,
    predictions: opt.PredictionsOut = None,
    speed: opt.Speed = False,
    repeats: opt.Repeats = 5,
    name: opt.ResultName = None,
    machine: Machine,
    overwrite: opt.Overwrite = False,
) -> None:
    """Accuracy, and on request speed, of the full and the pruned model side by side: on a split, or on another file.

    Example: skn evaluate --run runs/sst2 --speed

    Example: skn evaluate --run runs/sst2 --data reviews.csv --text-column review --label-column stars
    """
    refuse_without(context, "repeats", "speed")
    from skn.stages.evaluate import EvaluateRequest
    from skn.stages.evaluate import evaluate as stage

    columns = meaning.said() | ({"drop_unlabelled": True} if drop_unlabelled else {})
    request = EvaluateRequest(
        models=model or [],
        split=value(split),
        data=data,
        columns=columns,
        predictions=predictions,
        repeats=repeats if speed else None,
        compute=machine.with_backbone(backbone),
        name=name,
    )
    stage(run, request, overwrite)


@app.command()
def predict(
    context: typer.Context,
    *,
    run: opt.OneRun = None,
    model: opt.PredictModel = None,
    text: opt.PredictText = None,
    data: opt.PredictData = None,
    meaning: Meaning,
    out: opt.PredictOut = None,
    backbone: opt.MovedBackbone = None,
    machine: Machine,
    overwrite: opt.Overwrite = False,
) -> None:
    """The class and the probability of every class for new texts; beside labels also the accuracy.

    Example: skn predict --run runs/sst2 --text "a dull film" --text "wonderful"

    Example: skn predict --model runs/sst2/pruned --data reviews.csv --text-column review --out predictions.csv
    """
    is_run = chosen_form(context, {"run": ("backbone",), "model": ()}) == "run"
    chosen_form(context, {"text": (), "data": tuple(vars(meaning))})
    from skn.stages.predict import predict as stage

    how = {"out": out, "compute": machine.with_backbone(backbone), "overwrite": overwrite}
    stage(run or model, is_run, text, data, meaning.said(), **how)
