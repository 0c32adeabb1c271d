"""Complete messages, read back by the standard library's parser as a mail client would."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email import policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mime_examples import ENCODER, HEADERS, HTML, ID, ISSUE, LETTERHEAD, TEXT, URL, body, make, parsed

from newsletter.errors import TemplateError
from newsletter.rendering.headers import ascii_addresses
from newsletter.rendering.holes import fill
from newsletter.rendering.mime import AddressError, MessageEncoder
from newsletter.rendering.model import Hole, HoleContext, Holed


def test_a_mail_says_what_the_standard_library_would_say() -> None:
    values = {"name": "Zo\u00eb & S\u00f8ren", "unsubscribe_url": URL}
    expected = EmailMessage(policy=policy.SMTP.clone(max_line_length=998))
    expected["From"] = LETTERHEAD.sender
    expected["To"] = "Zo\u00eb & S\u00f8ren <ada@example.org>"
    expected["Reply-To"] = LETTERHEAD.reply_to
    expected["Subject"] = "\u00c9dition sp\u00e9ciale \u2013 \u738b\u5c0f\u660e " * 4 + "fin"
    expected["Date"] = LETTERHEAD.date
    expected["Message-ID"] = ID
    expected["List-Id"] = "Caf\u00e9 Buzz <daily-buzz.news.example.com>"
    expected["List-Unsubscribe"] = f"<{URL}>"
    expected["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    expected["Feedback-ID"] = LETTERHEAD.feedback_id
    expected.set_content(fill(TEXT, values), cte="quoted-printable")
    expected.add_alternative(fill(HTML, values), subtype="html", cte="quoted-printable")
    theirs = parsed(expected.as_bytes())

    encoder = MessageEncoder(
        replace(ISSUE, subject=str(expected["Subject"])), replace(LETTERHEAD, list_name="Caf\u00e9 Buzz")
    )
    ours = parsed(make(name=values["name"], encoder=encoder))

    for header in HEADERS[:-1]:
        assert " ".join(str(ours[header]).split()) == " ".join(str(theirs[header]).split()), header
    assert body(ours, "html") == body(theirs, "html")
    # EmailMessage adds a line end where the text has none.
    assert body(ours, "plain") == body(theirs, "plain").removesuffix("\n")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200),
        min_size=1,
        max_size=6,
    )
)
def test_any_body_round_trips_whatever_stands_between_its_holes(statics: list[str]) -> None:
    hole = Hole("name", HoleContext.TEXT)
    text = Holed(tuple(statics), (hole,) * (len(statics) - 1))
    encoder = MessageEncoder(replace(ISSUE, text=text), LETTERHEAD)
    for name in ("Ada", "", ".", "From here", "a" * 150, "=" * 80):
        raw = make(name=name, encoder=encoder)
        assert body(parsed(raw), "plain") == name.join(statics)
        assert max(len(line) for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n")) <= 76
        assert not re.search(rb"^(\.|From )|[ \t]\r$", raw.partition(b"\r\n\r\n")[2], re.MULTILINE)


def test_the_one_click_pair_is_exact_even_where_the_url_is_long() -> None:
    url = "https://news.example.com/u/" + "a" * 900
    raw = make(url=url)
    assert f"\r\nList-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode() in raw
    assert parsed(raw)["List-Unsubscribe"] == f"<{url}>"


def test_an_http_url_on_loopback_is_printed_for_a_dry_run() -> None:
    assert parsed(make(url="http://localhost:8000/u/abc"))["List-Unsubscribe"] == "<http://localhost:8000/u/abc>"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mailto:leave@example.com",
        "javascript:alert(1)",
        "/u/abc",
        "https://",
        "https://x.example/" + "a" * 990,
        "ftp://x.example/",
    ],
)
def test_no_message_is_made_without_a_link_to_leave_by(url: str) -> None:
    with pytest.raises(TemplateError, match="unsubscribe link"):
        make(url=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/a b",
        "https://x.example/>,<https://evil.example/",
        "https://x.example/\r\nBcc: victim@example.net",
        "https://x.example/?q==?utf-8?q?Bcc?=",
        "https://x.example/\u738b",
    ],
)
def test_a_url_cannot_leave_its_brackets(url: str) -> None:
    message = parsed(make(url=url))
    assert message.keys() == HEADERS
    assert re.fullmatch(r"<https://x\.example/[^<>,\s]+>", message["List-Unsubscribe"])
    assert message["List-Unsubscribe"].isascii()


def test_a_hole_without_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(TemplateError, match="'name'") as caught:
        ENCODER.message(
            to_address="ada@example.org",
            to_name="",
            message_id=ID,
            unsubscribe_url=URL,
            values={"unsubscribe_url": URL, "tier": "gold"},
        )
    assert "tier, unsubscribe_url" in caught.value.hint


def test_messages_differ_in_what_names_the_recipient_and_nowhere_else() -> None:
    """A value remembered from one recipient must never reach the next."""
    names = ["Ada", "Grace", "Grace", "", "Ada", "<b>", "Ada"]
    shared = [make(name=name) for name in names]
    alone = [make(name=name, encoder=MessageEncoder(ISSUE, LETTERHEAD)) for name in names]
    assert shared == alone
    assert make(name="Ada").replace(b"Ada", b"Eve") == make(name="Eve")


NAMES = st.sampled_from(
    ["Ada", "Ada Lovelace", "", "O'Reilly & Sons", "Zo\u00eb", "From me", ".dot", "=?utf-8?q?x?=", "n" * 90]
)
ADDRESSES = st.sampled_from(
    ["ada@example.org", "a.b+c@news.example.com", "x" * 60 + "@example.org", "b@\u4f8b.example"]
)
LINKS = st.sampled_from(
    [URL, "https://news.example.com/u/token", "https://news.example.com/u/other", "https://x.y/?a=b,c"]
)


@given(st.lists(st.tuples(NAMES, ADDRESSES, LINKS), min_size=1, max_size=6), st.sampled_from(["", "u+1@example.com"]))
def test_messages_that_are_made_together_are_those_made_by_themselves(
    readers: list[tuple[str, str, str]], mailto: str
) -> None:
    names, addresses, urls = (list(column) for column in zip(*readers, strict=True))
    together, joined = (
        ENCODER.many(
            to_addresses=ascii_addresses(addresses),
            to_names=names,
            message_ids=[ID] * len(readers),
            unsubscribe_urls=urls,
            values={"name": names, "unsubscribe_url": urls},
            unsubscribe_mailtos=[mailto] * len(readers),
            joined=joined,
        )
        for joined in (False, True)
    )
    alone = [
        ENCODER.pieces(
            to_address=address,
            to_name=name,
            message_id=ID,
            unsubscribe_url=url,
            values={"name": name, "unsubscribe_url": url},
            unsubscribe_mailto=mailto,
        )
        for name, address, url in readers
    ]
    assert list(map(list, together)) == alone
    assert list(map(b"".join, joined)) == list(map(b"".join, alone))


def test_joined_are_only_small_pieces_side_by_side() -> None:
    name = Hole("name", HoleContext.TEXT)
    long = Holed(("Dear ", ":" + "a" * 5_000, "b", "c" * 5_000), (name, name, name))
    encoder = MessageEncoder(replace(ISSUE, text=long), LETTERHEAD)
    first, second = encoder.many(
        to_addresses=["ada@example.org", "zoe@example.org"],
        to_names=["Ada", "Zoe"],
        message_ids=[ID, ID],
        unsubscribe_urls=[URL, URL],
        values={"name": ["Ada", "Zoe"], "unsubscribe_url": [URL, URL]},
        unsubscribe_mailtos=["", ""],
        joined=True,
    )
    assert len(first) < 8
    assert [one is other for one, other in zip(first, second, strict=True) if len(one) > 5_000] == [True, True]


def test_together_a_value_that_is_missing_or_no_link_to_leave_by_is_the_same_error() -> None:
    def many(url: str, **values: list[str]) -> object:
        return ENCODER.many(
            to_addresses=["ada@example.org"],
            to_names=["Ada"],
            message_ids=[ID],
            unsubscribe_urls=[url],
            values=values,
            unsubscribe_mailtos=[""],
        )

    with pytest.raises(TemplateError, match="name"):
        many(URL, unsubscribe_url=[URL])
    with pytest.raises(TemplateError, match="unsubscribe link"):
        many("javascript:x", name=["Ada"], unsubscribe_url=[URL])


def test_threads_may_share_an_encoder() -> None:
    names = [f"Name {number}" for number in range(400)]
    expected = [make(name=name) for name in names]
    with ThreadPoolExecutor(max_workers=8) as pool:
        assert list(pool.map(make, names)) == expected


def test_optional_fields_are_left_out_where_the_letterhead_has_none() -> None:
    bare = replace(LETTERHEAD, reply_to="", list_id="", feedback_id="")
    message = parsed(make(encoder=MessageEncoder(ISSUE, bare)))
    assert message.keys() == [name for name in HEADERS if name not in {"Reply-To", "List-Id", "Feedback-ID"}]


def test_a_lone_surrogate_in_the_content_is_an_error_not_a_broken_mail() -> None:
    with pytest.raises(TemplateError, match="text part"):
        MessageEncoder(replace(ISSUE, text=Holed(("a \ud83d b",), ())), LETTERHEAD)


def test_an_address_that_cannot_be_carried_names_itself() -> None:
    with pytest.raises(AddressError, match="SMTPUTF8"):
        make(address="j\u00f6rg@example.org")
