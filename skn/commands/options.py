"""The options of the command line. Each is declared once: its type, its name and its line of help."""

from pathlib import Path
from typing import Annotated

import typer

from skn.commands.choices import (
    Aggregate,
    By,
    ComputeDType,
    DType,
    Engine,
    Foreign,
    HeldOut,
    Kind,
    Method,
    Quoting,
    Split,
)
from skn.seeds import MAX_SEED

RunDir = Annotated[Path, typer.Option("--run", help="A run made by 'skn train'.")]
ReportRuns = Annotated[
    list[Path] | None, typer.Option("--run", help="A run made by 'skn train'; repeat to compare several on one page.")
]
ReportOut = Annotated[
    Path | None, typer.Option("--out", help="With several runs: the folder for the page that compares them.")
]
OneRun = Annotated[Path | None, typer.Option("--run", help="A run made by 'skn train'.")]
SweepDir = Annotated[Path | None, typer.Option("--sweep", help="A sweep made by 'skn sweep'.")]
ReportRsa = Annotated[Path | None, typer.Option("--rsa", help="A folder written by 'skn rsa', without its sweep.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an interrupted command with the settings it was started with.")
]
StageDevice = Annotated[str | None, typer.Option(help="cpu or cuda. [default: as trained]", show_default=False)]
StageDtype = Annotated[
    ComputeDType | None,
    typer.Option(
        help="Compute dtype; bf16x3: float32 with products made of three in bfloat16, fast engine only; "
        "int8: products of bytes, calibrated on 320 texts of train, on the CPU. [default: as trained]",
        show_default=False,
    ),
]
StageEngine = Annotated[
    Engine | None,
    typer.Option(
        help="hf: the Hugging Face forward; fast: skn's own encoder. [default: fast where the backbone allows it]",
        show_default=False,
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples in a batch.")]
BatchTokens = Annotated[
    int, typer.Option(min=1, help="Tokens in a batch, prompt and padding included; a longer text goes alone.")
]
Neurons = Annotated[
    Path | None, typer.Option(help="Ranking or fixed set. [default: RUN/neurons.safetensors]", show_default=False)
]
Layers = Annotated[
    str | None, typer.Option(help="LOW:HIGH, half-open: 3:12 is layers 3 to 11. [default: all]", show_default=False)
]
Thresholds = Annotated[
    Path | None,
    typer.Option(help="Mean activations (mask: --kind mean). [default: RUN/moments.safetensors]", show_default=False),
]
TaskName = Annotated[str | None, typer.Option(help="A task of the registry ('skn tasks').")]
Data = Annotated[
    str | None,
    typer.Option(
        help="csv, tsv, jsonl, json or parquet file; a folder with train/validation/test files; a saved data set; a hub id; or a TOML task file. Where no row of test has a label, validation is the test split."
    ),
]
TextColumn = Annotated[str | None, typer.Option(help="Column with the text. [default: the task's, or 'text']")]
PairColumn = Annotated[str | None, typer.Option(help="Column with the second text of a pair. [default: the task's]")]
LabelColumn = Annotated[str | None, typer.Option(help="Column with the label. [default: the task's, or 'label']")]
DropUnlabelled = Annotated[
    bool,
    typer.Option(
        "--drop-unlabelled",
        help="Leave out rows without a label (empty, nan, NA, or -1 beside 0 to C−1) or without a text (missing, empty or blank).",
    ),
]
DataQuoting = Annotated[
    Quoting | None,
    typer.Option(
        "--quoting",
        help="Of csv and tsv files. none: quotes are letters; multiline: a quoted field may go on over lines. [default: a quoted field ends in its line]",
        show_default=False,
    ),
]

DataEncoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Of text files that are not UTF-8: cp1252, utf-16. [default: UTF-8, or as a byte-order mark says]",
        show_default=False,
    ),
]
DataColumns = Annotated[
    str | None,
    typer.Option("--columns", help='Names for the columns of csv and tsv files without a header line: "text,label".'),
]

