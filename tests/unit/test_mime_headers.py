"""Header fields, one by one."""

from __future__ import annotations

import re
from base64 import b64decode
from email import message_from_bytes, policy
from email.utils import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import TemplateError
from newsletter.rendering.escaping import clean_text
from newsletter.rendering.headers import (
    AddressError,
    ascii_address,
    list_id_field,
    message_id_field,
    recipient_field,
    sender_field,
    text_field,
    token_field,
)
from newsletter.rendering.letter import message_id


def read(field: bytes, name: str) -> str:
    message = message_from_bytes(field + b"\r\n", policy=policy.default)
    assert message.keys() == [name]
    assert message[name].defects == ()
    return str(message[name])


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_any_subject_round_trips_on_short_lines(subject: str) -> None:
    field = text_field("Subject", subject)
    assert read(field, "Subject") == clean_text(subject, limit=None)
    for line in field.decode("ascii").split("\r\n"):
        assert len(line) <= 76 or " " not in line.removeprefix("Subject: ").strip()
        assert all(len(word) <= 75 for word in re.findall(r"=\?utf-8\?.*?\?=", line))


def test_a_subject_that_looks_encoded_is_read_as_it_was_written() -> None:
    subject = "What =?utf-8?q?this?= means"
    assert read(text_field("Subject", subject), "Subject") == subject


def test_a_plain_subject_stays_readable_in_the_source() -> None:
    assert text_field("Subject", "Daily Buzz: 7 January 2026") == b"Subject: Daily Buzz: 7 January 2026\r\n"


def test_encoded_words_never_cut_a_character() -> None:
    field = text_field("Subject", "\u738b\u5c0f\u660e" * 40).decode("ascii")
    words = re.findall(r"=\?utf-8\?b\?([^?]+)\?=", field)
    assert len(words) > 3
    for word in words:
        assert b64decode(word).decode("utf-8")


@pytest.mark.parametrize(
    ("given_as", "sent_as"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada.Lovelace+x_y-z@Sub.Example.ORG", "Ada.Lovelace+x_y-z@Sub.Example.ORG"),
        ("o'brien@example.org", "o'brien@example.org"),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
        ("ada@\u4f8b\u3048.example", "ada@xn--r8jz45g.example"),
        ('"ada lovelace"@example.org', '"ada lovelace"@example.org'),
        ("ada@localhost", "ada@localhost"),
        ("ada@[127.0.0.1]", "ada@[127.0.0.1]"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_addresses_are_sent_as_given_with_their_domain_in_ascii(given_as: str, sent_as: str) -> None:
    assert ascii_address(given_as) == sent_as
    (recipient,) = message_from_bytes(recipient_field("Ada", given_as) + b"\r\n", policy=policy.default)["To"].addresses
    assert recipient.addr_spec == sent_as


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada lovelace@example.org",
        "a..b@example.org",
        ".ada@example.org",
        "ada@example..org",
        "ada@-example.org",
        "ada@exa mple.org",
        "ada@example.org\r\nBcc: victim@example.net",
        "ada@example.org\n",
        "ada@example.org,victim@example.net",
        "<ada@example.org>",
        "=?utf-8?q?x?=@example.org",
        "ada@\u202eexample.org",
        "ada@" + "a" * 64 + ".org",
        "a" * 65 + "@example.org",
        '"a"b"@example.org',
        '"a\r\nb"@example.org',
        "ada@" + "a.example." * 30 + "org",
        "ada\ud83d@example.org",
        "ada@\ud83d.example",
    ],
)
def test_what_is_no_address_makes_no_header(address: str) -> None:
    with pytest.raises(AddressError) as caught:
        recipient_field("Ada", address)
    assert caught.value.hint


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=()), max_size=80).map(lambda text: f"{text}@example.org"))
def test_any_text_is_an_address_that_is_carried_whole_or_an_error(address: str) -> None:
    try:
        field = recipient_field("", address)
    except AddressError:
        return
    (recipient,) = message_from_bytes(field + b"\r\n", policy=policy.default)["To"].addresses
    # a quoted local part and the same one bare are one mailbox (RFC 5321, 4.1.2); the parser drops needless quotes
    assert (unquote(recipient.username), recipient.domain) == (unquote(address.rpartition("@")[0]), "example.org")


