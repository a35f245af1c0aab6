"""A hook of MkDocs: pages of the Python face, with one line for each name. mkdocstrings reads the docstring there."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import skn

MODELS = "Pruned"

# The objects that the functions return. They are no names of the face, but readers work with them.
RESULTS = (
    "skn.data.splits.LabelledData",
    "skn.inference.loaded.LoadedRun",
    "skn.neurons.probed.Probe",
    "skn.neurons.comparison.Comparison",
    "skn.neurons.mask_table.MaskTable",
    "skn.neurons.off_target_table.OffTarget",
    "skn.neurons.activations.Activations",
    "skn.neurons.summary.NeuronSummary",
    "skn.inference.predictions.Predictions",
    "skn.pruned.evaluation.Evaluation",
    "skn.rsa.results.Results",
    "skn.tables.Table",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, text in pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the pages by the names of their files. Every name of the face is on one page."""
    names = [name for name in skn.__all__ if not name.startswith("__")]
    functions = [name for name in names if name[0].islower()]
    models = [name for name in names if name.startswith(MODELS)]
    others = [name for name in names if name not in {*functions, *models}]
    return {
        "api/functions.md": _page("Functions", "Each command calls one of these functions.", _of_face(functions)),
        "api/classes.md": _page(
            "Classes",
            "Options that the functions take, the statistics of a loop of your own, and the errors. "
            "`skn.__version__` is the version as a text.",
            _of_face(others),
        ),
        "api/results.md": _page("Results", "The functions return these objects.", RESULTS),
        "api/models.md": _page("Pruned models", "The classes of pruned and exported models.", _of_face(models)),
    }


def _of_face(names: list[str]) -> list[str]:
    return [f"skn.{name}" for name in sorted(names)]


def _page(title: str, text: str, names: list[str] | tuple[str, ...]) -> str:
    return "\n\n".join([f"# {title}", text, *(f"::: {name}" for name in names)]) + "\n"
