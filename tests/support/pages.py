"""Read the content of a report's page, and check that the page needs no other file."""

import csv
import re
from html.parser import HTMLParser

from filled_run import png_size


class Page(HTMLParser):
    """Section ids, tags, references and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.tags, self.references, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if tag == "section" and name == "id":
                self.sections.append(value)
            if name in ("src", "href", "srcset", "data", "action", "background", "poster"):
                self.references.append(value)

    def handle_data(self, text):
        self.words.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def bytes_of(folder):
    """The content of each file of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def assert_stands_alone(path, pictures):
    """Assert that a page needs nothing outside of it, and that it has these pictures inside and beside it."""
    text = path.read_text()
    page = Page(text)
    assert not {"link", "iframe", "object"} & page.tags
    beside = {file.name for file in path.parent.glob("*.csv")}
    assert beside == {f"{name}.csv" for name in pictures}
    for name in beside:
        with open(path.parent / name, newline="") as file:
            header, *rows = csv.reader(file)
        assert rows and {len(row) for row in rows} == {len(header)}, name
    links = [ref for ref in page.references if not ref.startswith(("data:image/png;base64,", "#"))]
    assert set(links) == beside and len(links) == len(beside)
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest|import\(", text)
    written = {file.stem: file.read_bytes() for file in path.parent.glob("*.png")}
    assert set(written) == pictures
    assert sum(ref.startswith("data:") for ref in page.references) == len(pictures)
    for payload in written.values():
        width, height = png_size(payload)
        assert 300 < width < 2000 and 200 < height < 2000


def numbers(run, name):
    """The rows of a figure's csv file beside the page of a run."""
    with open(run.path / "report" / f"{name}.csv", newline="") as file:
        return list(csv.reader(file))