@pytest.mark.parametrize(
    ("mailbox", "name", "address"),
    [
        ("Daily Buzz <buzz@news.example.com>", "Daily Buzz", "buzz@news.example.com"),
        ('"Buzz, Daily" <buzz@news.example.com>', "Buzz, Daily", "buzz@news.example.com"),
        ("Buzz, Daily <buzz@news.example.com>", "Buzz, Daily", "buzz@news.example.com"),
        ('"The \\"Buzz\\"" <buzz@news.example.com>', 'The "Buzz"', "buzz@news.example.com"),
        ("Caf\u00e9 Buzz <buzz@caf\u00e9.example>", "Caf\u00e9 Buzz", "buzz@xn--caf-dma.example"),
        ("buzz@news.example.com", "", "buzz@news.example.com"),
        ("<buzz@news.example.com>", "", "buzz@news.example.com"),
    ],
)
def test_a_sender_is_read_as_the_config_writes_it(mailbox: str, name: str, address: str) -> None:
    message = message_from_bytes(sender_field("From", mailbox) + b"\r\n", policy=policy.default)
    (sender,) = message["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "mailbox", ["", "Daily Buzz", "Daily Buzz <>", "Buzz <a@b@c.example>", "Buzz <j\u00f6@x.example>"]
)
def test_a_sender_that_is_none_says_how_to_write_it(mailbox: str) -> None:
    with pytest.raises(TemplateError, match="From") as caught:
        sender_field("From", mailbox)
    assert "Name <address@example.com>" in caught.value.hint


def test_a_list_id_carries_its_name_and_its_bare_identifier() -> None:
    assert list_id_field("Daily Buzz", "buzz.example.com") == b"List-Id: Daily Buzz <buzz.example.com>\r\n"
    assert list_id_field("", "buzz.example.com") == b"List-Id: <buzz.example.com>\r\n"
    assert list_id_field("Caf\u00e9", "buzz.example.com") == b"List-Id: =?utf-8?q?Caf=C3=A9?= <buzz.example.com>\r\n"
    for wrong in ("", "a b", "<a.example>", "a.example\r\nBcc: x"):
        with pytest.raises(TemplateError, match="list identifier"):
            list_id_field("Daily Buzz", wrong)


@pytest.mark.parametrize("value", ["a\r\nBcc: x", "caf\u00e9", "a\tb", "x" * 1000])
def test_a_token_that_is_not_plain_ascii_is_refused(value: str) -> None:
    with pytest.raises(TemplateError, match="Feedback-ID"):
        token_field("Feedback-ID", value)


def test_message_ids_are_the_same_each_time_and_never_shared() -> None:
    runs = ["daily-buzz/2026-01-07", "daily-buzz/2026-01-07.evening", "daily-buzz/2026-01-08"]
    ids = {message_id(run, str(subscriber), "news.example.com") for run in runs for subscriber in range(2000)}
    assert len(ids) == 6000
    assert ids == {message_id(run, str(subscriber), "news.example.com") for run in runs for subscriber in range(2000)}


def test_a_message_id_keeps_run_and_subscriber_apart() -> None:
    assert message_id("a", "bc", "x.example") != message_id("ab", "c", "x.example")
    assert message_id("1:a", "b", "x.example") != message_id("a", "b", "x.example")


def test_a_message_id_reveals_nothing_and_is_well_formed() -> None:
    made = message_id("daily-buzz/2026-01-07", "ada@example.org", "b\u00fccher.example")
    assert re.fullmatch(r"<[0-9a-f]{32}@xn--bcher-kva\.example>", made)
    assert read(message_id_field(made), "Message-ID") == made


@pytest.mark.parametrize("domain", ["", "a b", "x.example>\r\nBcc: y", "[127.0.0.1]", "\u202e.example"])
def test_a_message_id_needs_a_domain(domain: str) -> None:
    with pytest.raises(ValueError, match="sender's domain"):
        message_id("run", "1", domain)


@pytest.mark.parametrize("value", ["", "abc@x.example", "<abc>", "<a@b>\r\nBcc: x", "<a b@c>", "<a@b>\n"])
def test_what_is_no_message_id_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a Message-ID"):
        message_id_field(value)
