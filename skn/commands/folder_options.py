"""The options of the folders of models that ``skn prune`` and ``skn export`` write. Each is declared once."""

from pathlib import Path
from typing import Annotated

import typer

from skn.commands import choices

PruneFraction = Annotated[float | None, typer.Option(help="Share of each layer that is kept.")]
Count = Annotated[str | None, typer.Option(help="Neurons kept in each layer: 61, or one number a layer, 61,40,….")]
PruneOut = Annotated[Path | None, typer.Option(help="[default: RUN/pruned]")]
Freeze = Annotated[
    choices.Freeze,
    typer.Option(help="Where the removed neurons are frozen: at their mean over the train split, or at zero."),
]
Retune = Annotated[
    int | None,
    typer.Option(
        min=1, help="Tune the prompt again over the pruned model, for so many epochs; the better prompt is kept."
    ),
]
Onnx = Annotated[
    bool,
    typer.Option(
        "--onnx",
        help="Also write model.onnx with prompt and label words inside, and compare it with PyTorch in onnxruntime on validation rows. Needs the extra 'onnx'; float32.",
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="The model computes in int8, calibrated on 320 texts of train; the folder also keeps the plain weights.",
    ),
]
NoPlain = Annotated[bool, typer.Option("--no-plain", help="With --int8: leave the plain weights out of the folder.")]
Stock = Annotated[
    bool,
    typer.Option(
        "--stock",
        help="Of a run by template: a model of the architecture's own class with one smaller feed-forward width, which loads without skn. All layers keep the same number of neurons.",
    ),
]
Portable = Annotated[
    bool,
    typer.Option(
        "--portable",
        help="The folder holds its own modelling code: it loads with trust_remote_code=True where skn is not installed.",
    ),
]
ExportOut = Annotated[Path, typer.Option(help="The model's folder, made by this command.")]
