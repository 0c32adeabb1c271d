"""Heading or paragraph? The rules of the plain text format for one line, without looking at its neighbours."""

from __future__ import annotations

import re

from newsletter.issue.decode import UNSEEN

#: A heading is at most this long (characters).
MAX_HEADING = 120

#: What ends a sentence, in the scripts that have such marks.
_TERMINATORS = frozenset(".!?。！？．｡؟۔।॥։")
#: What may stand behind the mark that ends a sentence: closing quotes and brackets.
_CLOSERS = "\"'”’“‘«»‹›)]}>*_）】」』〉》〕］｝"
_BLANKS = " \u00a0\u202f\u3000"
#: `U.S.`, `a.m.`, and what names of companies and persons end with: a point that belongs to the word.
_ABBREVIATION = re.compile(r"(?:\b(?:[^\W\d_]\.){2,}|\b(?:Inc|Corp|Ltd|Co|Bros|Jr|Sr|St|No|vs|etc|plc|Cie|GmbH)\.)\Z")
#: Words that a Title-Case line leaves small (Chicago, AP and the particles of names).
_SMALL = frozenset(
    {"a", "an", "and", "as", "at", "but", "by", "for", "from", "if", "in", "into", "nor", "of", "off", "on", "onto"}
    | {"or", "out", "over", "per", "so", "than", "that", "the", "to", "up", "upon", "via", "vs", "with", "yet"}
    | {"al", "da", "de", "del", "der", "di", "du", "e", "el", "en", "et", "la", "le", "van", "von", "y"}
)


def section_key(name: str) -> str:
    """How section names are compared: without case, trailing dots and blanks, or the shape of the apostrophe."""
    seen = " ".join(UNSEEN.sub("", name).replace("’", "'").split())
    return seen.casefold().rstrip(".… ")


def is_heading(text: str) -> bool:
    """Whether a block is a heading: at most 120 characters, and not ending like a sentence."""
    return len(text) <= MAX_HEADING and not ends_like_sentence(text)


def ends_like_sentence(text: str) -> bool:
    """Whether `text` ends with a mark that ends a sentence, closing quotes and brackets apart.

    `...` and `…` do not; nor do `?`, `!` and an abbreviation's point (`U.S.`) at the end of a Title-Case line.
    """
    core = text.rstrip(_CLOSERS + _BLANKS)
    if not core or core[-1] not in _TERMINATORS or core.endswith(".."):
        return False
    may_be_heading = core[-1] in "?!" or _ABBREVIATION.search(core[-20:]) is not None
    return not (may_be_heading and is_title_case(text))


def is_title_case(text: str) -> bool:
    """Whether every word but the small ones begins with a capital, the first and the last included.

    Figures count as capitals, `iPhone` does too; a script without capitals is never Title-Case.
    """
    if len(text) > MAX_HEADING:
        return False
    words = [word for word in map(_bare, text.split()) if any(map(str.isalpha, word))]
    if not words or not any(map(str.isupper, text)):
        return False
    return (
        _capital(words[0])
        and _capital(words[-1])
        and all(_capital(word) or word.rstrip(".,;:!?'’").lower() in _SMALL for word in words)
    )


def _bare(word: str) -> str:
    """The word from its first letter or figure on."""
    return next((word[at:] for at, character in enumerate(word) if character.isalnum()), "")


def _capital(word: str) -> bool:
    if word.startswith(("a.m.", "p.m.")):  # what style guides leave small even in a headline
        return True
    return not word[0].islower() or any(map(str.isupper, word))
