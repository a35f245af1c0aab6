"""A hook of MkDocs: the tour's notebook, with its pictures, becomes a page of the site."""

from __future__ import annotations

import textwrap
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

NOTEBOOK = "notebooks/tour.ipynb"
PAGE = "tour.md"
WIDTH = 88  # letters of a line that fit the page; a longer printed line would be cut off


def on_files(files: Files, config: MkDocsConfig) -> Files:
    notebook = nbformat.read(Path(config.config_file_path).parent / NOTEBOOK, as_version=4)
    wrap_printed(notebook)
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    files.append(File.generated(config, PAGE, content=text.replace("](../docs/", "](")))
    for name, picture in resources["outputs"].items():
        files.append(File.generated(config, name, content=picture))
    return files


def wrap_printed(notebook: NotebookNode) -> None:
    """Break the printed lines that are too long, as a notebook does on the screen."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                lines = [textwrap.fill(line, WIDTH) for line in output.text.splitlines()]
                output.text = "\n".join(lines) + "\n"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the link to the notebook, which is right on GitHub, by a link to the page."""
    return markdown.replace(f"](../{NOTEBOOK})", f"]({PAGE})")
