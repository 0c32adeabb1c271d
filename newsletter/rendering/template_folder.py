"""Finds a template's files: in the project first, then among those that ship with the package."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from newsletter.errors import Place, TemplateError

MJML_FILE = "issue.mjml.j2"
TEXT_FILE = "issue.txt.j2"
INLINE_CSS = "inline.css"
HEAD_CSS = "head.css"
FACTS_FILE = "template.toml"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_TOML_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")
_KEYS = ("description", "fields")


@dataclass(frozen=True, slots=True)
class TemplateFolder:
    """A template by name, spread over `roots` (the project's folder first, then the package's).

    Each file is looked up on its own, so a project may replace `inline.css` and leave the rest as it ships.
    `fields` are the subscriber fields the template branches on.
    """

    name: str
    roots: tuple[Path, ...]
    description: str
    fields: tuple[str, ...]

    def path(self, file: str) -> Path | None:
        """Where `file` stands, or None."""
        for root in self.roots:
            candidate = root / self.name / file
            if candidate.is_file():
                return candidate
        return None

    def read(self, file: str) -> str:
        """The text of a file that may be absent (`""` then). Raises TemplateError if it is not UTF-8."""
        path = self.path(file)
        return "" if path is None else read_text(path)

    def files(self) -> dict[str, bytes]:
        """The bytes of all files of the template, the one that is used of each name; hidden files are left out."""
        names = {
            file.relative_to(root / self.name).as_posix()
            for root in self.roots
            for file in (root / self.name).rglob("*")
            if file.is_file() and not file.name.startswith(".")
        }
        paths = {name: self.path(name) for name in sorted(names)}
        return {name: path.read_bytes() for name, path in paths.items() if path is not None}


def fingerprint(files: Mapping[str, bytes]) -> bytes:
    """SHA-256 over names and contents, whatever their order."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{len(name)} {len(data)} {name}".encode() + data)
    return digest.digest()


def find_template(name: str, roots: Sequence[Path]) -> TemplateFolder:
    """The template called `name`. Raises TemplateError when there is none or its template.toml is wrong."""
    if not _NAME.fullmatch(name):
        hint = "a template is named like its folder, in lower-case letters, digits, - and _"
        raise TemplateError(f'"{name}" is no name for a template', hint=hint)
    folders = [root / name for root in roots if (root / name).is_dir()]
    for file in (MJML_FILE, TEXT_FILE):
        if not any((folder / file).is_file() for folder in folders):
            where = ", ".join(str(shown(root / name)) for root in roots)
            raise TemplateError(f'no template "{name}": {file} is in none of {where}', hint=_known(name, roots))
    facts = next((folder / FACTS_FILE for folder in folders if (folder / FACTS_FILE).is_file()), None)
    description, fields = _facts(facts) if facts else ("", ())
    return TemplateFolder(name, tuple(roots), description, fields)


def _known(name: str, roots: Sequence[Path]) -> str:
    names = sorted({path.parent.name for root in roots for path in root.glob(f"*/{MJML_FILE}")} - {name})
    near = difflib.get_close_matches(name, names, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"templates there are: {', '.join(names) or 'none'}"


def _facts(path: Path) -> tuple[str, tuple[str, ...]]:
    text = read_text(path)
    try:
        facts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise not_toml(path, error) from None
    for key in sorted(facts.keys() - set(_KEYS)):
        near = difflib.get_close_matches(key, _KEYS, 1)
        hint = (f"did you mean {near[0]}? " if near else "") + f"known are: {', '.join(_KEYS)}"
        raise TemplateError(f"unknown key {key!r}", place=_key_place(path, text, key), hint=hint)
    description, fields = facts.get("description", ""), facts.get("fields", [])
    if not isinstance(description, str):
        raise TemplateError("`description` must be text", place=_key_place(path, text, "description"))
    if not isinstance(fields, list) or not all(isinstance(one, str) and _FIELD.fullmatch(one) for one in fields):
        place = _key_place(path, text, "fields")
        raise TemplateError(
            "`fields` must be a list of names of subscriber fields", place=place, hint='such as ["tier"]'
        )
    return description, tuple(sorted(set(fields)))


def not_toml(path: Path, error: tomllib.TOMLDecodeError) -> TemplateError:
    """What to raise for a file that is no TOML, with its line and column."""
    position = _TOML_POSITION.search(str(error))
    line, column = (int(group) for group in position.groups()) if position else (None, None)
    message = _TOML_POSITION.sub("", str(error))
    return TemplateError(f"not valid TOML: {message}", place=Place(shown(path), line, column))


def _key_place(path: Path, text: str, key: str) -> Place:
    found = re.search(rf"^[ \t]*(?:\[+[ \t]*)?[\"']?{re.escape(key)}\b", text, re.MULTILINE)
    return Place(shown(path), text.count("\n", 0, found.start()) + 1 if found else None)


def shown(path: Path) -> Path:
    """The path as a user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises TemplateError with its line if it is not."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TemplateError(f"cannot be read: {error.strerror}", place=Place(shown(path))) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(shown(path), error.object.count(b"\n", 0, error.start) + 1)
        message = f"byte 0x{error.object[error.start]:02X} is not UTF-8 text"
        raise TemplateError(message, place=place, hint="save the file in UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
