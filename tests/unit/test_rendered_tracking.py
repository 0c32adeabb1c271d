"""Counted links and the image of opens in a rendered issue: where they stand and where not, and what stays as it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import email
import email.policy
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_examples import ISSUE, PUBLICATION, SHIPPED, page, paragraph, story, write

from newsletter.issue.model import Issue, Link, Paragraph, Section
from newsletter.preflight.links import template_links
from newsletter.preflight.model import Examined
from newsletter.preflight.registry import examine
from newsletter.preflight.size import html_bytes
from newsletter.rendering.escaping import escape_value
from newsletter.rendering.holes import fill
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import HoleContext, Publication, RenderedIssue, Tracking
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.rendering.tracking import content_links, leads_elsewhere, with_parameters

REPORT = "https://example.org/report?a=1&b=2#part"
LAST = "https://example.org/q?x=(1)&y=2"
LINKED = Paragraph(
    text="A report, more, mail us, ours; prose with href in it.",
    html=(
        '<a href="https://example.org/report?a=1&amp;b=2#part">A report</a>, <a href="https://example.net/">more</a>, '
        '<a href="mailto:us@example.com">mail us</a>, <a href="https://news.example.com/about">ours</a>; prose: '
        'href="https://example.net/" is how it is written.'
    ),
    links=(
        Link(REPORT, "A report"),
        Link("https://example.net/", "more"),
        Link("mailto:us@example.com", "mail us"),
        Link("https://news.example.com/about", "ours"),
    ),
)
LINKS = dataclasses.replace(
    ISSUE,
    note=(LINKED,),
    sections=(
        Section(
            "Top News",
            (
                story("Ferries", "They run.", link="https://example.com/a?b=1&c=2"),
                story("Again", "The same.", link=REPORT),
                story("A Headline", link=LAST),
            ),
        ),
    ),
)
VALUES = {
    "name": "Ada",
    "email": "ada@example.com",
    "unsubscribe_url": "https://news.example.com/u/1",
    "preferences_url": "https://news.example.com/p/1",
    "view_url": "https://news.example.com/v",
    "track_token": "T" * 32,
    "open_image": "https://news.example.com/o/daily-buzz/2026-01-07/TOKEN.gif",
}
LETTERHEAD = Letterhead(
    sender="Daily Buzz <buzz@news.example.com>",
    reply_to="",
    list_id="",
    list_name="",
    feedback_id="",
    date=dt.datetime(2026, 1, 7, tzinfo=dt.UTC),
)
COUNTED = "https://news.example.com/c/daily-buzz/2026-01-07"


def rendered(
    tracking: Tracking, issue: Issue = LINKS, publication: Publication = PUBLICATION, inliner: str = "premailer"
) -> RenderedIssue:
    template = find_template("digest", [SHIPPED])
    return Renderer(template, publication, inliner=inliner, tracking=tracking).render(issue)


class _Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.images: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a":
            self.hrefs.append(found.get("href") or "")
        if tag == "img":
            self.images.append(found.get("src") or "")


def hrefs(html: str) -> list[str]:
    """The links that are the issue's, in the order of the mail."""
    own = {VALUES["unsubscribe_url"], VALUES["preferences_url"], VALUES["view_url"]}
    return [href for href in _Links(html).hrefs if href not in own]


@pytest.mark.parametrize("inliner", ["premailer", "css-inline"])
def test_every_link_of_the_issue_to_another_site_is_counted_and_no_other(inliner: str) -> None:
    mail = rendered(Tracking(clicks=True), inliner=inliner)
    assert mail.links == (
        REPORT,
        "https://example.net/",
        "https://example.com/a?b=1&c=2",
        LAST,
    )
    assert hrefs(fill(mail.html, VALUES)) == [
        f"{COUNTED}/1",
        f"{COUNTED}/2",
        "mailto:us@example.com",
        "https://news.example.com/about",
        f"{COUNTED}/3",
        f"{COUNTED}/1",
        f"{COUNTED}/4",
    ]
    assert 'prose: href="https://example.net/" is how it is written' in mail.html.template, "text is no link"
    assert "Read on example.com" in mail.html.template, "the words name where the link leads"
    assert mail.text == rendered(Tracking()).text
    assert "/c/" not in mail.text.template


