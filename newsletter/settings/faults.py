"""What is wrong with a document, in plain words: pydantic's findings become faults, and every one is found.

A table that holds a mistake is checked further without it: the wrong key is taken out, the missing one stood in for,
and the rules between keys are tried on the rest, except those that touch a key already reported.
No message repeats a value: it may be a secret, or come from the environment.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from newsletter.settings import catalog
from newsletter.settings.installed_providers import installed_kinds
from newsletter.settings.kinds import Written
from newsletter.settings.model import Settings
from newsletter.settings.provider_model import OUTSIDE, PROVIDER_KINDS
from newsletter.settings.rules import cross_key_faults
from newsletter.settings.suggest import did_you_mean, nearest
from newsletter.settings.toml_lines import KeyPath

#: Rounds of "take out what is wrong and look again"; each level of nesting can hide one more mistake.
_ROUNDS = 8
_STAND_IN_NEWSLETTER = {"title": "stand-in", "from": "stand-in@example.com"}
_STAND_INS = {"title": "stand-in", "from": "stand-in@example.com", "newsletters": {"stand-in": _STAND_IN_NEWSLETTER}}


_NO_NEWSLETTER = "at least one newsletter is needed: a table [newsletters.NAME] with `title` and `from`"
#: pydantic's types of error in plain words, filled with its own context.
_SAID = {
    "value_error": "{error}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty; leave the key out for its default",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "expected the name of an environment variable, such as SMTP_PASSWORD",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: the key, what is wrong and what would be right; `at` is the key to point at, if another."""

    path: KeyPath
    message: str
    suggestion: str = ""
    at: KeyPath | None = None


def examine(document: Mapping[str, Any]) -> tuple[Settings | None, list[Fault]]:
    """The settings a document means, or everything that is wrong with it."""
    trial = copy.deepcopy(dict(document))
    faults: dict[KeyPath, Fault] = {}
    settings, errors = _validated(trial)
    for _ in range(_ROUNDS):
        if settings is not None:
            break
        for error in _without_echoes(errors):
            fault = _fault(error, trial)
            if not any(fault.path[: len(known)] == known for known in faults):
                faults[fault.path] = fault
            _mend(trial, fault.path, error)
        settings, errors = _validated(trial)
    if settings is not None:
        for broken in cross_key_faults(settings):
            if not any(_touches(path, known) for path in broken.concerns for known in faults):
                faults.setdefault(broken.path, Fault(broken.path, broken.message, broken.suggestion, broken.at))
    return (None if faults else settings), _without_doubles(list(faults.values()))


def _validated(document: Mapping[str, Any]) -> tuple[Settings | None, list[Any]]:
    try:
        return Settings.model_validate(document), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _touches(path: KeyPath, known: KeyPath) -> bool:
    shared = min(len(path), len(known))
    return path[:shared] == known[:shared]


def _without_echoes(errors: list[Any]) -> Iterator[Any]:
    """Leave out that a list is too short because its elements are wrong."""
    paths = [_path(error) for error in errors]
    for error, path in zip(errors, paths, strict=True):
        if error["type"] == "too_short" and any(other[: len(path)] == path and other != path for other in paths):
            continue
        yield error


def _without_doubles(faults: list[Fault]) -> list[Fault]:
    """A key missing because it stands there misspelt is one mistake, not two."""
    misspelt = {(*fault.path[:-1], meant) for fault in faults if (meant := _quoted(fault.suggestion))}
    return [fault for fault in faults if not (fault.at is not None and fault.path in misspelt)]


def _quoted(suggestion: str) -> str:
    return suggestion.split("`")[1] if suggestion.startswith("Did you mean `") else ""


def _path(error: Any) -> KeyPath:
    path: KeyPath = tuple(error["loc"])
    if path and path[-1] == "[key]":
        path = path[:-1]
    if path[:1] == ("providers",) and len(path) > 2 and path[2] in (*PROVIDER_KINDS, OUTSIDE):
        path = path[:2] + path[3:]  # pydantic names the kind of provider there
    if error["type"].startswith("union_tag"):
        path = (*path, "kind")
    return path


