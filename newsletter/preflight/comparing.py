"""Texts made comparable: without case, typography and line breaks, which rendering may change."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Words are runs of letters and digits; scripts written without spaces count sign by sign.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
#: What a text part adds to a paragraph: numbers of links and the links themselves.
_LINK_NUMBER = re.compile(r"\[\d{1,3}\]")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)

Shingles = frozenset[tuple[str, ...]]


def words(text: str) -> list[str]:
    """The words of `text`, folded: `“Où est-ce?”` gives `où`, `est`, `ce`. Accents count, case does not."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=4096)  # several checks look for the same texts among the same lines
def folded(text: str) -> str:
    """The words of `text` with one space between them: two texts that differ only in typography are equal."""
    return " ".join(words(text))


def letters(text: str) -> str:
    """The letters and digits of `text` alone, without link numbers and URLs, so that no wrapping can hide a match."""
    return "".join(words(_URL.sub(" ", _LINK_NUMBER.sub(" ", text))))


def shingles(text: str, size: int = 4) -> Shingles:
    """Every run of `size` words in `text` (Broder 1997, On the resemblance and containment of documents)."""
    found = words(text)
    return frozenset(tuple(found[start : start + size]) for start in range(len(found) - size + 1))


def containment(part: Shingles, whole: Shingles) -> float:
    """How much of `part` occurs in `whole`, from 0 to 1. Nothing is contained in nothing: 0 for an empty `part`."""
    return len(part & whole) / len(part) if part else 0.0


def shortened(text: str, most: int = 60) -> str:
    """`text` on one line, cut after `most` characters, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
