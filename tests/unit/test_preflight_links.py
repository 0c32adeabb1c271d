"""Preflight of links, without any request."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preflight_examples import (
    MORNING,
    PUBLICATION,
    breach,
    clean,
    examined_of,
    issue_of,
    page_of,
    with_image,
    with_line,
    with_link,
    with_markup,
)

from newsletter.preflight.link_hosts import decoded_host
from newsletter.preflight.links import is_under, url_problem
from newsletter.preflight.model import Examined, Level

INFO, WARN, ERROR = Level

BROKEN = {
    "": "empty",
    "https://example.com/a b": "space",
    "https://example.com/{id}": "'{'",
    "https:///story": "no host",
    "https://": "no host",
    "htp://example.com": '"htp:"',
    "www.example.com/story": "https://",
    "/story": "https://",
    "https://https://example.com": "twice",
    "https://example": "no dot",
    "https://exam_ple..com/": "not the name of a host",
    "https://-example.com/": "not the name of a host",
    "https://example.com:8o80/": "cannot be read",
    "https://[::1/": "cannot be read",
    "javascript:alert(1)": '"javascript:"',
    "mailto:": "no mail address",
    "tel:": "no number",
}
SOUND = [
    "https://example.com",
    "https://example.com:8443/a/b?c=d&e=%20#f",
    "https://user@example.com/",
    "https://192.0.2.1/",
    "https://[2001:db8::1]/",
    "https://münchen.example/straße",
    "https://例え.example/",
    "https://example.com./",
    "http://localhost:8000/",
    "mailto:editor@example.com?subject=Hello%20there",
    "tel:+85212345678",
]


@pytest.mark.parametrize("url", BROKEN)
def test_a_link_that_cannot_be_followed_is_an_error_at_its_line(url: str) -> None:
    breach("link-syntax", examined_of(with_link(url)), ERROR, BROKEN[url], line=91)


@pytest.mark.parametrize("url", SOUND)
def test_links_that_can_be_followed_are_left_alone(url: str) -> None:
    clean("link-syntax", examined_of(with_link(url)))


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://[", "mailto:", "https://a.example/"]))
def test_any_text_is_either_a_sound_link_or_has_one_problem(text: str, start: str) -> None:
    problem = url_problem(start + text)
    assert isinstance(problem, str)
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Read [the report](https://example.com/report) of last week.", "Markdown"),
        ('Read <a href="https://example.com">the report</a> of last week.', "HTML"),
        ("Read it at htp://example.com/report of last week.", "htp://example.com/report"),
        ("Read it at http:/example.com/report of last week.", "http:/example.com/report"),
        ("Read it at https//example.com of last week.", "https//example.com"),
        ("Read it at https:// example.com of last week.", "https://"),
    ],
)
def test_what_was_meant_to_be_a_link_and_stayed_text_is_an_error(line: str, said: str) -> None:
    breach("link-syntax", examined_of(with_line(line)), ERROR, said, line=6)


@pytest.mark.parametrize(
    "line",
    [
        "Read it at https://example.com/report_(2026) of last week.",
        "The protocols http and https are 30 years old [and more] (so they say).",
        "It is a/b or <= c, and https is safer than http: that much is known.",
    ],
)
def test_addresses_in_running_text_are_no_leftovers(line: str) -> None:
    clean("link-syntax", examined_of(with_line(line)))


def test_broken_images_and_template_links_are_errors_too() -> None:
    breach("link-syntax", examined_of(with_image("images/bridge.png")), ERROR, "the image images/bridge.png", line=91)
    breach(
        "link-syntax",
        with_markup('<a href="/archive">Archive of the newsletter</a>'),
        ERROR,
        "the template's link /archive",
    )
    clean(
        "link-syntax",
        with_markup('<a href="#top">To the top</a>'),
        examined_of(with_image("https://example.com/b.png")),
    )


def test_a_storys_own_link_is_checked_at_its_own_line() -> None:
    issue = issue_of(MORNING + "http://news.example/tea\n")
    assert [story.link for story in issue.stories()][-1] == "http://news.example/tea"
    breach("link-insecure", examined_of(issue), WARN, "http://news.example/tea", line=11)


def test_anchors_that_lead_nowhere_are_a_warning() -> None:
    breach("link-anchor", with_markup('<a href="#corporate">Corporate news</a>'), WARN, "#corporate")
    clean("link-anchor", with_markup('<a href="#corporate">Corporate</a><h2 id="corporate">x</h2><a href="#">Top</a>'))


def test_links_and_images_without_https_are_a_warning() -> None:
    breach("link-insecure", examined_of(with_link("HTTP://example.com/")), WARN, line=91)
    breach("link-insecure", examined_of(with_image("http://example.com/b.png")), WARN, "image", line=91)
    breach(
        "link-insecure", with_markup('<img src="http://cdn.example/logo.png" alt="">'), WARN, "template's http://cdn"
    )
    clean("link-insecure", examined_of(with_link("https://example.com/?next=http://example.org/")))


def test_the_newsletters_own_http_address_is_said_once_and_not_for_every_link() -> None:
    local = dataclasses.replace(PUBLICATION, base_url="http://localhost:8000")
    page = page_of(issue_of()).replace("<body>", '<body><a href="http://localhost:8000/archive">All issues</a>')
    examined = examined_of(page=page, publication=local)
    clean("link-insecure", examined)
    breach("base-url-insecure", examined, WARN, "http://localhost:8000")
    clean("base-url-insecure", examined_of())


@pytest.mark.parametrize("text", ["click here", "Here", "Read more …", "READ MORE >", "this link", "Link."])
def test_a_text_that_says_nothing_about_the_target_is_a_warning(text: str) -> None:
    breach("link-text", examined_of(with_link("https://example.com/", text)), WARN, "says nothing", line=91)


def test_texts_of_the_template_are_looked_at_too_and_a_label_makes_up_for_them() -> None:
    breach(
        "link-text", with_markup('<a href="https://example.com/"><span>Read</span> more</a>'), WARN, "in the template"
    )
    breach("link-text", with_markup('<a href="https://example.com/"> </a>'), WARN, "no text")
    clean(
        "link-text",
        examined_of(with_link("https://example.com/", "the port's report here")),
        with_markup('<a href="https://example.com/" aria-label="Read more about the bridge">more</a>'),
        with_markup('<a href="https://example.com/"><img src="https://example.com/l.png" alt="Daily Buzz"></a>'),
    )


def test_look_alike_hosts_are_named_whether_written_or_encoded() -> None:
    mixed = "exаmple.com"  # with a Cyrillic а
    assert not mixed.isascii()
    breach("link-lookalike", examined_of(with_link(f"https://{mixed}/")), ERROR, "Cyrillic, Latin", line=91)
    encoded = mixed.partition(".")[0].encode("punycode").decode()
    breach("link-lookalike", examined_of(with_link(f"https://xn--{encoded}.com/")), ERROR, "Cyrillic, Latin", line=91)
    breach("link-lookalike", examined_of(with_link("https://аррӏе.com/")), WARN, "look like Latin", line=91)
    breach(
        "link-lookalike", examined_of(with_link("https://xn--mnchen-3ya.example/")), INFO, "münchen.example", line=91
    )


def test_hosts_in_one_script_or_in_those_written_together_are_fine() -> None:
    hosts = [
        "example.com",
        "münchen.example",
        "東京タワーtokyo.example",
        "новости.example",
        "서울news.example",
        "xn--.com",
    ]
    clean("link-lookalike", *(examined_of(with_link(f"https://{host}/")) for host in hosts))


@given(st.text(max_size=30))
def test_any_host_can_be_shown(host: str) -> None:
    assert isinstance(decoded_host(f"xn--{host}"), str)


SITE = "https://news.example.com/mail"


@pytest.mark.parametrize(
    "url",
    [SITE, f"{SITE}/", f"{SITE}/archive/1?x=..#top", f"{SITE}?page=2", "HTTPS://NEWS.example.com:443/mail/a",
     "https://news.example.com./mail/a"],
)  # fmt: skip
def test_what_is_under_a_site(url: str) -> None:
    assert is_under(url, SITE)


@pytest.mark.parametrize(
    "url",
    ["https://news.example.com.evil.example/mail/x", "https://news.example.com@evil.example/mail/x",
     "https://news.example.com:8443/mail/x", "http://news.example.com/mail/x", "https://news.example.com/mailbox",
     "https://news.example.com/", "https://news.example.com/mail/../x", "https://news.example.com/mail/%2E%2e/x",
     "https://[::1/mail", "https://news.example.com:x/mail", ""],
)  # fmt: skip
def test_what_only_begins_like_a_site_is_not_under_it(url: str) -> None:
    assert not is_under(url, SITE)
    assert not is_under(url, "")


def test_a_host_that_begins_like_the_newsletters_own_is_named_when_it_is_not_https() -> None:
    local = dataclasses.replace(PUBLICATION, base_url="http://news.example.com")
    page = page_of(issue_of()).replace("<body>", '<body><a href="http://news.example.com.evil.example/x">All</a>')
    breach("link-insecure", examined_of(page=page, publication=local), WARN, "evil.example")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://localhost:8000/draft", "a private network"),
        ("https://staging.internal/draft", "a private network"),
        ("https://printer.local/", "a private network"),
        ("https://192.168.1.20/draft", "the private address 192.168.1.20"),
        ("https://[::1]/draft", "the loopback address ::1"),
        ("http://127.1/", "the loopback address 127.0.0.1"),
        ("http://2130706433/", "the loopback address 127.0.0.1"),
        ("http://0x7f.0.0.1/", "the loopback address 127.0.0.1"),
        ("http://0177.0.0.1/", "the loopback address 127.0.0.1"),
        ("https://[64:ff9b::7f00:1]/", "the loopback address 64:ff9b::7f00:1"),
        ("https://[::ffff:10.0.0.1]/", "the private address"),
        ("https://[3fff::1]/", "the documentation address"),
        ("https://192.88.99.1/", "the reserved address"),
        ("https://224.0.0.251/", "the multicast address"),
    ],
)
def test_a_link_to_where_no_reader_can_go_is_an_error(url: str, where: str) -> None:
    breach("link-private", examined_of(with_link(url)), ERROR, f"leads to {where}", line=91)


def test_a_link_to_a_public_address_is_not_private() -> None:
    clean("link-private", examined_of(with_link("https://8.8.8.8/")), examined_of(with_link("https://[2a00:1450::1]/")))


def test_a_link_with_a_password_is_an_error_and_does_not_repeat_it() -> None:
    examined = examined_of(with_link("https://editor:secret@example.com/"))
    breach("link-private", examined, ERROR, "the link to example.com carries a user name", line=91)
    clean("link-private", examined_of(with_link("https://example.com/local?host=localhost@internal")))


def test_a_text_that_names_another_host_is_a_warning() -> None:
    breach(
        "link-disguised",
        examined_of(with_link("https://evil.example/", "www.bank.example")),
        WARN,
        "www.bank.example",
        line=91,
    )
    breach(
        "link-disguised", examined_of(with_link("https://evil.example/", "https://bank.example/login")), WARN, line=91
    )
    clean(
        "link-disguised",
        examined_of(with_link("https://www.example.com/report", "example.com")),
        examined_of(with_link("https://example.com/", "https://example.com/a/very/long/path")),
        examined_of(with_link("https://example.com/", "the 3.5 percent rise")),
        examined_of(with_link("mailto:editor@example.com", "editor@example.com")),
    )


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("See www.example.com/port, for more of it.", "www.example.com/port"),
        ("The port (https://example.com/a_(b)) said so.", "https://example.com/a_(b)"),
        ("The port [http://example.com/x] said so.", "http://example.com/x"),
        ("The port <https://example.com/y> said so.", "https://example.com/y"),
        ("Write to mailto:port@example.com, they say.", "mailto:port@example.com"),
    ],
)
def test_an_address_left_in_a_text_is_shown_as_text_and_not_as_a_link(line: str, address: str) -> None:
    breach("link-plain", examined_of(with_line(line)), INFO, f"{address} is shown as text", line=6)


def test_a_script_left_in_a_text_is_a_warning() -> None:
    issue = with_line("Click javascript:alert(1) here.")
    breach("link-plain", examined_of(issue), WARN, "javascript:alert(1) is shown as text", line=6)


def test_what_is_linked_broken_or_only_looks_like_an_address_is_no_plain_link() -> None:
    lines = [
        "Read more at https://example.com/the-storys-link",
        "JavaScript: The Good Parts, by Booking.com and me@www.example.com, is on www. or data: or http: or here.",
        "A [link](https://example.com/x) is another check's.",
    ]
    clean("link-plain", with_and_without_link(), *(examined_of(with_line(line)) for line in lines))


def with_and_without_link() -> Examined:
    text = "Go to <https://example.com/a>, [www.example.com](https://www.example.com/) and `www.example.com/x` now."
    return examined_of(issue_of(f"# Buzz: 7 January 2026\n\n## Top News\n\n### A Story\n\n{text}\n", suffix="md"))
