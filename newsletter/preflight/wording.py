"""Words that should not go out: placeholders, garbled characters, words too long for a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import shortened
from newsletter.preflight.issue_texts import all_texts
from newsletter.preflight.model import Examined, Level

#: Characters of a word that fit on one line of a 320 px wide phone at 17 px, with 24 px at both sides.
WORD_CHARACTERS = 40

_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_TODO = r"(?:TODO|FIXME|X{3,}|x{3,})"
_LIST_MARK = r"\s*(?:(?:[-*+•]|\d{1,3}[.)])\s+)?"
_PLACEHOLDERS = (
    # TK, "to come", in capitals only and as a whole word; two companies are really called so.
    re.compile(r"\b(?:TK)+\b(?! (?:Maxx|Elevator)\b)"),
    re.compile(r"[\[(][^\[\]()\n]{0,60}\btk[\])]", re.IGNORECASE),
    re.compile(r"\bx{3,} to (?:come|follow)\b", re.IGNORECASE),
    # TODO as an editor's mark: begins a block with a colon, a dash or a bracket, is a line, or stands in brackets.
    re.compile(
        rf"^{_LIST_MARK}{_TODO}(?=:|\s+[-–—]\s|\s*[–—]|\s+[(\[]|[.!?…\s]*$)"
        rf"|\[[^\[\]\n]{{0,60}}?\b{_TODO}\b[^\[\]\n]{{0,60}}\](?!\()|\({_TODO}:[^()\n]{{0,60}}",
        re.MULTILINE,
    ),
    re.compile(r"\blorem ipsum\b", re.IGNORECASE),
    re.compile(r"\b(?:headline|text|copy|story|link|content) goes here\b", re.IGNORECASE),
    # Brackets are also an editor's note inside a quotation ([sic], [the president]), so only these words count.
    re.compile(
        r"\[(?:(?:your|first|last|full) )?"
        r"(?:name|headline|title|link|url|date|image|photo|source|quote|figure|tk|tb[acd]|placeholder)\](?!\()",
        re.IGNORECASE,
    ),
    re.compile(r"\[insert\b[^\]]{0,60}\]", re.IGNORECASE),
    re.compile(r"\[(?:ADD[\s:][^\]]{1,60}|[Aa]dd (?:an? |the |your )?(?:link|photo|image|quote|source)s?)\](?!\()"),
    # What other programs put for a subscriber's name: {{ name }}, {% if %}, {name}, %%name%%, *|FNAME|*, <<name>>.
    re.compile(
        r"\{\{.{0,60}?\}\}|\{%.{0,60}?%\}|\{(?:first|last|full|user)?_?(?:name|e?mail)\}"
        r"|%%\w{1,30}%%|\*\|\w{1,30}\|\*|<<[\w ]{1,30}>>"
    ),
    re.compile(r"\{\{|\}\}|\{%|%\}"),
)
#: Marks that are words as well: an app, a film, a company, the thirtieth of its kind.
_PERHAPS = re.compile(rf"\b{_TODO}\b")
#: UTF-8 that was read as Windows-1252 or Latin-1 on its way here, and the mark of bytes that could not be read.
_GARBLED = re.compile(r"\ufffd|â€[\u0080-\u009f™œž˜š“”¦¢\"]|Ã[\u0080-\u00bfƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|Â[\u00a1-\u00bf]")
_OVERRIDE = re.compile(r"[\u202d\u202e]")
#: Where a line may break inside a run without spaces (UAX 14): after hyphens and dashes, at marks made for it, after a
#: slash, and anywhere in scripts written without spaces. A no-break space is no place to break.
_BREAK = re.compile(
    r"[\t\n\r \u00ad\u1680\u2000-\u2006\u2008-\u200b\u2010\u2012-\u2014\u2028\u2029\u205f\u3000/-]"
    r"|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]"
)


@check(
    "placeholder-text",
    Level.ERROR,
    Level.WARN,
    means="A text that was meant to be replaced is still there.",
    do="Write what belongs there, or take it out.",
)
def placeholder_text(examined: Examined) -> Iterator[Found]:
    """Whole words, in the case editors use, outside URLs; each mark once a line.

    TODO, FIXME and XXX in the midst of a text are a warning, for names hold them too.
    """
    for text, line in all_texts(examined.issue):
        for mark, level in placeholders(text):
            what = "placeholder" if level is Level.ERROR else "perhaps a placeholder:"
            yield Found(f'{what} "{shortened(mark)}" in "{shortened(text)}"', line, level)


def placeholders(text: str) -> list[tuple[str, Level]]:
    """The placeholders in `text`, each once, as they stand there, and how sure it is that they are."""
    without_urls = _URL.sub(" ", text)
    found: list[tuple[str, Level]] = []
    patterns = [(pattern, Level.ERROR) for pattern in _PLACEHOLDERS]
    for pattern, level in (*patterns, (_PERHAPS, Level.WARN)):
        for match in pattern.finditer(without_urls):
            mark = match.group().strip()
            if not any(mark in one for one, _ in found):
                found.append((mark, level))
    return found


@check(
    "text-garbled",
    Level.WARN,
    means="Characters were lost or garbled when the text was copied.",
    do="Paste the text again and save the file as UTF-8.",
)
def text_garbled(examined: Examined) -> Iterator[Found]:
    """The replacement character, UTF-8 read as Windows-1252 (`â€™` for `’`), and overrides of the direction."""
    for text, line in all_texts(examined.issue):
        match = _GARBLED.search(text)
        if match:
            around = text[max(0, match.start() - 15) : match.end() + 15]
            yield Found(f'garbled characters in "…{shortened(around)}…"', line)
        if _OVERRIDE.search(text):
            yield Found("an unseen character turns the direction of the text around", line)


@check(
    "word-long",
    Level.WARN,
    means=f"A word of more than {WORD_CHARACTERS} characters has no place to break; it runs out of a phone's screen.",
    do="Break it with a hyphen or a space; give an address a text to click on.",
)
def word_long(examined: Examined) -> Iterator[Found]:
    """No-break spaces join words into one; text pasted from a word processor may hold nothing else."""
    for text, line in all_texts(examined.issue):
        longest = max(_BREAK.split(text), key=len)
        if len(longest) > WORD_CHARACTERS:
            joined = " (joined by no-break spaces)" if "\u00a0" in longest else ""
            yield Found(f'a word of {len(longest)} characters{joined}: "{shortened(longest, 50)}"', line)


@check(
    "exclamation-run",
    Level.INFO,
    means="The text has a run of exclamation marks, which spam filters count.",
    do="One is enough.",
)
def exclamation_run(examined: Examined) -> Iterator[Found]:
    """The subject has a check of its own."""
    for text, line in all_texts(examined.issue):
        if text != examined.issue.subject and re.search(r"[!！]{2,}|[!?]{3,}", text):
            yield Found(f'a run of exclamation marks in "{shortened(text)}"', line)