TrainOut = Annotated[Path, typer.Option(help="The run's folder, made by this command.")]
ResultName = Annotated[
    str | None,
    typer.Option(
        "--name", help="A name for this result, which then stands beside others of its kind, in the report as well."
    ),
]
MovedBackbone = Annotated[
    str | None, typer.Option("--backbone", help="Where the run's backbone stands now, if it was moved.")
]
MovedData = Annotated[str | None, typer.Option("--data", help="Where the run's data stands now, if it was moved.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        help="Folder of a model or a hub id: an encoder (RoBERTa, BERT, DeBERTa, ModernBERT, …), a decoder (GPT-2, Pythia, Llama, Qwen, Gemma, …), or a pruned or exported model."
    ),
]
TrainMethod = Annotated[
    Method, typer.Option(help="What is tuned over the frozen backbone; with template, nothing (see --template).")
]
Template = Annotated[
    str | None,
    typer.Option(
        help='With --method template: the words around the text. An encoder fills the mask: "{text} It was {mask}."; a decoder goes on after the last word: "Review: {text}\\nSentiment:", where \\n is a line break. A pair has {text} and {pair}.'
    ),
]
PromptLength = Annotated[
    int | None,
    typer.Option(
        help="Prompt positions; 1 is the mask alone. [default: 16, or as in --init-from; bitfit and adapter 1]"
    ),
]
Verbalizer = Annotated[
    str | None,
    typer.Option(
        help='One label word for each class: "terrible,great". [default: those of the task, of --init-from if its classes are the same, or negative and positive]'
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        help='What each class is called in tables, figures and pipelines: "bad,good". [default: the labels; where they are numbers, the label words]'
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(help="Tokens of a text; longer ones are truncated and counted. [default: what fits]")
]
Epochs = Annotated[int, typer.Option(min=0, help="Passes over train; 0 keeps the starting prompt.")]
Lr = Annotated[float | None, typer.Option(min=0.0, help="Adam's learning rate. [default: prompt 0.01, else 0.001]")]
Warmup = Annotated[float, typer.Option(help="Share of the steps over which the rate rises.")]
EvalEvery = Annotated[int | None, typer.Option(min=1, help="Steps between evaluations. [default: half an epoch]")]
Patience = Annotated[int, typer.Option(min=1, help="Evaluations without a better one before it stops.")]
TrainSeed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the prompt and of the order of rows.")]
TrainDevice = Annotated[str, typer.Option(help="cpu or cuda.")]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        help="auto: spread a backbone that one device does not hold over GPUs, memory and disk (accelerate); with --device cpu, GPUs are left out. [default: all on one device, or as trained]",
        show_default=False,
    ),
]
TrainDtype = Annotated[DType, typer.Option(help="Compute dtype of the backbone.")]
Autocast = Annotated[
    bool,
    typer.Option(
        "--autocast",
        help="The steps compute the products of the float32 backbone in bfloat16; weights, LayerNorm, loss and the evaluations "
        "stay in float32. (--dtype bfloat16 instead has the weights in bfloat16, too.)",
    ),
]
InitFrom = Annotated[str | None, typer.Option(help="Start from another run's prompt: a run, or an imported file.")]
ProbedRuns = Annotated[
    list[Path] | None, typer.Option("--run", help="A probed run; repeat for more seeds of the same task.")
]
WithRun = Annotated[
    list[str] | None, typer.Option("--with", help="A further binary sub-task: a run, or seeds as RUN,RUN; repeatable.")
]
SeedAggregate = Annotated[Aggregate, typer.Option(help="Over the seeds.")]
DecidingSplit = Annotated[HeldOut, typer.Option(help="The split that decides.")]
SelectBy = Annotated[
    By,
    typer.Option(
        help="Balanced predictivity, the original's plain accuracy, or the area under the ROC curve (probe --auroc)."
    ),
]
Contrast = Annotated[
    list[str] | None,
    typer.Option(
        help="Classes against classes: 2:0, 1:0,2 or 1:rest; repeatable. [default: 1:0, or each against the rest]"
    ),
]
SelectOut = Annotated[Path | None, typer.Option(help="[default: RUN/neurons.safetensors]")]
MaskKind = Annotated[
    Kind | None,
    typer.Option(
        help="What is done to the chosen neurons; a sweep has zero and scale. resample: each takes its activation for another "
        "random text of the split, at the same place; at about twice the time and with more memory. "
        "[default: zero; scale for sets with factors]",
        show_default=False,
    ),
]
MaskFraction = Annotated[
    str | None,
    typer.Option(
        help="Share of each layer, 0.02, several with commas, 0.1,0.2, or a sweep FIRST:LAST:STEP, 0.00:0.20:0.01."
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(help="Noise of gaussian [default: 0.1], factor of scale [default: 0.5, or the set's own]."),
]
Controls = Annotated[int, typer.Option(min=0, help="Matched random masks for each fraction.")]
EvaluatedSplit = Annotated[Split, typer.Option(help="The split to evaluate on.")]
MaskSeed = Annotated[int, typer.Option(min=0, help="Seed of controls, noise and resample's texts.")]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        help="A pruned or exported model beside the full one, of this run or another with the same classes; repeatable. [default: RUN/pruned]"
    ),
]
Speed = Annotated[bool, typer.Option("--speed", help="Also time: examples per second, tokenization apart.")]
Repeats = Annotated[int, typer.Option(min=1, help="With --speed: timed passes over the split.")]
PredictModel = Annotated[
    Path | None,
    typer.Option("--model", help="The folder of a pruned or exported model, made by 'skn prune' or 'skn export'."),
]
PredictText = Annotated[list[str] | None, typer.Option("--text", help="A text; repeatable.")]
PredictData = Annotated[
    Path | None,
    typer.Option(
        "--data", help="csv, tsv, jsonl, json or parquet file with a text in every row; a column of labels is optional."
    ),
]
PredictOut = Annotated[Path | None, typer.Option(help="A csv file for all rows, written by this command.")]
EvaluatedData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Another labelled file, csv, tsv, jsonl, json or parquet, instead of a split; or where the run's own data stands now, if it was moved.",
    ),
]
PredictionsOut = Annotated[
    Path | None,
    typer.Option("--predictions", help="Also a csv file: what each model says of every text."),
]
EvaluatedOn = Annotated[
    Split | None, typer.Option("--split", help="The split to evaluate on. [default: test]", show_default=False)
]
BinarizeOut = Annotated[Path, typer.Option(help="Folder for the sub-tasks' folders.")]
OneVsRest = Annotated[
    bool, typer.Option("--one-vs-rest", help="Each class against all others, for any number of classes.")
]
BinarizeSeed = Annotated[int, typer.Option(min=0, help="Seed of the balanced draw.")]
ForeignFiles = Annotated[
    list[Path],
    typer.Argument(help="Files written by the original code (torch.save, or a csv of ranks); several are seeds."),
]
ImportOut = Annotated[Path, typer.Option(help="The artifact to write.")]
RankColumn = Annotated[
    list[str] | None, typer.Option("--column", help="A column of a csv of ranks; repeatable. [default: all]")
]
NeuronShape = Annotated[
    str | None,
    typer.Option("--shape", help="LxF of neurons that stand flat in csv. [default: 12x3072, where it fits]"),
]
As = Annotated[Foreign | None, typer.Option("--as", help="What an array holds, where its values do not tell.")]
DemoOut = Annotated[Path, typer.Option(help="Folder for corpus, run and report.")]
DemoEpochs = Annotated[int, typer.Option(min=1, help="Passes over train.")]
DemoSeed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of everything.")]
