"""Subject and preheader: what stands in the inbox before the mail is opened."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import folded
from newsletter.preflight.issue_texts import line_saying, title_line
from newsletter.preflight.model import Examined, Level

#: Gmail in a browser shows about 70 characters of a subject, other clients 40 to 75; counted in common inboxes, not
#: promised by any vendor. 70 also keeps `Subject: …` near the 78 columns RFC 5322 section 2.1.1 recommends.
SUBJECT_CHARACTERS = 70
#: Gmail shows 90 to 97 characters of a preheader, Mail on an iPhone 81 to 137.
PREHEADER_CHARACTERS = 90


def _subject_line(examined: Examined) -> int | None:
    issue = examined.issue
    return line_saying(issue, examined.rendered.subject) or title_line(issue)


def _preheader_line(examined: Examined) -> int | None:
    return line_saying(examined.issue, examined.rendered.preheader)


@check(
    "subject-empty",
    Level.ERROR,
    means="The mail has no subject.",
    do="Give the issue a title in its first line, or a subject in its front matter.",
)
def subject_empty(examined: Examined) -> Iterator[Found]:
    """A subject of spaces is none."""
    if not folded(examined.rendered.subject) and not examined.rendered.subject.strip():
        yield Found("the subject is empty", title_line(examined.issue))


@check(
    "subject-length",
    Level.WARN,
    means=f"The subject is longer than the {SUBJECT_CHARACTERS} characters an inbox shows.",
    do="Put what matters first and shorten the rest; a subject in the front matter may differ from the title.",
)
def subject_length(examined: Examined) -> Iterator[Found]:
    """Characters as a reader counts them, not bytes."""
    length = len(examined.rendered.subject)
    if length > SUBJECT_CHARACTERS:
        yield Found(
            f"the subject has {length} characters, an inbox shows about {SUBJECT_CHARACTERS}", _subject_line(examined)
        )


@check(
    "subject-shouting",
    Level.WARN,
    means="The subject is in capitals or has a run of exclamation or question marks, as spam does.",
    do="Write it as a sentence or a headline, with one mark at most.",
)
def subject_shouting(examined: Examined) -> Iterator[Found]:
    """An acronym or two is no shouting: at least 10 letters in at least two words, all of them capitals."""
    subject = examined.rendered.subject
    letters = [char for char in subject if char.isalpha()]
    cased = [char for char in letters if char.isupper() or char.islower()]
    if len(cased) >= 10 and all(char.isupper() for char in cased) and len(re.findall(r"[^\W\d_]+", subject)) > 1:
        yield Found("the subject is in capitals throughout", _subject_line(examined))
    run = re.search(r"[!?¡¿！？]{2,}", subject)
    if run:
        yield Found(f"the subject has a run of marks: {run.group()}", _subject_line(examined))


@check(
    "subject-characters",
    Level.ERROR,
    means="The subject holds a line break or a control character, which a header cannot carry.",
    do="Take the character out; it may have been pasted unseen.",
)
def subject_characters(examined: Examined) -> Iterator[Found]:
    """Control characters (Cc), line separators and overrides of the text's direction."""
    for char in examined.rendered.subject:
        if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} or char in "\u202a\u202b\u202d\u202e":
            yield Found(f"the subject holds the unseen character U+{ord(char):04X}", _subject_line(examined))


@check(
    "preheader-empty",
    Level.WARN,
    means="There is no preheader, so the inbox shows whatever stands first in the mail.",
    do="Set `preheader` in the front matter; without one it is made of the first headlines.",
)
def preheader_empty(examined: Examined) -> Iterator[Found]:
    """A preheader of spaces is none."""
    if not examined.rendered.preheader.strip():
        yield Found("the preheader is empty")


@check(
    "preheader-length",
    Level.WARN,
    means=f"The preheader is longer than the {PREHEADER_CHARACTERS} characters an inbox shows.",
    do="Shorten it in the front matter.",
)
def preheader_length(examined: Examined) -> Iterator[Found]:
    """Characters as a reader counts them, not bytes."""
    length = len(examined.rendered.preheader)
    if length > PREHEADER_CHARACTERS:
        yield Found(
            f"the preheader has {length} characters, an inbox shows about {PREHEADER_CHARACTERS}",
            _preheader_line(examined),
        )


@check(
    "preheader-repeats",
    Level.WARN,
    means="The preheader says what the subject says, so the inbox shows the same twice.",
    do="Let it go on where the subject stops.",
)
def preheader_repeats(examined: Examined) -> Iterator[Found]:
    """Equal but for case and punctuation."""
    subject, preheader = folded(examined.rendered.subject), folded(examined.rendered.preheader)
    if preheader and subject == preheader:
        yield Found("the preheader repeats the subject", _preheader_line(examined))