def _fault(error: Any, document: Mapping[str, Any]) -> Fault:
    path, kind = _path(error), error["type"]
    if kind == "extra_forbidden":
        return Fault(path, f"unknown key `{path[-1]}`", _suggestion(path, document))
    if kind in ("missing", "union_tag_not_found"):
        return _missing(path, document)
    if kind in ("literal_error", "union_tag_invalid"):
        choices = catalog.choices_of(catalog.annotation_at(path, document))
        if kind == "union_tag_invalid":
            choices += tuple(sorted(installed_kinds()))
        found = error["ctx"]["tag"] if kind == "union_tag_invalid" else error["input"]
        meant = did_you_mean(found, choices) if isinstance(found, str) else ""
        return Fault(path, f"expected one of {', '.join(map(_in_quotes, choices))}", meant)
    if kind == "too_short" and path == ("newsletters",):
        return Fault(path, _NO_NEWSLETTER)
    if kind in _SAID:
        return Fault(path, _SAID[kind].format(**{"error": "", **error.get("ctx", {})}))
    written = catalog.written_as(catalog.annotation_at(path, document))
    expected = f"{_article(written.words)}{written.words}{_such_as(written)}"
    return Fault(path, f"expected {expected}; this is {_found(error['input'])}")


def _missing(path: KeyPath, document: Mapping[str, Any]) -> Fault:
    if path == ("newsletters",):
        return Fault(path, _NO_NEWSLETTER, at=())
    if path[-1] == "kind":
        example = f"Write kind = {' or '.join(map(_in_quotes, PROVIDER_KINDS))}."
    else:
        example = f"Write {path[-1]} = {catalog.written_as(catalog.annotation_at(path, document)).example}."
    return Fault(path, f"`{path[-1]}` is missing", example, at=path[:-1])


def _in_quotes(text: str) -> str:
    return f'"{text}"'


def _suggestion(path: KeyPath, document: Mapping[str, Any]) -> str:
    """The key that was meant: one of its table, or one of the same name in another table."""
    name, table = str(path[-1]), path[:-1]
    elsewhere = [key.path for key in catalog.all_keys() if key.name == name]
    homes = [_concrete(home[:-1], table) for home in elsewhere]
    near_homes = [home for home in homes if home[: len(table)] == table and table]
    found = nearest(name, catalog.names_at(table, document))
    if not near_homes and found:
        return f"Did you mean `{found}`?"
    for candidates in (near_homes, homes):
        if len(candidates) == 1:
            return (
                f"It belongs in [{'.'.join(candidates[0])}]." if candidates[0] else "It belongs above the first table."
            )
    return ""


def _concrete(home: tuple[str, ...], table: KeyPath) -> tuple[str, ...]:
    """The name of the newsletter at hand in place of NAME."""
    if home[:1] == ("newsletters",) and table[:1] == ("newsletters",) and len(table) > 1:
        return (home[0], str(table[1]), *home[2:])
    return home


def _article(words: str) -> str:
    if words.startswith(("true", '"')) or words[0].isdigit():
        return ""
    return "an " if words[0] in "aeioAEI" else "a "


def _such_as(written: Written) -> str:
    return "" if "…" in written.example or written.words.startswith("true") else f", such as {written.example}"


def _found(value: object) -> str:
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a decimal number"),
        (str, "a text"),
        ((dt.date, dt.time), "a date or time"),
        (Mapping, "a table"),
        (list, "a list"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "something else")


def _mend(trial: dict[str, Any], path: KeyPath, error: Any) -> None:
    """Take the wrong value out of the trial document, or put one in the missing one's place."""
    holder: Any = trial
    for part in path[:-1]:
        holder = catalog.step_into(holder, part)
    if isinstance(holder, list):
        # an element cannot go without moving the others: the whole list goes
        _mend(trial, path[:-1], error)
    elif isinstance(holder, dict):
        last = path[-1]
        holder.pop(last, None)
        if last == "kind":
            # most providers are named after their kind
            named = error["ctx"]["tag"] if error["type"] == "union_tag_invalid" else str(path[-2])
            meant = nearest(named, PROVIDER_KINDS)
            if meant is None:
                holder.clear()
            holder["kind"] = meant or "disk"
        elif last in _STAND_INS:
            holder[last] = _STAND_INS[str(last)]
        elif path[-2:-1] == ("dkim",) or catalog.is_secret(catalog.annotation_at(path[:-1], trial)):
            _mend(trial, path[:-1], error)
    elif path[:-1]:
        _mend(trial, path[:-1], error)
