"""Single cells of a subscriber file: cleaned, split, read as a time or as JSON."""

from __future__ import annotations

import datetime as dt
import json
import re
import zoneinfo
from functools import cache, lru_cache

from newsletter.audience.spreadsheets import unguarded

LONGEST_NAME = 200
LONGEST_VALUE = 2_000
#: RFC 5646, 4.4.1: a language tag of more is none.
LONGEST_LANGUAGE = 35
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Go prints times so, and listmonk with it: 2024-01-02 15:04:05.999999 +0000 UTC
_GO_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? ([+-]\d\d)(\d\d)(?: [A-Z]+)?")
#: Email is no older; 0001-01-01 and 1970-01-01 are how programs write "never".
_FIRST_YEAR = 1990


def clean(text: str, longest: int) -> str:
    """One line without control characters and without a spreadsheet's guard, cut to a length that no name reaches."""
    if not text:
        return text
    if text[0] == "'":
        text = unguarded(text)
    if text.isprintable() and text[0] != " " and text[-1:] != " " and "  " not in text:
        return text[:longest].rstrip()
    return " ".join(_CONTROL.sub(" ", text[: longest * 4]).split())[:longest].rstrip()


def has_control(text: str) -> bool:
    """Whether there is anything in it that nobody can see: control characters, halves of characters."""
    return bool(_CONTROL.search(text))


#: Longer texts are hardly alike, and ten thousand of them would be remembered.
REMEMBERED = 200


def clean_again(text: str, longest: int) -> str:
    """`clean`, for what many rows say alike."""
    if not text:
        return text
    return _clean_again(text, longest) if len(text) <= REMEMBERED else clean(text, longest)


_clean_again = lru_cache(1_000)(clean)


def words(text: str) -> tuple[str, ...]:
    """`a; b|c` → a, b, c."""
    if not text:
        return ()
    return _words_again(text) if len(text) <= REMEMBERED else _words(text)


def _words(text: str) -> tuple[str, ...]:
    parts = re.split(r"[;|,]", unguarded(text.strip()))
    return tuple(dict.fromkeys(word for part in parts if (word := clean(part.strip().strip('"'), LONGEST_NAME))))


_words_again = lru_cache(10_000)(_words)


def moment_of(text: str) -> dt.datetime | None:
    """An ISO 8601 date or time, or as Go prints it; without a zone it is UTC."""
    stripped = text.strip()
    if (" +" in stripped or " -" in stripped) and (go := _GO_TIME.fullmatch(stripped)):
        stripped = f"{go[1]}{go[2]}:{go[3]}"
    try:
        moment = dt.datetime.fromisoformat(stripped)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment if moment.year >= _FIRST_YEAR else None


def spread(text: str) -> dict[str, str]:
    """A JSON object as attributes: texts as they are, other values as JSON; anything else as one attribute."""
    try:
        value = json.loads(unguarded(text.strip()))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        kept = clean(text, LONGEST_VALUE)
        return {"attributes": kept} if kept else {}
    found = {}
    for name, one in value.items():
        if one is not None and (label := clean(name, 100)):
            written = one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)
            if kept := clean(written, LONGEST_VALUE):
                found[label] = kept
    return found


@cache
def timezones() -> frozenset[str]:
    """The names of all IANA time zones."""
    return frozenset(zoneinfo.available_timezones())
