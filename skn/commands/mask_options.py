"""The options of neuron sets by attribute and of masks over a sweep. Each is declared once."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

SetKind = Enum("SetKind", {name: name for name in ("binary", "scale")}, type=str)

RsaFile = Annotated[
    Path | None, typer.Option("--rsa", help="An rsa file ('skn rsa', 'skn import'): neuron sets by attribute.")
]
SelectTop = Annotated[
    str | None, typer.Option(help="With --rsa: how many neurons over all layers, one or several counts: 500,1000.")
]
Attributes = Annotated[
    str | None, typer.Option(help="With --rsa or --sweep: only these attributes, comma-separated. [default: all]")
]
SelectKind = Annotated[
    SetKind, typer.Option(help="With --rsa; scale: each chosen neuron has a random factor in [0, 1) of its own.")
]
SelectSeed = Annotated[int, typer.Option(min=0, help="With --rsa: seed of the factors.")]
Sets = Annotated[Path | None, typer.Option(help="With --sweep: the folder of 'skn select --rsa'.")]
MaskOn = Annotated[
    str | None,
    typer.Option(help="With --run: mask the run's neurons in other runs of the same backbone, too: RUN,RUN."),
]
MaskTop = Annotated[
    str | None, typer.Option(help="With --sweep: only these of the sets' counts, comma-separated. [default: all]")
]
MaskControls = Annotated[
    int, typer.Option(min=0, help="Matched random masks for each fraction or set; with --sweep 2 or more.")
]
MaskMatch = Annotated[
    str,
    typer.Option(
        help="Random masks have as many neurons in each layer (layer), as many in all (overall), or, with --run, neurons "
        "of equal activity in each layer (activity: needs a probe). With --run also several: layer,activity."
    ),
]
