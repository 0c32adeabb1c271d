"""Whether a reader or a machine asked for a link or an image."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.events.tracking import HitKind, Verdict
from newsletter.events.verdicts import BURST_LINKS, BURST_SECONDS, Click, in_bursts, verdict_of

CLICK, OPEN = HitKind.CLICK, HitKind.OPEN
HUMAN, MACHINE, UNKNOWN = Verdict
NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
_SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
BROWSERS = [
    _CHROME,
    f"{_CHROME} Edg/120.0.0.0",
    f"{_SAFARI} Version/17.2 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.6.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36",
]
MACHINES = [
    "Mozilla/5.0",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "BarracudaCentral/1.0",
    "Mimecast URL Protection",
    "Microsoft Office Existence Discovery",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    f"{_CHROME} BingPreview/1.0b",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "Wget/1.21",
    "python-requests/2.31.0",
    "Python-urllib/3.11",
    "Go-http-client/2.0",
    "Java/17.0.9",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
]


def headers(agent: str = BROWSERS[0], **others: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in others.items()}
    return {"user-agent": agent, "accept-language": "en-GB,en;q=0.9"} | named


@pytest.mark.parametrize("agent", BROWSERS)
def test_an_ordinary_browser_is_taken_for_a_reader(agent: str) -> None:
    assert verdict_of(CLICK, "GET", headers(agent)) is HUMAN
    assert verdict_of(OPEN, "GET", headers(agent)) is HUMAN


@pytest.mark.parametrize("agent", MACHINES)
def test_scanners_proxies_and_programs_are_machines_by_what_they_say(agent: str) -> None:
    assert verdict_of(CLICK, "GET", headers(agent)) is MACHINE
    assert verdict_of(OPEN, "GET", headers(agent)) is MACHINE


@pytest.mark.parametrize(
    "said",
    [
        {"sec_purpose": "prefetch"},
        {"sec_purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x_purpose": "preview"},
        {"x_moz": "prefetch"},
    ],
)
def test_what_is_fetched_ahead_is_no_click(said: dict[str, str]) -> None:
    assert verdict_of(CLICK, "GET", headers(**said)) is MACHINE


def test_head_is_no_click() -> None:
    assert verdict_of(CLICK, "HEAD", headers()) is MACHINE


def test_without_a_language_a_click_is_a_machines_and_an_image_may_be_anybodys() -> None:
    assert verdict_of(CLICK, "GET", headers(accept_language=" ")) is MACHINE
    assert verdict_of(OPEN, "GET", headers(accept_language="")) is UNKNOWN


@pytest.mark.parametrize(
    "agent", ["", "Outlook-iOS/2.0", "Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Lynx/2.9"]
)
def test_of_others_nobody_can_tell(agent: str) -> None:
    assert verdict_of(CLICK, "GET", headers(agent)) is UNKNOWN


@given(st.dictionaries(st.sampled_from(["user-agent", "accept-language", "purpose", "x-moz"]), st.text()), st.text())
def test_any_headers_have_a_verdict(fields: dict[str, str], method: str) -> None:
    assert verdict_of(CLICK, method, fields) in Verdict


def clicks(*made: tuple[int, float]) -> list[Click]:
    return [Click(number, NOW + dt.timedelta(seconds=at)) for number, at in made]


def test_many_links_at_once_are_a_burst_and_the_same_link_again_is_none() -> None:
    assert in_bursts(clicks((1, 0), (2, 0.1), (3, 0.2))) == {0, 1, 2}
    assert in_bursts(clicks((1, 0), (1, 0.1), (1, 0.2), (2, 0.3))) == set()
    assert in_bursts(clicks((1, 0), (2, 0.9), (3, 1.8), (4, 2.7))) == set()
    assert in_bursts(clicks((9, -30), (1, 0), (2, 0.1), (3, 1.0), (4, 1.5), (8, 60))) == {1, 2, 3}
    assert in_bursts([]) == set()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), max_size=25))
def test_a_click_is_in_a_burst_if_some_second_around_it_has_enough_links(made: list[tuple[int, int]]) -> None:
    ordered = clicks(*((number, at / 10) for number, at in sorted(made, key=lambda one: one[1])))

    def enough(start: dt.datetime, one: Click) -> bool:
        inside = [other for other in ordered if 0 <= (other.at - start).total_seconds() <= BURST_SECONDS]
        return one in inside and len({other.number for other in inside}) >= BURST_LINKS

    wanted = {place for place, one in enumerate(ordered) if any(enough(start.at, one) for start in ordered)}
    assert in_bursts(ordered) == wanted


def test_a_flood_of_clicks_is_judged_in_no_time() -> None:
    """Whoever hammers a link must not keep the counting busy: this would take hours if each looked at all others."""
    flood = clicks(*((number % 7, number / 1_000_000) for number in range(200_000)))
    assert len(in_bursts(flood)) == 200_000


def test_a_name_that_is_made_to_be_long_costs_nothing() -> None:
    """The server looks at it between two other requests: it took eight seconds of all of them."""
    began = time.process_time()
    for agent in ("Mozilla/5.0 (" + ") " * 15_000, "mozilla/5.0 " * 2_500, "micro" * 6_000, " " * 30_000):
        assert verdict_of(CLICK, "GET", headers(agent)) is UNKNOWN
    assert time.process_time() - began < 2
