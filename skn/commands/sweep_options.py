"""The options that ``skn sweep`` has besides those of ``skn train``."""

from pathlib import Path
from typing import Annotated

import typer

Tasks = Annotated[
    str | None,
    typer.Option(
        help="Names and shell patterns of the registry, comma separated; a leading ! takes away: "
        "'goemotions/*,!goemotions/neutral' are the 27 emotions without neutral.",
    ),
]
Seeds = Annotated[str | None, typer.Option(help="Seeds, comma separated: 1,3,5.")]
SweepOut = Annotated[Path, typer.Option(help="The sweep's folder, made by this command: OUT/TASK/seed-N are the runs.")]
Threads = Annotated[
    int,
    typer.Option(
        min=1, help="Torch threads of each cell. The sums of float32 depend on it, so it is part of the sweep."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cells at a time, on Ray (extra 'sweep'). [default: 1, a plain loop without Ray]",
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of a running Ray cluster, or auto; its machines must share the folders named here."),
]
GpusPerCell = Annotated[
    float | None,
    typer.Option(
        min=0.0, help="GPUs of a cell on Ray; 0.25 puts four on one. [default: cpu 0, cuda 1]", show_default=False
    ),
]
Together = Annotated[
    int,
    typer.Option(
        min=1,
        help="Prompts that one forward of the backbone trains at once, each on its own batch. In float32 a cell ends within float "
        "error of the cell alone. For --workers and --gpus-per-cell they count as one cell.",
    ),
]
