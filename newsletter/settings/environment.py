"""Settings from the environment: `NEWSLETTER__SITE__BASE_URL=…` stands for `base_url` under `[site]`.

Two underscores between all parts, `-` written as `_`, in any case. Texts are taken as they are; lists, tables,
numbers and truth values are read as TOML. `NEWSLETTER_SECRET_KEY` has one underscore and is no such variable.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from newsletter.settings import catalog
from newsletter.settings.suggest import nearest
from newsletter.settings.toml_lines import KeyPath

PREFIX = "NEWSLETTER__"


@dataclass(frozen=True, slots=True)
class StrayVariable:
    """A variable with the prefix that names no key."""

    variable: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The document with the environment laid over it, and which variable each changed key comes from."""

    document: dict[str, Any]
    variables: Mapping[KeyPath, str]
    strays: tuple[StrayVariable, ...]


@dataclass(slots=True)
class _Overlay:
    document: dict[str, Any]
    variables: dict[KeyPath, str] = field(default_factory=dict)


def overlay(document: Mapping[str, Any], environ: Mapping[str, str]) -> Overlaid:
    """Lay every `NEWSLETTER__…` variable over the document; a deeper key wins over the table it is in."""
    result = _Overlay(copy.deepcopy(dict(document)))
    strays = []
    names = [name for name in environ if name.upper().startswith(PREFIX)]
    for name in sorted(names, key=lambda one: (one.count("__"), one)):
        path = _path(name, result.document)
        if isinstance(path, StrayVariable):
            strays.append(path)
        else:
            _set(result, path, _value(path, environ[name], result.document), name)
    return Overlaid(result.document, result.variables, tuple(strays))


def variable_name(path: KeyPath) -> str:
    """The variable that sets the key at `path`."""
    return PREFIX + "__".join(str(part).upper().replace("-", "_") for part in path)


def _path(variable: str, document: Mapping[str, Any]) -> KeyPath | StrayVariable:
    path: KeyPath = ()
    for part in variable[len(PREFIX) :].split("__"):
        annotation = catalog.annotation_at(path, document)
        names = catalog.names_of(annotation)
        there = catalog.at_path(document, path)
        if not names and catalog.is_table_of(annotation):
            if isinstance(there, Mapping):
                names = tuple(there)
            if path == ("providers",):
                names = ("disk", *names)
        found = {_fold(name): name for name in names}.get(_fold(part))
        if found is None and len(path) > 2 and catalog.is_table_of(annotation) and part:
            found = part.lower().replace("_", "-") if path[-1] == "editions" else part.lower()
        if found is None:
            return _stray(variable, path, part, names)
        path = (*path, found)
    return path


def _stray(variable: str, path: KeyPath, part: str, names: tuple[str, ...]) -> StrayVariable:
    where = f"[{'.'.join(str(one) for one in path)}]" if path else "the settings"
    meant = nearest(part, names)
    suggestion = f"Did you mean {variable_name((*path, meant))}?" if meant else ""
    if not names:
        return StrayVariable(variable, f"{where[1:-1] if path else where} holds no further keys", suggestion)
    return StrayVariable(variable, f"unknown key: nothing in {where} is called `{part.lower()}`", suggestion)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def _value(path: KeyPath, text: str, document: Mapping[str, Any]) -> object:
    annotation = catalog.annotation_at(path, document)
    if catalog.takes_text(annotation):
        return text
    written = text.strip().lower() if catalog.is_flag(annotation) else text
    try:
        values = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        return text
    # a line break could have begun a further key
    return values["value"] if len(values) == 1 else text


def _set(result: _Overlay, path: KeyPath, value: object, variable: str) -> None:
    holder: dict[str, Any] = result.document
    for depth, part in enumerate(path[:-1], start=1):
        below = holder.get(str(part))
        annotation = catalog.annotation_at(path[:depth], result.document)
        if not isinstance(below, dict) or catalog.is_secret(annotation):
            below = {}  # a secret has one place: the variable's replaces the file's
        holder[str(part)] = below
        holder = below
    last = str(path[-1])
    annotation = catalog.annotation_at(path, result.document)
    below = holder.get(last)
    if isinstance(value, dict) and isinstance(below, dict) and not _is_one_value(annotation):
        for name, inner in value.items():
            _set(result, (*path, name), inner, variable)
        return
    holder[last] = value
    for known in [known for known in result.variables if known[: len(path)] == path]:
        del result.variables[known]
    result.variables[path] = variable


def _is_one_value(annotation: object) -> bool:
    """Secrets and free tables of single values (editions, utm, per_domain) are replaced whole."""
    return catalog.is_secret(annotation) or (catalog.is_table_of(annotation) and catalog.holds_values(annotation))
