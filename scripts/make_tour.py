"""Make the tour as a notebook: run notebooks/tour.py from top to bottom and write notebooks/tour.ipynb with the
outputs.

python scripts/make_tour.py

The script needs the extras demo and docs. It leaves out progress bars, times, versions and random names of cells,
because they would differ from run to run or reveal the machine.
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
    """Execute all cells without a network, in a temporary folder. Raises the error of a cell."""
    # One thread, so that floats are added in the same order on every machine.
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
    """Whether an output is a progress bar's widget, or what rich prints around it, and not a picture."""
    return output.output_type == "display_data" and "image/png" not in output.data


if __name__ == "__main__":
    main()
