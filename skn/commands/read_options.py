"""The options of commands that read activations: where, of which neurons, and for how many texts."""

from pathlib import Path
from typing import Annotated

import typer

from skn.commands.choices import NeuronPart, Readout, Split, Threshold

At = Annotated[
    str | None,
    typer.Option(
        help="Where activations are read, several by commas, in the same passes: prompt (each prompt position), mask, last (the last token), mean or max over the text's own tokens. [default: prompt; of a template, mask or, of a decoder, last]"
    ),
]
Neuron = Annotated[list[str] | None, typer.Option(help="LAYER,NEURON, or 'best'; repeatable.")]
BestNeurons = Annotated[
    int | None,
    typer.Option("--best", min=1, help="The best neurons of the run's ranking, so many; the report shows them."),
]
Empty = Annotated[
    bool, typer.Option("--empty", help="All neurons at the first position, under the prompt with empty text.")
]
Everything = Annotated[
    bool,
    typer.Option(
        "--all", help="All neurons at all prompt positions, streamed to disk; with --top, the texts of all neurons."
    ),
]
Exemplars = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        help="Find this many texts with the highest activation of each neuron at the texts' own tokens, and as many with the "
        "lowest, instead of storing activations. One pass; its memory does not depend on the number of texts. The report "
        "shows the texts.",
    ),
]
ExemplarNeurons = Annotated[
    Path | None,
    typer.Option(
        help="With --top: ranking or fixed set, whose neurons are all read; with --best, its best alone.",
        show_default=False,
    ),
]
ReadSplit = Annotated[Split, typer.Option(help="The split to read.")]
Emotions = Annotated[
    str | None, typer.Option(help="With --sweep: only these emotions, comma-separated. [default: all]")
]
ProbeText = Annotated[
    str,
    typer.Option(
        help="With --sweep: the text under the prompt: one token, or '' for the empty text with its special tokens. Default: the encoder's first special token, `<s>` or `[CLS]`."
    ),
]
PreActivation = Annotated[
    bool, typer.Option("--pre-activation", help="With --sweep: read before the activation function.")
]
CsvFolder = Annotated[
    Path | None,
    typer.Option("--csv", help="With --sweep: also a folder with the numbers as Model_Emotion lays them out."),
]
ProbeNeuron = Annotated[
    NeuronPart,
    typer.Option(
        help="Of a gated layer: activation is act(gate)·up, which the down-projection reads; gate is act(gate) alone, whose files have -gate in their names."
    ),
]
ProbeThreshold = Annotated[
    Threshold, typer.Option(help="A neuron says 'positive' above its mean over train, or above zero.")
]
Permutations = Annotated[
    int,
    typer.Option(
        min=0, help="Relabellings of validation and of test, for p of each neuron and among all; 0: no tests."
    ),
]
SelectPermutations = Annotated[
    int,
    typer.Option(min=0, help="With --run: relabellings of validation and of test, the same for all runs; 0: no p."),
]
Bootstrap = Annotated[
    int,
    typer.Option(
        min=0,
        help="With --run: draw the examples of --split so often again, with replacement within each class, and say how stable the best neurons of each layer are; 0: no bootstraps. Needs the bits of the probe.",
    ),
]
BootstrapFraction = Annotated[
    float, typer.Option(help="With --bootstrap: the share of each layer that counts as its best neurons.")
]
KeepBits = Annotated[
    bool,
    typer.Option(
        help="Keep one bit for each example, neuron and position of validation and test, from which 'skn select' of several seeds tests again."
    ),
]
Auroc = Annotated[
    bool,
    typer.Option(
        "--auroc",
        help="Also the area under the ROC curve of every neuron and position, for each class against the rest. The activations of a split are kept until its pass ends, above 2 GiB in a temporary file.",
    ),
]
SelectReadout = Annotated[
    Readout | None, typer.Option(help="Which read-out of the probe. [default: the run's own, see probe --at]")
]