def test_without_tracking_the_bytes_and_the_hash_are_as_if_there_were_none() -> None:
    plain = Renderer(find_template("digest", [SHIPPED]), PUBLICATION).render(LINKS)
    assert rendered(Tracking()) == plain
    assert (plain.links, plain.direct_html, plain.public_html) == ((), plain.html, plain.html)
    # who is counted does not matter where nothing is
    assert rendered(Tracking(per_person=True)).html == plain.html


@pytest.mark.parametrize(
    "tracking",
    [
        Tracking(clicks=True),
        Tracking(clicks=True, per_person=True),
        Tracking(opens=True),
        Tracking(utm=(("source", "buzz"),)),
        Tracking(True, True, True, (("source", "buzz"), ("utm_medium", "e mail"))),
    ],
)
def test_what_is_for_everybody_has_no_trace_of_it_and_the_rest_of_the_page_is_the_same(tracking: Tracking) -> None:
    mail, plain = rendered(tracking), rendered(Tracking())
    assert hrefs(fill(mail.public_html, VALUES)) == hrefs(fill(plain.html, VALUES))
    assert mail.public_html.holes == plain.html.holes
    assert _without_links(mail.public_html.template) == _without_links(plain.html.template)
    assert _without_links(mail.direct_html.template) == _without_links(plain.html.template)
    assert mail.content_hash != plain.content_hash, "what was approved without it was not this"
    again = rendered(tracking)
    assert (again.html, again.links, again.content_hash) == (mail.html, mail.links, mail.content_hash)


def _without_links(html: str) -> str:
    return re.sub(r'href="[^"]*"', 'href=""', html)


def test_a_test_leads_straight_to_where_the_counted_links_lead() -> None:
    mail = rendered(Tracking(clicks=True, opens=True, per_person=True, utm=(("source", "buzz"),)))
    direct = fill(mail.direct_html, VALUES)
    [first, *_] = hrefs(direct)
    assert first == "https://example.org/report?a=1&b=2&utm_source=buzz#part" == mail.links[0]
    assert set(mail.links) <= set(hrefs(direct))
    assert _Links(direct).images == []
    assert "TTTT" not in direct


def test_per_person_each_link_has_the_token_and_nothing_else_of_the_person() -> None:
    mail = rendered(Tracking(clicks=True, per_person=True))
    counted = [href for href in hrefs(fill(mail.html, VALUES)) if "/c/" in href]
    assert counted == [f"{COUNTED}/{number}/{'T' * 32}" for number in (1, 2, 3, 1, 4)]
    assert (
        html_bytes(mail.html)
        == len(
            fill(
                mail.html, VALUES | {name: "u" * 160 for name in VALUES if name.endswith("_url")} | {"email": "e" * 24}
            )
            .replace(">uuu", ">")
            .encode()
        )
        + sum(hole.context is HoleContext.HTML_URL for hole in mail.html.holes) * 160
    )


def test_the_size_that_preflight_sees_is_that_of_what_is_sent() -> None:
    plain, counted = rendered(Tracking()), rendered(Tracking(clicks=True, opens=True, per_person=True))
    more = len(fill(counted.html, VALUES)) - len(fill(plain.html, VALUES))
    assert abs(html_bytes(counted.html) - html_bytes(plain.html) - more) < 120


def test_preflight_looks_at_the_links_as_they_were_written() -> None:
    tracking = Tracking(clicks=True, opens=True, per_person=True, utm=(("source", "buzz"),))
    local = dataclasses.replace(PUBLICATION, base_url="http://localhost:8000")
    broken = dataclasses.replace(LINKS, sections=(Section("A", (story("B", link="http://10.0.0.1/x"),)),))
    for issue in (LINKS, broken):
        plain = Examined(issue, rendered(Tracking(), issue, local), local)
        tracked = Examined(issue, rendered(tracking, issue, local), local)
        assert [one for one in examine(tracked) if one.id != "html-size"] == [
            one for one in examine(plain) if one.id != "html-size"
        ]
        found = [element.get("href") for element in template_links(tracked)]
        assert not [href for href in found if href and ("/c/" in href or "utm_" in href)]


