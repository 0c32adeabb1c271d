"""The documentation says what the program does: commands, options, template variables, links."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from newsletter.cli.announced import made
from newsletter.rendering import context
from newsletter.rendering.environment import TemplateEnvironment
from newsletter.rendering.template_folder import TemplateFolder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

Commands = dict[tuple[str, ...], set[str]]


def built_commands() -> Commands:
    """Each command that can be run, by its words, with its options; `()` holds the global ones."""
    from newsletter.cli.app import app

    return dict(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    names = {name for one in options for name in (*one.opts, *one.secondary_opts)} - {"--help", "-h"}
    children = getattr(command, "commands", {})
    if not children or names:
        yield path, names
    for name, child in children.items():
        if not child.hidden:
            yield from _walk(made(child), (*path, name))


def documented_commands() -> Commands:
    """The same, by the headings and the tables of docs/reference/cli.md."""
    found: Commands = {}
    for section in (DOCS / "reference/cli.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        if match := re.fullmatch(r"`newsletter((?: [a-z]+)*)(?: \[?[A-Z]+.*)?`", heading):
            cells = re.findall(r"^\| (`-.*?) \|", body, flags=re.MULTILINE)
            found[tuple(match[1].split())] = {name for cell in cells for name in re.findall(r"`(-[^`\s]+)", cell)}
    return found


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    assert documented_commands().keys() == built_commands().keys()


@pytest.mark.parametrize("command", documented_commands(), ids=" ".join)
def test_the_documented_options_of_a_command_are_the_ones_it_has(command: tuple[str, ...]) -> None:
    assert documented_commands()[command] == built_commands()[command]


def examples(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The commands a page shows, in code blocks or in backticks, as line number and words after `newsletter`."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        shown = re.findall(r"`newsletter ([^`]+)`", line)
        if block := re.match(r"    (?:\$ )?newsletter (.+)", line):
            shown.append(block[1])
        for one in shown:
            yield number, one.split(" #")[0].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_shows_only_commands_and_options_that_exist(page: Path) -> None:
    commands = built_commands()
    for line, words in examples(page):
        path = tuple(words[:2]) if tuple(words[:2]) in commands else tuple(words[:1])
        options = {word.split("=")[0] for word in words if word.startswith("-")}
        if not words[0].startswith(("-", "[")):
            assert path in commands, f"{page}:{line}: no command {words[0]}"
        else:
            path = ()
        unknown = options - commands[path] - commands[()] - {"--help"}
        assert not unknown, f"{page}:{line}: {' '.join(path)} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page}: {target} leads nowhere"
        assert file.is_relative_to(ROOT), f"{page}: {target} leads out of the repository"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page}: {target} has no such heading"


def test_the_readme_has_two_commands_and_no_more() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^    (make .*|newsletter .*|pip .*|\$ .*)$", text, flags=re.MULTILINE) == [
        "make demo",
        "make test",
    ]


def test_every_decision_is_short_and_numbered_in_a_row() -> None:
    records = sorted((DOCS / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25, record
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequence")), record


def first_column(heading: str, text: str) -> set[str]:
    """The names in backticks that begin the rows of the table below a heading or a bold word."""
    after = text.split(heading, 1)[1]
    table = re.search(r"(?:^\|.*\n)+", after, flags=re.MULTILINE)
    assert table, heading
    return set(re.findall(r"^\| `([^`]+)`", table[0], flags=re.MULTILINE))


def test_every_template_variable_is_documented_and_every_documented_one_exists() -> None:
    text = (DOCS / "reference/templates.md").read_text(encoding="utf-8")

    def fields(view: Any) -> set[str]:
        properties = {name for name, value in vars(view).items() if isinstance(value, property)}
        return {field.name for field in dataclasses.fields(view)} | properties

    assert first_column("A **section**", text) == fields(context.SectionView)
    assert first_column("A **story**", text) == fields(context.StoryView)
    assert first_column("A **paragraph**", text) == fields(context.ParagraphView)
    assert first_column("## Holes", text) == {f"holes.{name}" for name in context.TEXT_HOLES | context.URL_HOLES}


def test_the_documented_filters_are_those_that_templates_have() -> None:
    from jinja2.filters import FILTERS

    text = (DOCS / "reference/templates.md").read_text(encoding="utf-8")
    environment = TemplateEnvironment(TemplateFolder("digest", (ROOT / "templates",), "", ()))._plain
    assert first_column("## Filters", text) == environment.filters.keys() - FILTERS.keys()
