"""A hook of MkDocs: the page of the commands lists every option of every command, read from the application itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from mkdocs.structure.pages import Page

from skn.commands import app
from skn.commands.habits import PANEL

PAGE = "commands.md"
PLACE = "<!-- The site has every option of every command here. -->"

# "Example: skn train --out runs/sst2", a line of a command's help that shows what to type.
_TYPED = re.compile(r"(.+): (skn \S.*)")
# The end of an option's help: "[default: 16; x>=0]", or two of these.
_END = re.compile(r"((?:\s*\[[^\[\]]*\])+)$")


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    if page.file.src_uri != PAGE:
        return markdown
    if PLACE not in markdown:
        raise ValueError(f"{PAGE}: has no place for the options; write '{PLACE}' where they belong")
    return markdown.replace(PLACE, reference())


def reference() -> str:
    """Return a section for each command, with its help and its options, in Markdown."""
    group = typer.main.get_command(app)
    root = group.context_class(group, info_name="skn", **group.context_settings)
    sections = [_section("Every command", "Before the name of a command or after it.", _of_all(root))]
    for name, command in group.commands.items():
        context = command.context_class(command, info_name=name, parent=root)
        sections.append(_section(context.command_path, _help(command.help), _own(context)))
    return "\n\n".join(sections)


def _of_all(root: Any) -> Iterator[tuple[str, str]]:
    """Yield the options of ``skn`` itself: the options of every command, version, shell completion, and help."""
    return (parameter.get_help_record(root) for parameter in root.command.get_params(root))


def _own(context: Any) -> Iterator[tuple[str, str]]:
    """Yield the arguments and options that not every command has."""
    for parameter in context.command.get_params(context):
        if getattr(parameter, "rich_help_panel", None) != PANEL and parameter.name != "help":
            yield parameter.get_help_record(context)


def _section(title: str, text: str, records: Iterable[tuple[str, str]]) -> str:
    rows = [_row(*record) for record in records]
    table = ["| option | meaning | default or limits |", "|---|---|---|", *rows] if rows else []
    return "\n".join([f"### {title}", "", text, "", *table])


def _row(names: str, meaning: str) -> str:
    end = _END.search(meaning)
    limits = "; ".join(re.findall(r"\[([^\]]*)\]", end[0])) if end else ""
    cells = (_cell(meaning[: end.start()] if end else meaning), _cell(limits.removeprefix("default: ")))
    return f"| `{names}` | {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return _no_tags(text.strip()).replace("|", "\\|")


def _no_tags(text: str) -> str:
    """Escape "<" in Markdown, so that none begins an HTML tag. Within backticks, "<" stays."""
    return re.sub(r"`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)


def _help(text: str) -> str:
    """Return the help of a command. A line to type becomes a block of code."""
    typed = ((paragraph, _TYPED.fullmatch(paragraph)) for paragraph in text.split("\n\n"))
    return "\n\n".join(f"{found[1]}:\n\n```\n{found[2]}\n```" if found else _no_tags(said) for said, found in typed)
