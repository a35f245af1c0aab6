"""The documentation site: it builds without a warning, fetches nothing, and has every command, option and name of the face."""

import json
import re
from html import unescape

import pytest
import typer
from mkdocs.commands.build import build
from mkdocs.config import load_config
from repository import REPOSITORY

import skn
from skn.commands import app
from skn.commands.habits import PANEL

COMMANDS = typer.main.get_command(app).commands


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The HTML of every page, by the path in the site; a link or an anchor that leads nowhere stops the build."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(folder))
    assert config.strict
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    config.plugins.on_shutdown()
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.html")}


def _section(page, anchor):
    """What stands under a heading, as text."""
    found = re.search(rf'<h(\d) id="{re.escape(anchor)}">(.*?)(?=<h[1-3] id=|</article>)', page, re.DOTALL)
    assert found, f"no section {anchor}"
    return unescape(re.sub(r"<[^>]+>", "", found[2]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of(name, pages):
    section = _section(pages["commands.html"], f"skn-{name}")
    assert COMMANDS[name].help.split("\n")[0] in section
    for parameter in COMMANDS[name].params:
        if getattr(parameter, "rich_help_panel", None) != PANEL and parameter.param_type_name == "option":
            for option in parameter.opts:
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", section), f"{option} is not there"
                assert parameter.help.split("[default")[0].strip().replace("`", "") in section


def test_the_options_of_every_command(pages):
    section = _section(pages["commands.html"], "every-command")
    for option in ("--quiet", "-q", "--verbose", "-v", "--json", "--version", "--help", "-h", "--install-completion"):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", section), f"{option} is not there"


def test_an_option_shows_its_type_and_its_default(pages):
    lines = _section(pages["commands.html"], "skn-mask").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("--match"))
    assert lines[place] == "--match <str>" and "random masks" in lines[place + 1].lower()
    assert lines[place + 2] == "layer"


def test_the_table_of_the_commands_has_all(pages):
    named = set(re.findall(r"<td><code>skn ([a-z]+)</code></td>", pages["commands.html"]))
    assert named == set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in skn.__all__ if name != "__version__"])
def test_the_docstring_of(name, pages):
    api = "".join(page for path, page in pages.items() if path.startswith("api/"))
    (heading,) = re.findall(rf'<h2 id="skn\.{name}"', api)
    first = api[api.index(heading) :].partition('<h2 id="')[2].partition('<h2 id="')[0]
    text = " ".join(unescape(re.sub(r"<[^>]+>", "", first)).split())
    line = getattr(skn, name).__doc__.strip().split(".")[0].split(":func:")[0].split("`")[0]
    assert " ".join(line.split()) in text


def test_docstrings_are_markdown(pages):
    api = "".join(page for path, page in pages.items() if path.startswith("api/"))
    assert not re.search(r":(class|func|meth|mod|data):|Example::|``", api)
    assert "skn.__version__" in api


def test_documents_of_the_root_are_pages(pages):
    assert "0.1.0 (unreleased)" in pages["changelog.html"]
    assert 'href="architecture.html"' in pages["contributing.html"]
    assert 'href="contributing.html"' in pages["index.html"]


def test_the_tour_is_a_page_with_its_outputs(pages):
    tour, folder = pages["tour.html"], REPOSITORY / "notebooks"
    outputs = [cell.get("outputs", []) for cell in json.loads((folder / "tour.ipynb").read_text())["cells"]]
    pictures = [output for cell in outputs for output in cell if "image/png" in output.get("data", {})]
    assert len(pictures) == len(set(re.findall(r'src="(output_[\d_]+\.png)"', tour))) > 0
    assert "<caption>Probe" in tour and 'href="claims.html"' in tour
    assert 'href="tour.html"' in pages["index.html"]
    printed = [unescape(text) for text in re.findall(r"<code>([^<]*)</code>", tour)]
    assert any("validation accuracy" in text for text in printed)
    assert max(len(line) for text in printed for line in text.splitlines()) <= 88, "cut off on the page"


def test_nothing_is_fetched_from_elsewhere(pages):
    fetched = r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"'
    found = {path: re.findall(fetched, page) for path, page in pages.items()}
    assert {path: these for path, these in found.items() if these} == {}
