"""The index of a TOML file has the keys that tomllib has, and points at them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.settings.toml_lines import KeyIndex, KeyPath

TRICKY = """\
# a comment with = and [brackets]
title = "a # no comment" # a comment
"quoted key" . inner = 1
site."base.url" = 'C:\\path'  # a literal text
dates = [1979-05-27 07:32:00, 2026-01-07]

[[products]]   # first
name = "[not a table]"
[[products]]
  name = '''
[products.fake]
name = 1'''
  [products.detail]
  color = { r = 1, "g=h" = [ { b = 2 }, 3, "]" ] }
[[products.variants]]
id = 1
[a.b.c]
text = \"\"\"
[x]
y = 1 \\\"\"\" \"\"\"\"\"
list = [
  "one", # the first
  # nothing
  [ "two" ],
]
[a.b]
last = true
"""


def _paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key and element of what tomllib read."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for part, below in items:
        yield (*path, part)
        yield from _paths(below, (*path, part))


def test_every_key_of_a_tricky_document_is_found_on_its_line() -> None:
    index = KeyIndex(TRICKY)
    assert set(index) == set(_paths(tomllib.loads(TRICKY)))
    wanted: dict[KeyPath, tuple[int, int]] = {
        ("title",): (2, 1),
        ("quoted key", "inner"): (3, 16),
        ("site", "base.url"): (4, 6),
        ("dates", 1): (5, 31),
        ("products",): (7, 3),
        ("products", 1): (9, 3),
        ("products", 1, "name"): (10, 3),
        ("products", 1, "detail", "color", "g=h", 0, "b"): (14, 32),
        ("products", 1, "variants", 0, "id"): (16, 1),
        ("a",): (17, 2),
        ("a", "b"): (26, 4),
        ("a", "b", "c", "list", 1, 0): (24, 5),
        ("a", "b", "last"): (27, 1),
    }
    assert {path: (index[path].line, index[path].column) for path in wanted} == wanted
    assert index[("title",)].text == 'title = "a # no comment" # a comment'


def test_windows_line_ends_and_separators_inside_texts_do_not_shift_lines() -> None:
    index = KeyIndex('a = "x\u2028y"\r\nb = """\r\n\r\n"""\r\nc = 1\r\n')
    assert [index[(name,)].line for name in "abc"] == [1, 2, 5]
    assert index[("c",)].text == "c = 1"


names = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00\x7f"), max_size=12)
scalars = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False),
    texts,
    st.dates(),
    st.times().map(lambda time: time.replace(microsecond=0)),
    st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(
    names, values | st.lists(st.dictionaries(names, values, max_size=2), min_size=1, max_size=3), max_size=4
)


class _Writer:
    """Writes a document as TOML, choosing among the ways the format has."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.lines: list[str] = []

    def pick(self, *ways: str) -> str:
        return self.data.draw(st.sampled_from(ways))

    def key(self, name: str) -> str:
        bare = name.isascii() and name != "" and all(one.isalnum() or one in "-_" for one in name)
        way = (
            self.pick("bare", "basic", "literal") if bare else "basic" if "'" in name else self.pick("basic", "literal")
        )
        return name if way == "bare" else f"'{name}'" if way == "literal" else _basic(name)

    def table(self, document: dict[str, Any], header: str) -> None:
        tables: list[tuple[str, Any]] = []
        for name, value in document.items():
            of_tables = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
            if (isinstance(value, dict) or of_tables) and self.pick("header", "value") == "header":
                tables.append((name, value))
            else:
                self.assign(self.key(name), value)
        for name, value in tables:
            path = f"{header}{self.pick('.', ' . ') if header else ''}{self.key(name)}"
            for one in value if isinstance(value, list) else [value]:
                brackets = ("[[", "]]") if isinstance(value, list) else ("[", "]")
                self.lines.append(
                    f"{self.pick('', '  ')}{brackets[0]}{self.pick('', ' ')}{path} {brackets[1]}{self.end()}"
                )
                self.table(one, path)

    def assign(self, key: str, value: Any) -> None:
        if isinstance(value, dict) and value and self.pick("dotted", "inline") == "dotted":
            for name, below in value.items():
                self.assign(f"{key}{self.pick('.', ' . ')}{self.key(name)}", below)
            return
        self.lines.append(f"{self.pick('', chr(9))}{key}{self.pick('=', ' = ')}{self.value(value)}{self.end()}")

    def end(self) -> str:
        return self.pick("", " ", ' # [x] = "', "\n\n# y = {")

    def value(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.key(name)} = {self.value(one)}" for name, one in value.items()) + "}"
        if isinstance(value, list):
            gap = self.pick("", " ", "\n", " # ],\n  ")
            return f"[{gap}" + f",{gap}".join(self.value(one) for one in value) + (gap if value else "") + "]"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return self.text(value)
        return value.isoformat() if hasattr(value, "isoformat") else repr(value)

    def text(self, text: str) -> str:
        way = self.pick("basic", "long", "literal", "long literal")
        tame = all(one.isprintable() for one in text)
        if way == "literal" and tame and "'" not in text:
            return f"'{text}'"
        if way == "long literal" and tame and "'''" not in text and not text.endswith("'''"):
            return f"'''\n{text}'''" if not text.endswith("'") or len(text) < 3 else _basic(text)
        if way == "long":
            return '"""' + _basic(text)[1:-1].replace("\\n", "\n").replace('\\"\\"x', '""x') + '"""'
        return _basic(text)


def _basic(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(one) or (one if one.isprintable() else f"\\U{ord(one):08x}") for one in text) + '"'


@given(documents, st.data())
def test_the_index_has_exactly_the_keys_of_any_document(document: dict[str, Any], data: st.DataObject) -> None:
    writer = _Writer(data)
    writer.table(document, "")
    text = data.draw(st.sampled_from(["\n", "\r\n"])).join(writer.lines)
    parsed = tomllib.loads(text)
    index = KeyIndex(text)
    assert set(index) == set(_paths(parsed)) == set(_paths(document))
    for path, position in index.items():
        here = position.text[position.column - 1 :]
        if isinstance(path[-1], str):
            spellings = (path[-1], f"'{path[-1]}'", _basic(path[-1]))
            assert here.startswith(spellings), "a key is not where the index says"


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "[a", "a = ", "= 1", 'a = "x', "a = [1, {"])
def test_the_scan_ends_whatever_it_is_given(text: str) -> None:
    KeyIndex(text)