def test_numbers_are_those_of_the_issue_in_every_variant(tmp_path: Path) -> None:
    content = (
        "{% for section in sections if subscriber.tier == 'gold' or section.title == 'b' %}"
        "{% for story in section.stories %}"
        '<a href="{{ story.link }}">{{ story.headline }}</a>{% endfor %}{% endfor %}'
    )
    write(tmp_path, {"issue.mjml.j2": page(content), "template.toml": 'fields = ["tier"]'})
    sections = tuple(Section(name, (story(name, link=f"https://example.com/{name}"),)) for name in ("a", "b"))
    issue = dataclasses.replace(ISSUE, note=(), sections=sections)
    renderer = Renderer(find_template("mine", [tmp_path]), PUBLICATION, tracking=Tracking(clicks=True))
    all_of_it, some = renderer.render(issue, (("tier", "gold"),)), renderer.render(issue, (("tier", ""),))
    assert all_of_it.links == some.links == ("https://example.com/a", "https://example.com/b")
    assert hrefs(fill(all_of_it.html, VALUES)) == [f"{COUNTED}/1", f"{COUNTED}/2"]
    assert hrefs(fill(some.html, VALUES)) == [f"{COUNTED}/2"]


def test_buttons_and_what_only_outlook_sees_count_too(tmp_path: Path) -> None:
    content = (
        "</mj-text><mj-button href='{{ sections[0].stories[0].link }}' title=' href=\"https://example.com/x\"'>Go"
        '</mj-button><mj-text><!--[if mso]><a href="{{ sections[0].stories[0].link }}">Outlook</a><![endif]-->'
    )
    write(tmp_path, {"issue.mjml.j2": page(content)})
    issue = dataclasses.replace(
        ISSUE, note=(paragraph("x"),), sections=(Section("A", (story("B", link="https://example.com/x"),)),)
    )
    renderer = Renderer(find_template("mine", [tmp_path]), PUBLICATION, tracking=Tracking(clicks=True))
    mail = renderer.render(issue)
    assert mail.html.template.count(f'href="{COUNTED}/1"') == 2
    assert mail.public_html.template.count('href="https://example.com/x"') == 2


def test_an_issue_of_more_links_than_anybody_reads_is_still_rendered() -> None:
    stories = tuple(story(f"S{number}", link=f"https://example.com/{number}") for number in range(1200))
    issue = dataclasses.replace(ISSUE, note=(), sections=(Section("A", stories),))
    mail = rendered(Tracking(clicks=True), issue)
    assert len(mail.links) == 900
    assert f'href="{COUNTED}/900"' in mail.html.template
    assert 'href="https://example.com/900"' in mail.html.template, "the rest leads straight there"


CONSENTED = VALUES["open_image"]


def test_the_image_is_the_last_thing_in_the_body_and_only_for_who_consented() -> None:
    mail, plain = rendered(Tracking(opens=True)), rendered(Tracking())
    with_it, without = fill(mail.html, VALUES), fill(mail.html, VALUES | {"open_image": ""})
    assert without == fill(plain.html, VALUES), "nobody else has any trace of it"
    image = f'<img src="{CONSENTED}" width="1" height="1" alt="" style="display:block">'
    assert re.search(re.escape(image) + r"\s*</body>\s*</html>\s*\Z", with_it)
    assert with_it.replace(image, "") == without
    assert _Links(with_it).images == [CONSENTED]


def test_in_a_message_the_image_stands_between_its_segments_as_it_is() -> None:
    encoder = MessageEncoder(rendered(Tracking(clicks=True, opens=True, per_person=True)), LETTERHEAD)

    def html_of(values: dict[str, str]) -> str:
        message = encoder.message(
            to_address="a@example.com",
            to_name="",
            message_id="<1@example.com>",
            unsubscribe_url="https://news.example.com/u/1",
            values=values,
        )
        parsed = email.message_from_bytes(message, policy=email.policy.default)
        part = parsed.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    first, second, third = html_of(VALUES), html_of(VALUES | {"open_image": ""}), html_of(VALUES)
    assert _Links(first).images == [CONSENTED]
    assert (_Links(second).images, "/o/" in second) == ([], False)
    assert third == first
    assert f"{COUNTED}/1/{'T' * 32}" in first


@pytest.mark.parametrize(
    ("value", "context", "written"),
    [
        ("aB-_9", HoleContext.URL_PART, "aB-_9"),
        ("a/b", HoleContext.URL_PART, ""),
        ('"><script>', HoleContext.URL_PART, ""),
        ("", HoleContext.IMAGE, ""),
        ("javascript:alert(1)", HoleContext.IMAGE, ""),
        (
            'https://x.example/"><script>',
            HoleContext.IMAGE,
            '<img src="https://x.example/%22%3E%3Cscript%3E" width="1" height="1" alt="" style="display:block">',
        ),
    ],
)
def test_no_value_breaks_out_of_its_place(value: str, context: HoleContext, written: str) -> None:
    assert escape_value(value, context) == written


