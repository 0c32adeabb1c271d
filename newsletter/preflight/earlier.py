"""The issue against the ones before it: what was sent once should not be sent again."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.issue.model import Issue
from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import containment, folded, shingles, shortened
from newsletter.preflight.issue_texts import body_text
from newsletter.preflight.model import Examined, Level

#: How many earlier issues are looked at, the latest first.
ISSUES_BACK = 7
#: Half of today's text was in one earlier issue. Unrelated news share under 2 % of their runs of four words.
SIMILAR = 0.5
#: Fewer runs of words than this say nothing about similarity.
_ENOUGH_SHINGLES = 30
#: A paragraph with fewer words may stand every day ("Have a good weekend.").
_PARAGRAPH_WORDS = 12


def _others(examined: Examined) -> list[Issue]:
    """The earlier issues, without the examined one itself, should a caller count it among them."""
    return [one for one in examined.earlier[:ISSUES_BACK] if one.slot != examined.issue.slot]


@check(
    "body-same",
    Level.ERROR,
    means="The issue says exactly what an earlier one said.",
    do="Check that the right file was saved under this date.",
)
def body_same(examined: Examined) -> Iterator[Found]:
    """Everything below the title, but for case and punctuation."""
    body = folded(body_text(examined.issue))
    for earlier in _others(examined):
        if body and body == folded(body_text(earlier)):
            yield Found(f"the text is the same as that of {earlier.slot}")


@check(
    "body-similar",
    Level.WARN,
    means="At least half of the text was in an earlier issue.",
    do="Check that today's stories were pasted, and not only some of them.",
)
def body_similar(examined: Examined) -> Iterator[Found]:
    """The share of today's runs of four words that an earlier issue holds.

    Containment rather than Jaccard's index: an issue with yesterday's stories and as many new ones is what an editor
    wants to hear of, and its index is low.
    """
    body = body_text(examined.issue)
    today = shingles(body)
    if len(today) < _ENOUGH_SHINGLES:
        return
    for earlier in _others(examined):
        text = body_text(earlier)
        share = containment(today, shingles(text))
        if share >= SIMILAR and folded(body) != folded(text):
            yield Found(f"{share:.0%} of the text was in {earlier.slot}")


@check(
    "headline-earlier",
    Level.WARN,
    means=f"A headline already stood in one of the last {ISSUES_BACK} issues.",
    do="Take the story out, or give its news of today a headline of its own.",
)
def headline_earlier(examined: Examined) -> Iterator[Found]:
    """Equal but for case and punctuation; one finding a headline, naming the latest issue that had it."""
    slots: dict[str, str] = {}
    for earlier in _others(examined):
        for story in earlier.stories():
            slots.setdefault(folded(story.headline), earlier.slot)
    for story in examined.issue.stories():
        key = folded(story.headline)
        if key and key in slots:
            yield Found(f'"{shortened(story.headline)}" was a headline of {slots[key]}', story.line)


@check(
    "paragraph-repeated",
    Level.WARN,
    means="A paragraph stands twice in the issue, or stood in an earlier one.",
    do="Take it out, or bring it up to date.",
)
def paragraph_repeated(examined: Examined) -> Iterator[Found]:
    """Stories only; an editor's note may be the same every day."""
    seen: dict[str, str] = {}
    for earlier in _others(examined):
        for story in earlier.stories():
            for paragraph in story.paragraphs:
                seen.setdefault(folded(paragraph.text), f"was in {earlier.slot}")
    for story in examined.issue.stories():
        for paragraph in story.paragraphs:
            key = folded(paragraph.text)
            if key.count(" ") + 1 < _PARAGRAPH_WORDS:
                continue
            if key in seen:
                yield Found(f'the paragraph "{shortened(paragraph.text)}" {seen[key]}', paragraph.line)
            where = f" (line {paragraph.line})" if paragraph.line else ""
            seen[key] = f"stands in this issue already{where}"
