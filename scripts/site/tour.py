"""A hook of MkDocs: the tour's notebook, with its pictures, becomes a page of the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

NOTEBOOK = "notebooks/tour.ipynb"
PAGE = "tour.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    notebook = Path(config.config_file_path).parent / NOTEBOOK
    text, resources = MarkdownExporter().from_filename(str(notebook))
    files.append(File.generated(config, PAGE, content=text.replace("](../docs/", "](")))
    for name, picture in resources["outputs"].items():
        files.append(File.generated(config, name, content=picture))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the link to the notebook, which is right on GitHub, by a link to the page."""
    return markdown.replace(f"](../{NOTEBOOK})", f"]({PAGE})")