UTM = (("source", "daily buzz"), ("utm_medium", "email"))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://e.com", "https://e.com?utm_source=daily%20buzz&utm_medium=email"),
        ("https://e.com/a#b?c", "https://e.com/a?utm_source=daily%20buzz&utm_medium=email#b?c"),
        ("https://e.com/?", "https://e.com/?utm_source=daily%20buzz&utm_medium=email"),
        ("https://e.com/?a=%20+&b", "https://e.com/?a=%20+&b&utm_source=daily%20buzz&utm_medium=email"),
        ("https://e.com/?a&", "https://e.com/?a&utm_source=daily%20buzz&utm_medium=email"),
        ("https://e.com/?utm_source=", "https://e.com/?utm_source=&utm_medium=email"),
        ("https://e.com/?utm_source=x&utm_medium=y#z", "https://e.com/?utm_source=x&utm_medium=y#z"),
    ],
)
def test_parameters_come_behind_those_that_are_there_and_never_over_them(url: str, wanted: str) -> None:
    assert with_parameters(url, UTM) == wanted


@given(st.text(alphabet="abc=&?#%+/;", max_size=30), st.dictionaries(st.text("ab", min_size=1), st.text(max_size=5)))
def test_whatever_the_url_its_own_parts_stay_and_adding_twice_adds_nothing(rest: str, utm: dict[str, str]) -> None:
    url, pairs = f"https://example.com/{rest}", tuple(utm.items())
    once = with_parameters(url, pairs)
    assert with_parameters(once, pairs) == once
    before, after = urlsplit(url), urlsplit(once)
    assert (after.netloc, after.path, after.fragment) == (before.netloc, before.path, before.fragment)
    assert after.query.startswith(before.query)
    there = dict(parse_qsl(after.query, keep_blank_values=True))
    assert {f"utm_{name}" for name in utm} <= there.keys()


def test_parameters_are_added_without_counting_too() -> None:
    mail = rendered(Tracking(utm=UTM))
    assert mail.links == ()
    assert hrefs(fill(mail.html, VALUES))[:2] == [
        with_parameters(REPORT, UTM),
        with_parameters("https://example.net/", UTM),
    ]
    assert "/c/" not in mail.html.template
    assert "utm_" not in mail.text.template


@pytest.mark.parametrize(
    ("url", "base", "elsewhere"),
    [
        ("https://news.example.com/x", "https://news.example.com", False),
        ("https://NEWS.example.com/x", "https://news.example.com", False),
        ("https://news.example.com.evil.example/x", "https://news.example.com", True),
        ("https://example.com/news/x", "https://example.com/news", False),
        ("https://example.com/news", "https://example.com/news/", False),
        ("https://example.com/newsroom", "https://example.com/news", True),
        ("http://e.example:81/", "http://e.example:82", True),
        ("mailto:a@b.example", "https://e.example", False),
        ("https://[bad/", "https://e.example", False),
        ("/relative", "https://e.example", False),
    ],
)
def test_what_is_another_site(url: str, base: str, elsewhere: bool) -> None:
    assert leads_elsewhere(url, base) is elsewhere


def test_an_address_that_would_break_out_of_its_attribute_is_written_so_that_it_cannot() -> None:
    odd = "https://example.org/q?x=\"><b>'&y=é"
    issue = dataclasses.replace(ISSUE, note=(), sections=(Section("A", (story("B", link=odd),)),))
    mail = rendered(Tracking(utm=UTM), issue)
    assert hrefs(fill(mail.public_html, VALUES)) == [odd]
    assert hrefs(fill(mail.html, VALUES)) == [
        "https://example.org/q?x=%22%3E%3Cb%3E'&y=%C3%A9&utm_source=daily%20buzz&utm_medium=email"
    ]


def test_targets_are_such_as_a_location_header_can_carry() -> None:
    hostile = ["https://münchen.example/ä b", "https://e.example/\u202e", "https://e.example/" + "x" * 3000]
    issue = dataclasses.replace(
        ISSUE, note=(), sections=(Section("A", tuple(story("B", link=one) for one in hostile)),)
    )
    found = [one.target for one in content_links(issue, PUBLICATION, Tracking(clicks=True))]
    assert found == ["https://xn--mnchen-3ya.example/%C3%A4%20b", "https://e.example/"]
