"""The whole way of a subscriber in Chromium: subscribe, confirm from the mail, read, set preferences, leave.

On a phone and on a desk, in light and dark; each page is looked at by axe-core and by our own checks on the way.
PICTURES=folder keeps a picture of each.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it publishes no types
from page_checks import TOUCH_TARGET, contrast, overflow, standards_mode
from playwright.sync_api import Browser, ConsoleMessage, Page, Request
from projects import SLOT
from public_sites import PublicSite, link_to, public_site

WIDTHS = (375, 1200)
SCHEMES = ("light", "dark")
LOOKS = [(width, scheme) for width in WIDTHS for scheme in SCHEMES]
ADDRESS = "{}.reader.of.{}@example.com"

_SMALL = """size => [...document.querySelectorAll('button, input:not([type=hidden]), select, a.button, label.check')]
  .filter(e => e.checkVisibility() && !e.closest('.hidden') && e.type !== 'checkbox')
  .filter(e => e.getBoundingClientRect().height < size)
  .map(e => `"${e.textContent.trim() || e.id}" is ${e.getBoundingClientRect().height} px high`)"""


@dataclass
class Reader:
    """One reader's browser. `asked` are the requests it made to anybody but the site; `said` what its console said."""

    page: Page
    look: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def looks(self, name: str, says: str) -> None:
        """The page that says this, as soon as it is there, checked; `name` is that of its picture."""
        page = self.page
        page.get_by_text(says).first.wait_for()
        if pictures := os.environ.get("PICTURES"):
            page.screenshot(path=Path(pictures) / f"{name}-{self.look}.png", full_page=True)
        self.seen.add(name)
        faults = [*standards_mode(page), *overflow(page), *contrast(page), *page.evaluate(_SMALL, TOUCH_TARGET)]
        assert faults == [], (name, self.look)
        found = Axe().run(page)
        assert found.violations_count == 0, (name, self.look, found.generate_report())
        assert page.context.cookies() == []
        assert page.locator("h1").count() == 1
        # of a page that comes with 4xx the browser says so, and that is no fault
        said = [one for one in self.said if "the server responded with a status of 4" not in one]
        assert (self.asked, said) == ([], []), (name, self.look)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    change = ('max_audience_change = "20%"', 'max_audience_change = "100%"')
    with public_site(tmp_path_factory.mktemp("public") / "project", change) as site:
        assert site.project.send().code == 0
        yield site


