"""Who asked for a link or an image: a reader, or one of the many machines that do. Pure.

A mailbox's filter fetches each link of a mail before the reader sees it, and some proxies load every image. What they
are cannot be proven either way, so the verdict stands beside the raw count and replaces nothing. Only the verdict is
kept; what it was made from is not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from newsletter.events.tracking import HitKind, Verdict

#: So many links of one issue, by one reader, within this time: nobody clicks so fast.
BURST_LINKS = 3
BURST_SECONDS = 1.0

#: Programs, crawlers, and the proxies and filters of mail by the names they give (as of 2026-11).
_MACHINES = re.compile(
    r"""
    bot\b | crawl | spider | scanner | preview | prefetch | headless | phantomjs | validator | monitor
    | curl | wget | python | aiohttp | httpx | go-http-client | okhttp | libwww | java/ | apache-httpclient | axios
    | node-fetch | undici | \bnode\b | ruby | php | perl | winhttp | powershell | postman | guzzle | feedfetcher
    | googleimageproxy | ggpht\.com | yahoomailproxy | yahoocachesystem | mail\.ru | yandex
    | safelinks | microsoft\ office\ existence | skypeuripreview | bingpreview
    | barracuda | mimecast | proofpoint | urldefense | fireeye | trellix | trend\ ?micro | symantec | messagelabs
    | cloudmark | ironport | zscaler | forcepoint | sophos | fortinet | checkpoint | avanan | vade | hornetsecurity
    | facebookexternalhit | whatsapp | slack | telegram | discord
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: Characters of a User-Agent that are looked at: browsers have some 150. Of a very long one made for it a pattern would
#: be looking for seconds, and the whole site with it.
_LONGEST_AGENT = 500
#: Apple's Mail Privacy Protection loads images whether somebody reads the mail or not, and says this and no more.
_SAYS_NOTHING = re.compile(r"mozilla/\d\.\d", re.IGNORECASE)
#: How a browser begins, and the engine that it names further on.
_BROWSER = re.compile(r"mozilla/5\.0 \(.+\) .*(?:gecko|applewebkit)", re.IGNORECASE | re.DOTALL)
#: Fields by which a browser says that nobody has asked yet (Fetch; older ones of Firefox, Safari and Chrome).
_AHEAD = {
    "sec-purpose": ("prefetch", "prerender"),
    "purpose": ("prefetch", "preview"),
    "x-purpose": ("prefetch", "preview"),
    "x-moz": ("prefetch",),
}


def verdict_of(kind: HitKind, method: str, headers: Mapping[str, str]) -> Verdict:
    """What one request looks like; the names of `headers` are in small letters."""
    agent = headers.get("user-agent", "")[:_LONGEST_AGENT]
    if method == "HEAD" or _ahead(headers) or _MACHINES.search(agent) or _SAYS_NOTHING.fullmatch(agent.strip()):
        return Verdict.MACHINE
    if not headers.get("accept-language", "").strip():
        # every browser has it where somebody follows a link; programs that show mail may load images without
        return Verdict.MACHINE if kind is HitKind.CLICK else Verdict.UNKNOWN
    return Verdict.HUMAN if _BROWSER.match(agent) else Verdict.UNKNOWN


def _ahead(headers: Mapping[str, str]) -> bool:
    return any(word in headers.get(name, "").lower() for name, words in _AHEAD.items() for word in words)


@dataclass(frozen=True, slots=True)
class Click:
    """A click for telling bursts: which link, and when."""

    number: int
    at: dt.datetime


def in_bursts(clicks: Sequence[Click]) -> set[int]:
    """Which of one reader's clicks on one issue, given in their order of time, are some of many at once; by place."""
    found: set[int] = set()
    numbers: Counter[int] = Counter()
    first, done = 0, 0
    for last, click in enumerate(clicks):
        numbers[click.number] += 1
        while (click.at - clicks[first].at).total_seconds() > BURST_SECONDS:
            gone = clicks[first].number
            numbers[gone] -= 1
            if not numbers[gone]:
                del numbers[gone]
            first += 1
        if len(numbers) >= BURST_LINKS:
            found.update(range(max(first, done), last + 1))
            done = last + 1
    return found
