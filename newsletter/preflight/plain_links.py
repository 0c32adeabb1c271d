"""Addresses in running text that are shown as they stand and cannot be clicked."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import shortened
from newsletter.preflight.links import link_leftover
from newsletter.preflight.model import Examined, Level

#: A scheme or www. and a host with a dot; a bare `example.com` may as well be the name of a company.
_ADDRESS = re.compile(
    r"(?<![\w@./-])(?:(?:https?|ftp)://(?:[\w-]+\.)+\w{2,}[^\s<>\"]*|www\.(?:[\w-]+\.)+[a-z]{2,}[^\s<>\"]*"
    r"|mailto:[^\s<>\"@]+@[^\s<>\"]+|(?P<script>(?:javascript|vbscript):[^\s<>\"]+))",
    re.IGNORECASE,
)
#: What is linked already, and code, which is shown as typed on purpose.
_LINKED = re.compile(r"<(a|code|pre)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_TRAILING = ".,;:!?'\"”’»›>…"


@check(
    "link-plain",
    Level.WARN,
    Level.INFO,
    means="An address in the text is shown as text, not as a link; some mail clients make a link of it, others do not.",
    do="Put it on a line of its own or at the end of the story; in Markdown write [words](https://…).",
)
def link_plain(examined: Examined) -> Iterator[Found]:
    """Each address once a paragraph, but for the story's own link. What `link-syntax` calls broken is left to it."""
    issue = examined.issue
    texts = [(paragraph, "") for paragraph in issue.note]
    texts += [(paragraph, story.link or "") for story in issue.stories() for paragraph in story.paragraphs]
    for paragraph, link in texts:
        if link_leftover(paragraph.text):
            continue
        text = html.unescape(_TAG.sub("", _LINKED.sub(" ", paragraph.html)))
        for match in _ADDRESS.finditer(text):
            address = _without_trailing(match.group())
            if match["script"]:
                yield Found(
                    f"{shortened(address)} is shown as text, not as a link",
                    paragraph.line,
                    hint="Take it out: no mail client follows such an address. Link to a page by https.",
                )
            elif address != link:
                yield Found(f"{shortened(address)} is shown as text, not as a link", paragraph.line, Level.INFO)


def _without_trailing(address: str) -> str:
    """The address without the punctuation and the closing brackets that belong to the sentence."""
    shorter = address.rstrip(_TRAILING)
    while shorter.endswith((")", "]")) and shorter.count(shorter[-1]) > shorter.count(
        "(" if shorter[-1] == ")" else "["
    ):
        shorter = shorter[:-1].rstrip(_TRAILING)
    return shorter
