"""The command line: parses, calls a stage, prints errors.

Exit codes: 0 done, 1 failed, 2 bad input (one line on standard error).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import transformers
import typer

from skn.data import DataSpec
from skn.errors import InputError, SknError
from skn.task_file import read_task_file

app = typer.Typer(
    help="Find skill neurons in pretrained Transformers, prove that they matter, keep only them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Method = Enum("Method", {name: name for name in ("prompt", "bitfit", "adapter")}, type=str)
DType = Enum("DType", {name: name for name in ("float32", "bfloat16", "float16")}, type=str)
Split = Enum("Split", {name: name for name in ("train", "validation", "test")}, type=str)
HeldOut = Enum("HeldOut", {name: name for name in ("validation", "test")}, type=str)
Kind = Enum("Kind", {name: name for name in ("zero", "mean", "gaussian", "scale")}, type=str)
Aggregate = Enum("Aggregate", {name: name for name in ("mean", "min")}, type=str)
By = Enum("By", {name: name for name in ("predictivity", "plain")}, type=str)
Readout = Enum("Readout", {name: name for name in ("prompt", "mean", "max")}, type=str)
Foreign = Enum("Foreign", {name: name for name in ("thresholds", "accuracies")}, type=str)

INTERRUPTED = 130  # what typer returns after Ctrl-C; older versions raise Abort
MAX_SEED = 2**32 - 1  # NumPy's generator, which the Trainer seeds, takes no more

RunDir = Annotated[Path, typer.Option("--run", help="A run made by 'skn train'.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted command.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda. [default: as trained]", show_default=False)]
Dtype = Annotated[DType | None, typer.Option(help="Compute dtype. [default: as trained]", show_default=False)]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples in a batch.")]
Neurons = Annotated[
    Path | None, typer.Option(help="Ranking or fixed set. [default: RUN/neurons.safetensors]", show_default=False)
]
Layers = Annotated[
    str | None, typer.Option(help="LOW:HIGH, half-open: 3:12 is layers 3 to 11. [default: all]", show_default=False)
]
Thresholds = Annotated[
    Path | None,
    typer.Option(help="File with the mean activations. [default: RUN/moments.safetensors]", show_default=False),
]
TaskName = Annotated[str | None, typer.Option(help="A task of the registry ('skn tasks').")]
Data = Annotated[
    str | None,
    typer.Option(help="csv, tsv, jsonl or parquet file; a folder with train/validation/test files; a saved data set; a hub id; or a TOML task file."),
]
TextColumn = Annotated[str | None, typer.Option(help="Column with the text. [default: the task's, or 'text']")]
PairColumn = Annotated[str | None, typer.Option(help="Column with the second text of a pair. [default: the task's]")]
LabelColumn = Annotated[str | None, typer.Option(help="Column with the label. [default: the task's, or 'label']")]
DropUnlabelled = Annotated[bool, typer.Option("--drop-unlabelled", help="Leave out rows without a label (empty or -1).")]


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run's folder, made by this command.")],
    backbone: Annotated[str | None, typer.Option(help="Folder of a model or a hub id: RoBERTa, XLM-RoBERTa, BERT, GPT-2, or a pruned model.")] = None,
    task: TaskName = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    drop_unlabelled: DropUnlabelled = False,
    method: Annotated[Method, typer.Option(help="What is tuned over the frozen backbone.")] = Method.prompt,
    prompt_length: Annotated[int | None, typer.Option(help="Prompt positions; 1 is the mask alone. [default: 16, or as in --init-from; bitfit and adapter 1]")] = None,
    verbalizer: Annotated[str | None, typer.Option(help='One label word for each class: "terrible,great".')] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of a text; longer ones are truncated and counted. [default: what fits]")] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over train; 0 keeps the starting prompt.")] = 6,
    batch_size: BatchSize = 32,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Adam's learning rate. [default: prompt 0.01, else 0.001]")] = None,
    warmup: Annotated[float, typer.Option(help="Share of the steps over which the rate rises.")] = 0.006,
    eval_every: Annotated[int | None, typer.Option(min=1, help="Steps between evaluations. [default: half an epoch]")] = None,
    patience: Annotated[int, typer.Option(min=1, help="Evaluations without a better one before it stops.")] = 6,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the prompt and of the order of rows.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[DType, typer.Option(help="Compute dtype of the backbone.")] = DType.float32,
    init_from: Annotated[str | None, typer.Option(help="Start from another run's prompt: a run, or an imported file.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Tune a soft prompt, the biases or adapters on a frozen backbone.

    Example: skn train --backbone roberta-base --task sst2 --out runs/sst2

    After an interruption: skn train --resume --out runs/sst2
    """
    from skn.stages.train import TrainRequest
    from skn.stages.train import train as stage

    request = None
    if backbone is not None:
        spec, words = _data_spec(task, data, text_column, pair_column, label_column, drop_unlabelled)
        request = TrainRequest(
            backbone, spec, method.value, prompt_length, verbalizer or words, max_length, device, dtype.value,
            epochs, batch_size, lr, warmup, eval_every, patience, seed, init_from,
        )  # fmt: skip
    stage(request, out, overwrite, resume)


