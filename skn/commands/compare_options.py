"""The options of ``skn compare``."""

from pathlib import Path
from typing import Annotated

import typer

ComparedRuns = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="Probed runs of one backbone, two or more; seeds of a task as RUN,RUN."),
]
CompareFraction = Annotated[float, typer.Option(help="The share of neurons in a set of best neurons.")]
Overall = Annotated[
    bool,
    typer.Option("--overall", help="The best neurons over all layers, instead of the best share of each layer."),
]
CompareOut = Annotated[
    Path | None, typer.Option(help="The folder for compare.json and a page with figures. [default: tables alone]")
]
