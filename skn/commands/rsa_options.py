"""The options of ``skn rsa``."""

from pathlib import Path
from typing import Annotated

import typer

from skn.seeds import MAX_SEED

Activations = Annotated[
    Path | None,
    typer.Option(
        help="Activations [seed, condition, L, F]: a file of 'skn activate --sweep', a safetensors file that names its "
        "seeds and conditions, or a folder of EMOTION-SEED.csv.",
        show_default=False,
    ),
]
AttributeFile = Annotated[
    Path,
    typer.Option(
        "--attributes",
        help="csv, a column for each attribute: ratings under a first column 'condition'; or distances of pairs, under "
        "'condition_1' and 'condition_2' or in the order of the strict lower triangle. A square matrix of distances with names "
        "in the first row and the first column is one attribute; a folder of such files holds several.",
    ),
]
Conditions = Annotated[
    str | None,
    typer.Option(
        help="Whose pairs unnamed distances are: names with commas, or a file of names. [default: the published order of "
        "the 27 emotions, else the activations' own]",
        show_default=False,
    ),
]
RsaOut = Annotated[Path | None, typer.Option(help="Folder for the results. [default: SWEEP/rsa]", show_default=False)]
Permutations = Annotated[int, typer.Option(min=0, help="Mantel permutations of the conditions; 0: parametric p alone.")]
RsaSeed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the permutations.")]
PartialTau = Annotated[bool, typer.Option("--partial", help="Also each attribute's tau with the others held constant.")]
LeaveOneOut = Annotated[
    bool, typer.Option("--leave-one-out", help="Drop each seed and each condition: do the top-k sets stay the same?")
]
StableTop = Annotated[
    str | None,
    typer.Option(
        "--top",
        help="Sizes of the top-k sets of --leave-one-out, with commas. [default: 500 to 6000, a tenth of a small model]",
        show_default=False,
    ),
]
