"""The tour as a notebook: notebooks/tour.ipynb from notebooks/tour.py, run from top to bottom, with its outputs.

python scripts/make_tour.py

It needs the extras demo and docs. What would differ from one run to the next, or says where the notebook was made, is left
out: progress bars, times, versions, random names of cells.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

SCRIPT = Path(__file__).resolve().parents[1] / "notebooks" / "tour.py"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    notebook = jupytext.read(SCRIPT, fmt="py:percent")
    run(notebook)
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, SCRIPT.with_suffix(".ipynb"))


def run(notebook: NotebookNode) -> None:
    """Execute all cells without a network, in a folder that is gone afterwards; raises the error of a cell."""
    # One thread: the order in which floats are added is then the same on every machine.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute(env=environment)


def clean(notebook: NotebookNode) -> None:
    notebook.metadata = nbformat.from_dict(METADATA)
    for place, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{place}", NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]


def is_bar(output: NotebookNode) -> bool:
    """What a notebook displays is a picture, or the widget of a progress bar and what rich prints around it."""
    return output.output_type == "display_data" and "image/png" not in output.data


if __name__ == "__main__":
    main()
