"""The words of mails and pages in the newsletter's language: catalogues in `templates/languages/`, one a language.

A catalogue is TOML: tables of texts, looked up as `table.key`. `{name}` in a text is replaced by the value called so.
What a catalogue lacks stands there in English.
"""

from __future__ import annotations

import datetime as dt
import difflib
import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup, escape

from newsletter.errors import Place, TemplateError
from newsletter.rendering.template_folder import not_toml, read_text, shown

#: The folder of catalogues, under each root of templates.
FOLDER = "languages"
#: The language that every key exists in.
FALLBACK = "en"

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_VALUE = re.compile(r"\{([a-z_]+)\}")
_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


class Words:
    """One language's words. `words("unsubscribe.title", newsletter="Daily Buzz")` is a text for a template to print.

    `language` is the tag of the catalogue that was found, not of the one that was asked for: what `lang` must say.
    """

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self.texts = MappingProxyType(dict(texts))  # templates see it, and must not change it

    def __call__(self, key: str, /, **values: object) -> str:
        """The text with its values; where one of them is Markup, Markup with all else escaped. Raises KeyError for a
        key that no catalogue has, and for a value that is missing."""
        text = self.texts[key]
        if any(hasattr(value, "__html__") for value in values.values()):
            parts = _VALUE.split(text)
            return Markup("").join(
                Markup(escape(str(values[part]) if not hasattr(values[part], "__html__") else values[part]))  # noqa: S704 - escaped
                if at % 2
                else escape(part)
                for at, part in enumerate(parts)
            )
        return _VALUE.sub(lambda found: str(values[found[1]]), text)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`, for `dir`."""
        return "rtl" if self.language.split("-")[0] in _RIGHT_TO_LEFT else "ltr"

    def date(self, date: dt.date) -> str:
        """A date in full, with its weekday: `Wednesday, 7 January 2026`."""
        weekday = self.texts["dates.weekdays"].split()[date.weekday()]
        month = self.texts["dates.months"].split()[date.month - 1]
        return self("dates.long", weekday=weekday, day=date.day, month=month, year=date.year)


_RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})


def words_of(language: str, roots: Sequence[Path]) -> Words:
    """The words of a BCP 47 tag: of its own catalogue (`pt-BR.toml`), else of its language (`pt.toml`), else English.

    A project's catalogue (`roots`, in order) may hold single keys; the rest comes from the one that ships. Raises
    TemplateError for a catalogue that cannot be read, or that asks for a value which a text does not get.
    """
    texts = _texts(FALLBACK, roots)
    shipped = _texts(FALLBACK, roots[-1:])
    found = FALLBACK
    for tag in dict.fromkeys([FALLBACK, *_candidates(language)]):
        for root in roots:
            _refuse_unknown_keys(root / FOLDER / f"{tag}.toml", texts, shipped, english=tag == FALLBACK)
    for tag in _candidates(language):
        if own := _texts(tag, roots):
            texts, found = {**texts, **own}, tag
    _refuse_unknown_values(texts, shipped, found)
    return Words(found, texts)


def catalogues(roots: Sequence[Path]) -> Mapping[str, str]:
    """The languages that there are catalogues of, by tag: each one's own name for itself, else the tag."""
    files = {path.stem for root in roots for path in (root / FOLDER).glob("*.toml")}
    tags = sorted(tag for tag in files if _TAG.fullmatch(tag))
    return {tag: _texts(tag, roots).get("page.language", tag) for tag in tags}


def values_of(text: str) -> frozenset[str]:
    """The names in braces of a text."""
    return frozenset(_VALUE.findall(text))


def _refuse_unknown_keys(path: Path, texts: Mapping[str, str], shipped: Mapping[str, str], *, english: bool) -> None:
    """A key that nothing asks for is a slip, and would be passed over in silence. An operator's own words for their own
    pages stand in a table of their own, in English first."""
    known = shipped if english else texts
    tables = {key.partition(".")[0] for key in shipped}
    for key in _read(path) if path.is_file() else ():
        if key not in known and not (english and key.partition(".")[0] not in tables):
            near = difflib.get_close_matches(key, known, 1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"words of your own stand in a table of their own, in {FALLBACK}.toml first"
            )
            raise TemplateError(f"nothing asks for {key}", place=_place_of(path, key), hint=hint)


def _place_of(path: Path, key: str) -> Place:
    """The line at which a key stands, where it can be told."""
    table, _, name = key.partition(".")
    inside = False
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if head := _TABLE.match(line):
            inside = head[1] == table
        elif inside and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return Place(shown(path), number)
    return Place(shown(path))


def _refuse_unknown_values(texts: Mapping[str, str], shipped: Mapping[str, str], tag: str) -> None:
    """A value that nobody gives would break the mail or page when it is made: better said when the words are read."""
    for key, text in texts.items():
        if unknown := values_of(text) - values_of(shipped.get(key, text)):
            given = ", ".join(f"{{{name}}}" for name in sorted(values_of(shipped[key]))) or "none"
            raise TemplateError(
                f"{key} has {{{min(unknown)}}}, which is no value of this text",
                place=Place(f"{FOLDER}/{tag}.toml"),
                hint=f"its values: {given}",
            )


def _candidates(language: str) -> Sequence[str]:
    """Catalogues to look for, the most general first."""
    if not _TAG.fullmatch(language):
        return []
    parts = language.split("-")
    return list(dict.fromkeys([parts[0].lower(), "-".join([parts[0].lower(), *parts[1:]])]))


def _texts(tag: str, roots: Sequence[Path]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for root in reversed(roots):
        path = root / FOLDER / f"{tag}.toml"
        if path.is_file():
            texts |= _read(path)
    return texts


@functools.lru_cache(maxsize=16)  # by its text, so that an edit is seen; a catalogue is read several times over
def _document(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text)


def _read(path: Path) -> dict[str, str]:
    try:
        document = _document(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise not_toml(path, error) from None
    texts = {}
    for table, entries in document.items():
        for name, text in entries.items() if isinstance(entries, dict) else [("", entries)]:
            if not name or not isinstance(text, str):
                hint = 'a catalogue holds tables of texts: [unsubscribe] and below it title = "…"'
                raise TemplateError(
                    f"{table}.{name} is no text" if name else f"{table} is no table",
                    place=Place(shown(path)),
                    hint=hint,
                )
            texts[f"{table}.{name}"] = text
    return texts
