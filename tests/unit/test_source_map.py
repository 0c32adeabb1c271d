"""A fault in what a template rendered is led back to the template's line and column."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import Place, TemplateError
from newsletter.rendering.environment import TemplateEnvironment
from newsletter.rendering.template_folder import TemplateFolder

#: Stands in a template for the character whose place is looked for.
HERE = "☛"


def environment(root: Path, files: dict[str, str]) -> TemplateEnvironment:
    for name, text in files.items():
        path = root / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return TemplateEnvironment(TemplateFolder("mine", (root,), "", ()))


def place(root: Path, files: dict[str, str], **context: object) -> str:
    """The place of the first HERE in what `a.j2` renders, relative to the template's folder."""
    templates = environment(root, files)
    offset = templates.render("a.j2", context).index(HERE)
    found = templates.place_of("a.j2", context, offset)
    return str(Place(Path(found.path).relative_to(root / "mine"), found.line, found.column))


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("☛", 1, 1),
        ("ab☛", 1, 3),
        ("a\nb\n  ☛ c", 3, 3),
        ("Zoë – “ü”\n日本語 😀 ☛", 2, 7),
        ("a\r\nb\r\n c☛", 3, 3),
        ("{# ☛☛ #}\n{% set x = '☛' %}\nx\n☛", 4, 1),
        ("{% if true %}\n  <p>\n  {% if true %}\n    ☛\n  {% endif %}\n{% endif %}", 4, 5),
        ("a\n\n\n   {%- if true -%}   \n\n  ☛  {%- endif %}", 6, 3),
        ("{{- 1 -}}\n\n   x\n {{- 2 -}} ☛", 4, 12),
        ("   {%+ if true %}☛{% endif %}", 1, 18),
        ("{% raw %}\n{{ x }} {% if %}\n ☛{% endraw %}", 3, 2),
        ("{% raw -%}  \n  {{ x }}{% endraw %}\n\n ☛", 4, 2),
        ("{% for x in [1, 2] %}\n<b>{{ x }}</b>\n{% endfor %}\n☛", 4, 1),
        ("{% for x in [1, 2] %}\n{{ x }}{% if x == 2 %} ☛{% endif %}\n{% endfor %}", 2, 24),
        ("{% macro m(x) %}\n<i>{{ x }}\n☛</i>\n{% endmacro %}\na\nb{{ m(1) }}c", 3, 1),
        ("{% macro m() %}<i>{{ caller() }}</i>{% endmacro %}\n{% call m() %}\nx ☛\n{% endcall %}", 3, 3),
        ("{% set x %}\n\n ☛{% endset %}\n\n{{ x }}", 3, 2),
        ("{% block a %}\nx\n ☛{% endblock %}", 3, 2),
        ("<p>\n{{ 1 }}{{ bad }}</p>", 2, 8),
        ("<p>\n{{ bad }}", 2, 1),
        ("{% if true %}{{\n bad }}{% endif %}", 1, 14),
        ("<p>é {{ 'a' ~\n bad }}</p>", 1, 6),
        ("{% macro m(x) %}\n<i>{{ x }}</i>\n{% endmacro %}\n{{ m(bad) }}", 2, 4),
        ("{% for x in [1, bad] %}\n{{ x }}\n{% endfor %}", 2, 1),
        ("a\na\na☛\na", 3, 2),
        ("{% if 'a' %}a{% endif %}☛", 1, 25),
    ],
)
def test_the_place_is_where_it_stands_in_the_template(source: str, line: int, column: int, tmp_path: Path) -> None:
    """A value that holds the character is found where it is printed."""
    assert place(tmp_path, {"a.j2": source}, bad="…\n…☛…") == f"a.j2:{line}:{column}"


