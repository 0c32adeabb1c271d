"""The page of a dry run as HTML: what it shows, and the copies of the mail in its frames."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.audience.model import Audience, Excluded, Exclusion, Member
from newsletter.delivery.model import Tally
from newsletter.errors import TemplateError
from newsletter.issue.model import Issue
from newsletter.pipeline.mail_frames import Scheme, framed, images_to_load, mail_frames
from newsletter.pipeline.preview_page import EXCLUDED_SHOWN, QUOTED, REASONS, PreviewFacts, preview_page, size_bar
from newsletter.preflight.model import Finding, Level

TEMPLATES = Path(__file__).parents[2] / "templates"

MAIL = """<!doctype html>
<html><head><meta name="color-scheme" content="light dark"><style>
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media screen and ( prefers-color-scheme:dark ) { p { color: #fff !important; } }
@media (PREFERS-COLOR-SCHEME: light) { p { color: #000; } }
</style></head><body><p>Write @media (prefers-color-scheme: dark) and color-scheme: light dark.</p>
<picture><source media="(prefers-color-scheme: dark)" srcset="d.png"><img src="https://example.org/l.png" alt="l">
</picture>
<a href="#s1">Top News</a> <a href="https://example.org/#s1">out</a></body></html>"""

ISSUE = Issue(
    title="Daily Buzz: 7 January 2026",
    date=dt.date(2026, 1, 7),
    source="issues/2026-01-07.txt",
    source_lines=("Daily Buzz: 7 January 2026", "  Top <News> & More  ", "x" * 500),
)
FACTS = PreviewFacts(
    title=ISSUE.title,
    run="daily-buzz/2026-01-07",
    subject="The subject",
    preheader="The preheader",
    issue=ISSUE,
    html=MAIL,
    text="\n  first line\nsecond line\n",
    headers=(("From", "Daily Buzz <buzz@news.example.com>"), ("List-Unsubscribe", "<https://news.example.com/u/1>")),
    html_bytes=30 * 1024,
    text_bytes=2 * 1024,
    findings=(),
    checks_passed=40,
    audience=Audience(1, members=(Member(1, "ada@example.com", "ada@example.com", "Ada"),)),
    tally=Tally(planned=1, accepted=1, batches=1),
    content_hash="c0ffee" * 10 + "beef",
    provider="disk",
    recipient="ada@example.com",
)


class Outline(HTMLParser):
    """The tags of a page in order, its visible text, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.srcdocs: list[str] = []
        self.pieces: list[str] = []
        self.feed(page)
        self.close()
        self.text = " ".join("".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(" ".join([tag, *(name for name, _ in attrs)]))
        self._part(tag)
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]
        self.srcdocs += [value or "" for name, value in attrs if name == "srcdoc"]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")
        self._part(tag)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def _part(self, tag: str) -> None:
        """A space where the page parts words by other means: cells, blocks, flex items."""
        if tag not in {"a", "b", "bdi", "code"}:
            self.pieces.append(" ")


def outline(facts: PreviewFacts = FACTS, **changes: object) -> Outline:
    changed = dataclasses.replace(facts, **changes)  # type: ignore[arg-type]  # each test names fields of its own
    return Outline(preview_page(changed, [TEMPLATES]))


def leaving_out(count: int) -> Audience:
    excluded = tuple(
        Excluded(f"gone.{n}@example.org", Exclusion.PENDING, "no consent is recorded", f"old.csv:{n}")
        for n in range(1, min(count, EXCLUDED_SHOWN) + 1)
    )
    return Audience(1, {Exclusion.PENDING: count}, FACTS.audience.members, excluded)


def test_the_same_facts_give_the_same_bytes_wherever_the_templates_stand(tmp_path: Path) -> None:
    for folder in ("preview", "languages"):
        shutil.copytree(TEMPLATES / folder, tmp_path / "elsewhere" / folder)
    assert preview_page(FACTS, [TEMPLATES]) == preview_page(FACTS, [tmp_path / "elsewhere"])


def test_the_page_starts_with_its_doctype_and_a_policy_that_lets_nothing_load() -> None:
    page = preview_page(FACTS, [TEMPLATES])
    assert page.startswith("<!DOCTYPE html>")
    [policy] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert not {"script-src", "connect-src"} & rules.keys()
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_findings_are_grouped_the_worst_first_with_the_line_they_point_at() -> None:
    findings = (
        Finding("some-note", Level.INFO, "a note"),
        Finding("some-warning", Level.WARN, "a warning", "Mend it.", line=2),
        Finding("other-warning", Level.WARN, "another", line=3),
        Finding("some-error", Level.ERROR, "an error", line=99),
    )
    page = outline(findings=findings, checks_passed=36)
    said = [
        "36 passed 1 error 2 warnings 1 remark",
        "A live send would be refused",
        "Error an error some-error issues/2026-01-07.txt:99 |",
        "Warning a warning some-warning issues/2026-01-07.txt:2 | Top <News> & More Mend it.",
        f"issues/2026-01-07.txt:3 | {'x' * QUOTED}…",
        "Remark a note some-note",
    ]
    places = [page.text.find(text) for text in said]
    assert -1 not in places, said[places.index(-1)]
    assert places == sorted(places)
    assert "x" * (QUOTED + 1) not in page.text


def test_an_issue_without_findings_is_said_to_be_sound() -> None:
    page = outline()
    assert "All passed 40 checks" in page.text
    assert "40 passed Nothing to mend." in page.text
    assert "refused" not in page.text


@pytest.mark.parametrize(
    ("size", "level", "percent"),
    [
        (0, Level.INFO, 0.0),
        (51 * 1024, Level.INFO, 50.0),
        (90 * 1024 - 1, Level.INFO, 88.2),
        (90 * 1024, Level.WARN, 88.2),
        (100 * 1024, Level.ERROR, 98.0),
        (300 * 1024, Level.ERROR, 100.0),
    ],
)
def test_the_size_stands_against_gmails_limit_at_the_levels_of_the_check(
    size: int, level: Level, percent: float
) -> None:
    bar = size_bar(size)
    assert (bar.level, bar.percent) == (level, percent)


def test_a_mail_beyond_the_limit_is_said_to_be_cut() -> None:
    assert "29 % used" in outline(html_bytes=30 * 1024).text
    page = outline(html_bytes=103 * 1024)
    assert "103.0 KB of the 102 KB" in page.text
    assert "Gmail would cut the end off" in page.text


def test_everyone_left_out_is_named_with_the_reason_up_to_a_limit() -> None:
    page = outline(audience=leaving_out(EXCLUDED_SHOWN))
    assert "1 of 201 on the lists get this issue; 200 do not" in page.text
    assert f"200 pending – {REASONS[Exclusion.PENDING]}" in page.text
    assert "gone.200@example.org pending no consent is recorded old.csv:200" in page.text
    assert "more in excluded.csv" not in page.text


def test_beyond_the_limit_the_page_says_how_many_more_and_where_they_stand() -> None:
    many = leaving_out(EXCLUDED_SHOWN + 1234)
    page = outline(audience=many)
    assert page.text.count("gone.") == EXCLUDED_SHOWN
    assert "1,234 more in excluded.csv, which has all." in page.text
    assert "1,234 more." in outline(audience=many, files=("issue.html",)).text


def test_every_reason_has_words_of_its_own() -> None:
    assert REASONS.keys() == set(Exclusion)
    excluded = tuple(Excluded("x@example.org", one, "", "") for one in Exclusion)
    everybody = Audience(0, dict.fromkeys(Exclusion, 1), excluded=excluded)
    text = outline(audience=everybody).text
    assert all(f"1 {reason} – {meaning}" in text for reason, meaning in REASONS.items())


def test_an_empty_audience_still_makes_a_page_without_a_link_to_a_message() -> None:
    page = outline(audience=Audience(0), tally=Tally(planned=0))
    assert "0 of 0 on the lists get this issue" in page.text
    assert "the audience is empty" in page.text
    assert "0 messages in 0 batches" in page.text
    assert "issue.html" in page.links
    assert not [link for link in page.links if link.startswith("messages/")]


def test_the_files_beside_the_page_are_linked_relative_to_it() -> None:
    beside = [link for link in outline(files=("issue.html", "messages/0001.eml", "a b?#.csv")).links if link[0] != "#"]
    assert beside == ["issue.html", "messages/0001.eml", "a%20b%3F%23.csv"]


def test_what_the_provider_did_not_take_is_said_with_its_reasons() -> None:
    tally = Tally(planned=9, accepted=1, rejected=3, busy=2, unknown=3, batches=2, reasons={"550 no such user": 3})
    said = "1 message in 2 batches went to the provider “disk”; 3 rejected; 2 not accepted for now; 3 unknown."
    assert f"{said} 3: 550 no such user" in outline(tally=tally).text


def test_the_text_part_is_shown_to_the_last_blank() -> None:
    page = preview_page(FACTS, [TEMPLATES])
    # HTML drops one line break right after <pre>
    assert f"<pre>\n{FACTS.text}</pre>" in page


def test_subject_and_sender_stand_as_in_an_inbox() -> None:
    assert "Daily Buzz The subject – The preheader" in outline().text
    assert "buzz@news.example.com The subject" in outline(headers=(("from", "buzz@news.example.com"),)).text
    assert "The subject" in outline(headers=()).text


def test_the_projects_own_template_comes_first_and_its_mistakes_are_named(tmp_path: Path) -> None:
    own = tmp_path / "preview" / "index.html.j2"
    own.parent.mkdir()
    own.write_text("<title>{{ facts.title }}</title>{% include 'page.css' %}")
    page = preview_page(FACTS, [tmp_path, TEMPLATES])
    assert page.startswith("<title>Daily Buzz: 7 January 2026</title>")
    assert "--canvas: #f3f4f1" in page
    own.write_text("<p>\n{{ facts.titel }}")
    with pytest.raises(TemplateError, match="titel") as caught:
        preview_page(FACTS, [tmp_path, TEMPLATES])
    assert caught.value.place is not None
    assert (Path(caught.value.place.path).name, caught.value.place.line) == ("index.html.j2", 2)


ANYTHING = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.lists(st.sampled_from([*"<>\"'&/=-!{}%#;]", "script", "pre", "--", "\ud800", "\0", "{{", "&lt;"])).map("".join),
)


@settings(max_examples=50)
@given(text=ANYTHING)
def test_no_text_of_an_issue_or_a_subscriber_changes_the_tags_of_the_page(text: str) -> None:
    def with_text(value: str) -> PreviewFacts:
        value = f"x{value}"
        return dataclasses.replace(
            FACTS,
            title=value,
            run=value,
            subject=value,
            preheader=value,
            issue=dataclasses.replace(ISSUE, edition=value, source=value, source_lines=(value,)),
            html=value,
            text=value,
            headers=(("From", value), (value, value)),
            findings=tuple(Finding(value, level, value, value, 1) for level in Level),
            audience=Audience(
                1,
                {Exclusion.INVALID: 1},
                (Member(1, "k", value, value),),
                (Excluded(value, Exclusion.INVALID, value, value),),
            ),
            tally=Tally(planned=1, reasons={value: 1}),
            content_hash=value,
            provider=value,
            recipient=value,
        )

    page = preview_page(with_text(text), [TEMPLATES])
    page.encode("utf-8")
    assert Outline(page).tags == outline(with_text("plain")).tags


def test_each_frame_holds_the_mail_whole_in_its_scheme() -> None:
    frames = mail_frames(MAIL)
    assert [(frame.scheme, frame.device.width) for frame in frames] == [
        (Scheme.LIGHT, 700),
        (Scheme.LIGHT, 375),
        (Scheme.DARK, 700),
        (Scheme.DARK, 375),
    ]
    assert outline().srcdocs == [frame.srcdoc for frame in frames]
    assert len({frame.title for frame in frames}) == 4


@pytest.mark.parametrize(("scheme", "dark", "light"), [("light", "max", "min"), ("dark", "min", "max")])
def test_a_framed_mail_no_longer_asks_for_the_viewers_scheme(scheme: str, dark: str, light: str) -> None:
    shown = framed(MAIL, Scheme(scheme))
    assert f"@media screen and ({dark}-width: 0) {{ p {{ color: #fff !important; }} }}" in shown
    assert f"@media ({light}-width: 0) {{ p {{ color: #000; }} }}" in shown
    assert f'<source media="({dark}-width: 0)"' in shown
    assert f":root {{ color-scheme: {scheme}; supported-color-schemes: light dark; }}" in shown
    assert f'<meta name="color-scheme" content="{scheme}">' in shown


def test_what_the_mail_says_about_schemes_in_its_text_stays_as_it_was_written() -> None:
    assert "<p>Write @media (prefers-color-scheme: dark) and color-scheme: light dark.</p>" in framed(MAIL, Scheme.DARK)


def test_a_mail_that_is_light_only_stays_light_in_the_dark() -> None:
    mail = '<meta name="color-scheme" content="light only"><style>:root { color-scheme: only light }</style><p>x</p>'
    assert framed(mail, Scheme.DARK).endswith(mail)


def test_links_leave_the_frame_but_those_to_its_own_anchors() -> None:
    shown = framed(MAIL, Scheme.LIGHT)
    assert '<a target="_self" href="about:srcdoc#s1">' in shown
    assert '<a href="https://example.org/#s1">' in shown


@pytest.mark.parametrize(
    ("mail", "start"),
    [
        ("<!doctype html>\n<html><HEAD lang='en'><title>x</title>", "<!doctype html>\n<html><HEAD lang='en'><base "),
        ("<!DOCTYPE html><header>x</header>", "<!DOCTYPE html><base "),
        ("plain", "<base "),
        ("", "<base "),
    ],
)
def test_nothing_is_put_before_the_doctype(mail: str, start: str) -> None:
    assert framed(mail, Scheme.LIGHT).startswith(start)


def test_images_that_the_frames_leave_out_are_counted_on_the_page() -> None:
    assert images_to_load(MAIL) == 1
    assert "1 image is not loaded here" in outline().text
    assert images_to_load('<img alt="x" src="data:image/png;base64,x"><p>img src="https://x"</p>') == 0
    assert "loaded here" not in outline(html="<p>no image</p>").text