@app.command()
def probe(
    run: RunDir,
    pool: Annotated[str | None, typer.Option(help="Also pool over the text's own tokens: mean, max or mean,max.")] = None,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Measure how well every neuron's activation predicts the label.

    Thresholds come from train, hits and accuracies from validation and test: one pass over each.
    """
    from skn.stages.probe import probe as stage

    stage(run, pool.split(",") if pool else [], batch_size, device, _value(dtype), overwrite, resume)


@app.command()
def activate(
    run: RunDir,
    neuron: Annotated[list[str] | None, typer.Option(help="LAYER,NEURON, or 'best'; repeatable.")] = None,
    empty: Annotated[bool, typer.Option("--empty", help="All neurons at the first position, under the prompt with empty text.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All neurons at all prompt positions, streamed to disk.")] = False,
    split: Annotated[Split, typer.Option(help="The split to read.")] = Split.test,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
) -> None:
    """Write activations at the prompt positions to a file."""
    from skn.stages.activate import activate as stage

    stage(run, neuron or [], empty, everything, split.value, batch_size, device, _value(dtype), overwrite)


@app.command()
def select(
    run: Annotated[list[Path], typer.Option("--run", help="A probed run; repeat for more seeds of the same task.")],
    with_run: Annotated[list[str] | None, typer.Option("--with", help="A further binary sub-task: a run, or seeds as RUN,RUN; repeatable.")] = None,
    aggregate: Annotated[Aggregate, typer.Option(help="Over the seeds.")] = Aggregate.mean,
    split: Annotated[HeldOut, typer.Option(help="The split that decides.")] = HeldOut.validation,
    by: Annotated[By, typer.Option(help="Balanced predictivity, or the original's plain accuracy.")] = By.predictivity,
    readout: Annotated[Readout, typer.Option(help="Prompt positions, or pooled over the text.")] = Readout.prompt,
    contrast: Annotated[list[str] | None, typer.Option(help="Classes against classes: 2:0, 1:0,2 or 1:rest; repeatable. [default: 1:0, or each against the rest]")] = None,
    out: Annotated[Path | None, typer.Option(help="[default: RUN/neurons.safetensors]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Rank the neurons of each layer. Fractions are cut where the ranking is used."""
    from skn.stages.select import select as stage

    groups = [[Path(part) for part in text.split(",")] for text in with_run or []]
    stage(run, groups, aggregate.value, split.value, by.value, readout.value, contrast, out, overwrite)


@app.command()
def mask(
    run: RunDir,
    neurons: Neurons = None,
    kind: Annotated[Kind, typer.Option(help="What is done to the chosen neurons.")] = Kind.zero,
    fraction: Annotated[str | None, typer.Option(help="Share of each layer, 0.02, or a sweep FIRST:LAST:STEP, 0.00:0.20:0.01.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Noise of gaussian [default: 0.1], factor of scale [default: 0.5].")] = None,
    layers: Layers = None,
    controls: Annotated[int, typer.Option(min=0, help="Matched random masks for each fraction.")] = 20,
    thresholds: Thresholds = None,
    split: Annotated[Split, typer.Option(help="The split to evaluate on.")] = Split.test,
    seed: Annotated[int, typer.Option(min=0, help="Seed of controls and noise.")] = 0,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Accuracy with the best neurons masked, beside random masks of the same size in each layer.

    Example: skn mask --run runs/sst2 --kind zero --fraction 0.00:0.20:0.05
    """
    from skn.stages.mask import MaskRequest
    from skn.stages.mask import mask as stage

    request = MaskRequest(
        neurons, kind.value, alpha, layers, fraction, controls, thresholds, split.value, seed, batch_size, device,
        _value(dtype),
    )  # fmt: skip
    stage(run, request, overwrite, resume)


@app.command()
def prune(
    run: RunDir,
    neurons: Neurons = None,
    fraction: Annotated[float | None, typer.Option(help="Share of each layer that is kept.")] = None,
    count: Annotated[str | None, typer.Option(help="Neurons kept in each layer: 61, or one number a layer, 61,40,….")] = None,
    layers: Layers = None,
    thresholds: Thresholds = None,
    out: Annotated[Path | None, typer.Option(help="[default: RUN/pruned]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Keep the best neurons only and write the smaller model as a Hugging Face folder."""
    from skn.stages.prune import prune as stage

    stage(run, neurons, fraction, count, layers, thresholds, out, overwrite)


@app.command()
def evaluate(
    run: RunDir,
    model: Annotated[list[Path] | None, typer.Option(help="A pruned model beside the full one; repeatable. [default: RUN/pruned]")] = None,
    split: Annotated[Split, typer.Option(help="The split to evaluate on.")] = Split.test,
    speed: Annotated[bool, typer.Option("--speed", help="Also time: examples per second, tokenization apart.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes over the split.")] = 5,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
) -> None:
    """Accuracy, and on request speed, of the full and the pruned model side by side."""
    from skn.stages.evaluate import evaluate as stage

    stage(run, model or [], split.value, speed, repeats, batch_size, device, _value(dtype), overwrite)


@app.command()
def binarize(
    out: Annotated[Path, typer.Option(help="Folder for the sub-tasks' folders.")],
    task: TaskName = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    drop_unlabelled: DropUnlabelled = False,
    one_vs_rest: Annotated[bool, typer.Option("--one-vs-rest", help="Each class against all others, for any number of classes.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the balanced draw.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Balanced binary sub-tasks of a multi-class data set.

    Three or four classes give -pn (the poles against each other) and -neu (the neutral class against the others), as the
    original defines them. Columns of the result: text, pair, label.
    """
    from skn.stages.binarize import binarize as stage

    spec, _ = _data_spec(task, data, text_column, pair_column, label_column, drop_unlabelled)
    stage(spec, out, one_vs_rest, seed, overwrite)


@app.command()
def report(run: RunDir) -> None:
    """Figures and one self-contained HTML page of all that a run holds."""
    from skn.stages.common import console
    from skn.stages.report import report as stage

    console.print(f"wrote {stage(run)}", soft_wrap=True)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files written by the original code (torch.save); several are seeds.")],
    out: Annotated[Path, typer.Option(help="The artifact to write.")],
    as_: Annotated[Foreign | None, typer.Option("--as", help="What an array holds, where its values do not tell.")] = None,
    aggregate: Annotated[Aggregate, typer.Option(help="Over the seeds.")] = Aggregate.mean,
    overwrite: Overwrite = False,
) -> None:
    """Turn prompts, thresholds, accuracies and neuron sets of the original code bases into skn's artifacts."""
    from skn.stages.common import console
    from skn.stages.import_ import import_ as stage

    console.print(f"wrote {stage(files, out, _value(as_), aggregate.value, overwrite)}", soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for corpus, run and report.")] = Path("demo-run"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over train.")] = 4,
    controls: Annotated[int, typer.Option(min=0, help="Random masks for each fraction.")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of everything.")] = 0,
    overwrite: Overwrite = False,
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


def _data_spec(task, data, text_column, pair_column, label_column, drop_unlabelled) -> tuple[DataSpec, str | None]:
    """The data options, and the label words of a task file; what the command line says wins over the file."""
    given = {
        "data": data,
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "drop_unlabelled": drop_unlabelled,
    }
    words = None
    if data is not None and data.endswith(".toml"):
        options = read_task_file(Path(data))
        words = options.pop("verbalizer", None)
        given = given | options | {k: v for k, v in given.items() if v and k != "data"}
    return DataSpec(task=task, **given), words


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``skn``."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("skn").setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for library in ("huggingface_hub", "datasets"):  # their retries and hints: what matters in them, skn says itself
        logging.getLogger(library).setLevel(logging.ERROR)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on standard error."""
    try:
        result = app(args=arguments, standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except SknError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; what was complete is kept, --resume continues", 1)
    except typer.Exit as exit_:
        return exit_.exit_code
    except OSError as error:
        # A path that the system refuses (no permission, a name too long); without a path it is a bug, as below.
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}", InputError.exit_code)
    except Exception as error:
        # Usage errors of the option parser know how to say themselves; anything else is a bug and shows its traceback.
        if hasattr(error, "format_message"):
            return _fail(f"{error.format_message() or 'name a command'} (see --help)", InputError.exit_code)
        raise


def _fail(message: str, code: int) -> int:
    print("skn: " + " ".join(message.split()), file=sys.stderr)
    return code