def test_the_place_may_be_in_another_file(tmp_path: Path) -> None:
    files = {
        "a.j2": "a\n{% include 'parts/b.j2' %}\n{% from 'c.j2' import m %}\n{{ m(1) }}",
        "parts/b.j2": "1\n2\n3\n",
        "c.j2": "{# macros #}\n{% macro m(x) %}\n{{ x }}\n  ☛{% endmacro %}",
    }
    assert place(tmp_path, files) == "c.j2:4:3"
    assert place(tmp_path, files | {"parts/b.j2": "1\n2 ☛\n3\n"}) == "parts/b.j2:2:3"
    assert (
        place(
            tmp_path,
            {"a.j2": "{% extends 'b.j2' %}{% block x %}\n☛{% endblock %}", "b.j2": "1{% block x %}{% endblock %}"},
        )
        == "a.j2:2:1"
    )
    assert place(tmp_path, {"a.j2": "{% include 'b.j2' %}\n☛", "b.j2": "1\n2\n3"}) == "a.j2:2:1"


def test_a_template_that_changes_while_it_is_looked_at_is_read_again(tmp_path: Path) -> None:
    assert place(tmp_path, {"a.j2": "x ☛"}) == "a.j2:1:3"
    templates = environment(tmp_path, {"a.j2": "x ☛"})
    assert templates.place_of("a.j2", {}, 2).column == 3
    path = tmp_path / "mine" / "a.j2"
    path.write_text("x\n\ny ☛")
    os.utime(path, (1, 1))
    assert templates.place_of("a.j2", {}, templates.render("a.j2", {}).index(HERE)).line == 3


@pytest.mark.parametrize(
    ("before", "above"),
    [
        ("{% set x %}abc{% endset %}{{ x | length }}", "a.j2:2:2"),
        ("{% macro m() %}abc{% endmacro %}{{ m() | upper | truncate(2, true, '') }}", "a.j2:2:2"),
        ("{% macro m() %}12{% endmacro %}{{ (m() | int) + 1 }}", "a.j2:2:2"),
        ("{% macro m() %}12{% endmacro %}{{ [7][m() | length - 2] }}", "a.j2"),
    ],
)
def test_where_marks_would_mislead_the_file_is_named_without_a_line(before: str, above: str, tmp_path: Path) -> None:
    """A template may count or convert what it rendered itself; a wrong line is worse than none."""
    assert place(tmp_path, {"a.j2": f"a\n{before}\n☛"}) == "a.j2"
    assert place(tmp_path, {"a.j2": f"a\n ☛\n{before}\n"}) == above


def test_text_that_looks_like_a_mark_does_no_harm(tmp_path: Path) -> None:
    fake = "\ue0f00,1,1\ue0f1"
    assert place(tmp_path, {"a.j2": f"{fake} {{{{ value }}}}\n☛"}, value=fake) == "a.j2"


BITS = st.sampled_from(
    [
        "x",
        "é ",
        "\n",
        "  ",
        "<b>",
        "{# c\n #}",
        "{{ 1 }}",
        "{{- v }}",
        "{{ v -}}",
        "{% if v %}",
        "{%- if v -%}",
        "  {% if v %}\n",
        "{% set a = '<b>x' %}\n",
        "{% for i in [1, 2] %}",
        "{% raw %}{{ y }}\n{% endraw %}",
        "{% include 'b.j2' %}",
        "{{ m() }}",
    ]
)


@settings(max_examples=200)
@given(before=st.lists(BITS, max_size=8), after=st.lists(BITS, max_size=3))
def test_the_place_is_right_in_any_template(
    before: list[str], after: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The one HERE of a template is found in its source, whatever stands around it."""
    opened = []
    for bit in [*before, *after]:
        if "if v" in bit or "for i" in bit:
            opened.append("{% endif %}" if "if v" in bit else "{% endfor %}")
    macro = "{% macro m() %}\n<u>{{ 2 }}</u>{% endmacro %}"
    source = "".join([macro, *before, HERE, *after, *reversed(opened)])
    root = tmp_path_factory.mktemp("t")
    lines = source[: source.index(HERE)].split("\n")
    expected = f"a.j2:{len(lines)}:{len(lines[-1]) + 1}"
    assert place(root, {"a.j2": source, "b.j2": "{# b #}\n <i>\n {{ v }}\n"}, v="w\n") == expected


def test_an_error_in_the_template_itself_stays_an_error(tmp_path: Path) -> None:
    templates = environment(tmp_path, {"a.j2": "{{ nothing }}"})
    with pytest.raises(TemplateError, match="'nothing' is undefined"):
        templates.place_of("a.j2", {}, 0)