@contextmanager
def reader_of(browser: Browser, site: PublicSite, width: int, scheme: str) -> Iterator[Reader]:
    """axe-core needs scripts to be run in the page from outside; the pages' own are refused by their CSP, if there were
    any, and whether there are is asked by a test of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if scheme == "dark" else "light", bypass_csp=False
    )
    page = context.new_page()
    reader = Reader(page, f"{width}-{scheme}")

    def note(request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(site.url).netloc:
            reader.asked.append(request.url)

    def hear(message: ConsoleMessage) -> None:
        reader.said.append(message.text)

    page.on("request", note)
    page.on("console", hear)
    try:
        yield reader
    finally:
        context.close()


def test_the_whole_way_of_a_reader(browser: Browser, site: PublicSite) -> None:
    for width, scheme in LOOKS:
        address = ADDRESS.format(scheme, width)
        with reader_of(browser, site, width, scheme) as reader:
            subscribed(reader, site, address)
            reads_the_archive(reader, site)
    # the next issue goes to all of them
    later = site.project.folder / "issues" / "2026-01-08.txt"
    later.write_text(
        site.project.issue.read_text("utf-8").replace("7 January", "8 January") + "\nAnd this is new today.\n"
    )
    sent = site.project.call("send", "2026-01-08", "--confirm", str(12 + len(LOOKS)))
    assert sent.code == 0, sent.err
    for width, scheme in LOOKS:
        address = ADDRESS.format(scheme, width)
        with reader_of(browser, site, width, scheme) as reader:
            sets_preferences(reader, site, address)
            leaves(reader, site, address)
        shown = site.project.call("subscribers", "show", address, "--json").json
        assert shown["state"] == "unsubscribed"
        [consent] = shown["consents"]
        assert "one click" in consent["wording"]


def subscribed(reader: Reader, site: PublicSite, address: str) -> None:
    page = reader.page
    page.goto(site.url + "/")
    reader.looks("home", "All issues")
    page.get_by_role("link", name="Subscribe").click()
    reader.looks("subscribe", "Get Daily Buzz by mail")
    page.get_by_label("Your email address").fill("nobody@nowhere")
    page.get_by_label("Your name").fill("Ada <b>Reader</b>")
    page.get_by_role("button").click()
    reader.looks("subscribe-error", "That is no address")
    assert page.get_by_role("alert").is_visible()
    assert page.get_by_label("Your name").input_value() == "Ada <b>Reader</b>"
    page.get_by_label("Your email address").fill(address)
    page.get_by_role("button").click()
    reader.looks("subscribe-sent", "Check your inbox")
    assert page.get_by_role("heading", level=1).inner_text() == "Check your inbox"
    page.goto(link_to(site.mail(address), "/confirm/"))
    reader.looks("confirm", "Subscribe to Daily Buzz")
    assert address not in page.content()
    page.get_by_role("button").click()
    reader.looks("confirmed", "You are subscribed")
    assert page.get_by_role("heading", level=1).inner_text() == "You are subscribed"


def reads_the_archive(reader: Reader, site: PublicSite) -> None:
    page = reader.page
    page.get_by_role("link", name="Read earlier issues").click()
    reader.looks("archive", "All issues")
    page.get_by_role("link", name="7 January 2026").first.click()
    page.wait_for_url(f"{site.url}/archive/daily-buzz/{SLOT}")
    page.get_by_text("Top News").first.wait_for()
    if pictures := os.environ.get("PICTURES"):
        page.screenshot(path=Path(pictures) / f"issue-{reader.look}.png")
    assert overflow(page) == []
    assert "Harbor Nations" in page.content()
    assert reader.asked == []


def sets_preferences(reader: Reader, site: PublicSite, address: str) -> None:
    page = reader.page
    page.goto(link_to(site.mail(address, 2), "/preferences/"))
    reader.looks("preferences", "What we send to")
    assert address not in page.content()
    assert page.get_by_label("Name").input_value() == "Ada <b>Reader</b>"
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Time zone").fill("Europe/Nowhere")
    page.get_by_role("button", name="Save").click()
    reader.looks("preferences-error", "We do not know this time zone")
    page.get_by_label("Time zone").fill("Europe/Lisbon")
    page.get_by_role("button", name="Save").click()
    reader.looks("preferences-saved", "Saved.")
    assert page.get_by_role("status").is_visible()
    page.get_by_label("No mail until").fill((dt.datetime.now(dt.UTC) + dt.timedelta(days=30)).date().isoformat())
    page.get_by_role("button", name="Take a break").click()
    reader.looks("preferences-paused", "Your break is noted")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download my data").click()
    assert address in Path(download.value.path()).read_text("utf-8")
    page.get_by_role("link", name="Erase all my data").click()
    reader.looks("erase", "Erase all your data?")
    shown = site.project.call("subscribers", "show", address, "--json").json
    assert (shown["name"], shown["timezone"]) == ("Ada", "Europe/Lisbon")


def leaves(reader: Reader, site: PublicSite, address: str) -> None:
    page = reader.page
    mail = site.mail(address, 2)
    page.goto(str(mail["List-Unsubscribe"]).strip("<>"))
    reader.looks("unsubscribe", "Leave Daily Buzz?")
    assert address not in page.content()
    page.get_by_role("button", name="Unsubscribe").click()
    reader.looks("unsubscribed", "You have left Daily Buzz")
    link = link_to(mail, "/unsubscribe/")
    page.goto(link[:-1] + ("A" if link[-1] != "A" else "B"))
    reader.looks("not-found", "There is nothing here")


def test_every_page_works_without_a_script_and_has_none(browser: Browser, site: PublicSite) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url + "/subscribe/daily-buzz")
    assert "<script" not in page.content()
    page.get_by_label("Your email address").fill("no.script@example.com")
    page.get_by_role("button").click()
    page.goto(link_to(site.mail("no.script@example.com"), "/confirm/"))
    page.get_by_role("button").click()
    assert page.get_by_role("heading", level=1).inner_text() == "You are subscribed"
    context.close()
