"""The default template in Chromium: narrow and wide, light and dark, with and without `<style>`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import premailer
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it publishes no types
from mail_pages import MailPage, open_mail, without_style
from page_checks import contrast, everything, follows_scheme, overflow
from playwright.sync_api import Browser
from written_issues import CHART, HOLE_VALUES, PUBLICATION, everyday_issue, full_issue

from newsletter.issue.model import Issue
from newsletter.rendering import render as render_module
from newsletter.rendering.holes import fill
from newsletter.rendering.model import Publication
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

TEMPLATES = Path(__file__).parents[2] / "templates"
WIDTHS = (320, 375, 480, 481, 700, 1200)
SCHEMES = ("light", "dark")
ISSUES = {"everyday": everyday_issue, "full": full_issue}


def mail(issue: Issue, publication: Publication = PUBLICATION) -> str:
    """The issue as one recipient gets it."""
    template = find_template("digest", [TEMPLATES])
    return fill(Renderer(template, publication).render(issue).html, HOLE_VALUES)


@pytest.fixture(scope="session")
def mails(browser: Browser) -> Mapping[tuple[str, str], MailPage]:
    """A tab for each issue, once with its styles and once without."""
    images = frozenset({CHART})
    pages = {}
    for name, written in ISSUES.items():
        html = mail(written())
        pages[name, "styled"] = open_mail(browser, html, images=images)
        pages[name, "stripped"] = open_mail(browser, without_style(html), images=images)
    return pages


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("style", ["styled", "stripped"])
@pytest.mark.parametrize("issue", ISSUES)
def test_it_reads_well_at_any_width_in_both_schemes_even_without_style(
    mails: Mapping[tuple[str, str], MailPage], issue: str, style: str, scheme: str, width: int
) -> None:
    assert everything(mails[issue, style].resize(width, scheme), styled=style == "styled") == []


@pytest.mark.parametrize("style", ["styled", "stripped"])
@pytest.mark.parametrize("issue", ISSUES)
def test_it_survives_the_forced_inversion_of_its_light_colours(
    mails: Mapping[tuple[str, str], MailPage], issue: str, style: str
) -> None:
    assert contrast(mails[issue, style].resize(375, "light"), inverted=True) == []


@pytest.mark.parametrize("issue", ISSUES)
def test_it_asks_the_network_for_nothing_but_its_images(mails: Mapping[tuple[str, str], MailPage], issue: str) -> None:
    for style in ("styled", "stripped"):
        opened = mails[issue, style]
        for scheme in SCHEMES:
            opened.resize(375, scheme).wait_for_load_state("networkidle")
        assert opened.requests == []


@pytest.mark.parametrize("width", [375, 700])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("issue", ISSUES)
def test_axe_finds_no_violation_of_wcag_a_and_aa(
    mails: Mapping[tuple[str, str], MailPage], issue: str, scheme: str, width: int
) -> None:
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = Axe().run(mails[issue, "styled"].resize(width, scheme), options={"runOnly": rules}).response
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
    assert {one["id"] for one in found["passes"]} >= {"color-contrast", "html-has-lang", "link-name", "document-title"}


def test_each_check_finds_what_it_is_there_to_find(browser: Browser) -> None:
    """A page with one fault for each check, and a picture that it must not ask for."""
    page = """<html><body style="margin: 0"><div class="k m" style="width: 500px; background-color: #eeeeee">
        <p style="color: #888888">Grey on grey</p><a href="#nowhere" style="text-decoration: none">Nowhere</a>
        <img src="https://tracker.example.org/pixel.png" alt=""></div></body></html>"""
    opened = open_mail(browser, page)
    faults = " / ".join(everything(opened.resize(375, "light"), styled=True))
    for fault in (
        "quirks mode",
        'class="k m"> reaches over the right edge',
        "the page scrolls sideways",
        "the card is 500 px wide",
        '"Grey on grey" is 3.',
        "#nowhere does not lead to one element",
        " px high",
        '"Nowhere" is not underlined',
        "the card is rgb(238, 238, 238)",
    ):
        assert fault in faults
    assert opened.requests == ["https://tracker.example.org/pixel.png"]
    opened.page.close()


def test_it_can_be_read_from_right_to_left(browser: Browser) -> None:
    html = mail(full_issue(), dataclasses.replace(PUBLICATION, language="ar"))
    opened = open_mail(browser, html, images=frozenset({CHART}))
    page = opened.resize(375, "light")
    assert overflow(page) == []
    title = page.locator("h1")
    assert title.evaluate("e => [getComputedStyle(e).direction, getComputedStyle(e).textAlign]") == ["rtl", "right"]
    page.close()


def test_these_checks_would_notice_the_css_inliner_with_its_defaults(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutation: premailer's own defaults strip `!important`, and the dark rules lose to the inline styles."""

    def with_defaults(html: str, css: str) -> str:
        unmarked = html.replace(' data-premailer="ignore"', "")
        return str(premailer.Premailer(unmarked, css_text=[css]).transform())

    monkeypatch.setattr(render_module, "INLINERS", {"premailer": with_defaults})
    opened = open_mail(browser, mail(everyday_issue()))
    page = opened.resize(375, "dark")
    assert follows_scheme(page) == ["the card is rgb(255, 255, 255), not rgb(23, 25, 29)"]
    assert contrast(page) != []
    page.close()
