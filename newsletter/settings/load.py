"""Reading config.toml and the environment into frozen settings, or into one error that holds every problem."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from newsletter.errors import ConfigError, Place, Problem
from newsletter.settings import catalog
from newsletter.settings.environment import Overlaid, overlay
from newsletter.settings.faults import Fault, examine
from newsletter.settings.loaded import Loaded
from newsletter.settings.masking import mask_broken_line, mask_line
from newsletter.settings.secrets import Secret
from newsletter.settings.toml_lines import KeyIndex, KeyPath

#: The version of the file's format that this program reads.
CONFIG_VERSION = 1

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOMLLIB_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
#: What `tomllib` says, where it speaks of its own grammar, and what a user can do about it.
_TOMLLIB_WORDS = {
    "Expected '=' after a key in a key/value pair": "expected `=` after the key",
    "Invalid statement": "this is neither `key = value` nor a [table]",
    "Invalid value": "this value cannot be read; a text stands in quotes",
    "Cannot overwrite a value": "this key stands here twice",
    "Expected newline or end of document after a statement": "something is left over at the end of the line",
    "Illegal character '\\n'": "a text is not closed on its line",
    "Found invalid character '\\n'": "a text is not closed on its line",
    "Expected ']' at the end of a table declaration": "the name of a table ends with `]`",
    "Expected ']]' at the end of an array declaration": "the name of a table ends with `]]`",
    "Unescaped '\\' in a string": "a backslash in \"…\" is written twice; in '…' it stands for itself",
    "Invalid date or datetime": "there is no such date or time",
    "Unclosed array": "a list is not closed with `]`",
    "Unclosed inline table": "a table is not closed with `}`",
}  # fmt: skip


def dotted(path: KeyPath) -> str:
    """A path as one reads it: `newsletters.daily-buzz.lists`, elements as `lists[0]`, odd names in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return text


def load_settings(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the file and lay the environment over it. Raises ConfigError with all that is wrong, in the file's order."""
    text = _read(path)
    document = _parse(path, text)
    index = KeyIndex(text)
    overlaid = overlay(document, environ)
    places = _Places(path, index, overlaid)
    version = overlaid.document.get("config_version", CONFIG_VERSION)
    if version != CONFIG_VERSION or isinstance(version, bool):
        message = f"config_version must be {CONFIG_VERSION}, the only format that this version of newsletter reads"
        raise ConfigError([places.problem(Fault(("config_version",), message))])
    settings, faults = examine(overlaid.document)
    problems = sorted((places.problem(fault) for fault in faults), key=_order)
    problems += [
        Problem(stray.variable, stray.message, _variable_place(stray.variable), suggestion=stray.suggestion)
        for stray in overlaid.strays
    ]
    if problems or settings is None:
        raise ConfigError(problems)
    for key_path, secret in _secrets(settings, ()):
        secret.remember_place(dotted(key_path), places.place(key_path))
    return Loaded(settings, path, path.absolute().parent, places.origins(), overlaid.document)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        message = f"there is no {path}: run `newsletter init` to make one, or name another with -c"
    except IsADirectoryError:
        message = f"{path} is a folder, not a file: name the config.toml in it with -c"
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a usable path'}"
    else:
        try:
            return content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            place = Place(path, line)
            failure = Problem("", "this line is not UTF-8 text: save the file as UTF-8", place)
            raise ConfigError([failure]) from None
    raise ConfigError([Problem("", message, Place(path))])


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        problem = Problem("", "lists or tables stand in each other too deeply", Place(path))
    except ValueError as error:
        problem = _syntax_problem(path, text, str(error))
    # raised out here, so that no exception that could carry a secret hangs on it
    raise ConfigError([problem])


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    lines = text.split("\n")
    found = _TOMLLIB_PLACE.fullmatch(message)
    if not found:
        return Problem("", "a number in it is too long to be read", Place(path))
    said, line, column = found[1], int(found[2] or 0), int(found[3] or 0)
    if not line:
        line = max((number for number, one in enumerate(lines, start=1) if one.strip()), default=1)
        column = len(lines[line - 1]) + 1
        words = "the file ends here, in the middle of a value: a list, table or text is not closed"
    elif said in _TOMLLIB_WORDS:
        words = _TOMLLIB_WORDS[said]
    else:
        table = re.fullmatch(r"Cannot (?:declare|mutate) .*", said)
        # what else tomllib says may hold a piece of the text
        words = "this table or key stands here twice" if table else "this is not TOML"
    excerpt = lines[line - 1] if line <= len(lines) else ""
    above = "\n".join(lines[: line - 1])
    inside_text = bool(above.count('"""') % 2 or above.count("'''") % 2)
    harmless = frozenset(key.name for key in catalog.all_keys() if not key.secret and key.words != "table")
    shown = mask_broken_line(excerpt, harmless, inside_text=inside_text)
    return Problem("", words, Place(path, line, column if shown == excerpt else None), excerpt=shown)


class _Places:
    """Where each key stands: the line of the file, or the variable of the environment."""

    def __init__(self, path: Path, index: KeyIndex, overlaid: Overlaid) -> None:
        self._path = path
        self._variables = overlaid.variables
        self._document = overlaid.document
        self._index = {
            key: position
            for key, position in index.items()
            if not any(key[: len(over)] == over for over in overlaid.variables)
        }

    def place(self, path: KeyPath) -> Place:
        """The place of a key, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            around = path[:length]
            if around in self._variables:
                return _variable_place(self._variables[around])
            if around in self._index:
                position = self._index[around]
                return Place(self._path, position.line, position.column)
        return Place(self._path)

    def problem(self, fault: Fault) -> Problem:
        """The fault with its place and the line that stands there, masked."""
        at = fault.path if fault.at is None else fault.at
        place = self.place(at)
        excerpt = ""
        if place.path == self._path and place.line is not None:
            position = next(self._index[at[:size]] for size in range(len(at), 0, -1) if at[:size] in self._index)
            excerpt = mask_line(position.text, all_texts=self._may_be_secret(at))
        return Problem(dotted(fault.path), fault.message, place, excerpt, fault.suggestion)

    def _may_be_secret(self, path: KeyPath) -> bool:
        """Unknown keys too: nobody knows what stands there."""
        value = catalog.at_path(self._document, path)
        annotations = [catalog.annotation_at(path[:size], self._document) for size in range(1, len(path) + 1)]
        return None in annotations or (any(map(catalog.is_secret, annotations)) and isinstance(value, str))

    def origins(self) -> dict[str, str]:
        """Every key that is set, with where."""
        found = {
            dotted(path): f"{self._path.name}:{position.line}"
            for path, position in self._index.items()
            if not any(isinstance(part, int) for part in path)
        }
        return found | {dotted(path): f"environment {variable}" for path, variable in self._variables.items()}


def _variable_place(variable: str) -> Place:
    return Place(f"environment variable {variable}")


def _order(problem: Problem) -> tuple[bool, int, int]:
    return (str(problem.place.path).startswith("environment "), problem.place.line or 0, problem.place.column or 0)


def _secrets(value: object, path: KeyPath) -> list[tuple[KeyPath, Secret]]:
    """Every secret's reference in the settings, with its key."""
    if isinstance(value, Secret):
        return [(path, value)]
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, tuple):
        inner = list(enumerate(value))
    elif isinstance(value, BaseModel):
        inner = [(one.alias or name, getattr(value, name)) for name, one in type(value).model_fields.items()]
    return [found for part, below in inner for found in _secrets(below, (*path, part))]
