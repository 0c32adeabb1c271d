"""Addresses: what can be mailed, what tells two people apart; the quick way decides as email-validator does."""

from __future__ import annotations

import random
import re

import email_validator
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.audience.addresses import (
    LONGEST,
    BadAddress,
    displayed,
    mailable,
    parse_address,
    plainly_mailable,
)
from newsletter.rendering.headers import ascii_address


def slowly(text: str) -> str | None:
    """What email-validator makes of it, with nothing in front; None: not mailable, or in no header."""
    stripped = text.strip().removeprefix("\ufeff")
    local = stripped.rpartition("@")[0]
    if len(stripped) > LONGEST or len(local) > 64 or "=?" in local:
        return None
    try:
        found = email_validator.validate_email(stripped, check_deliverability=False, allow_smtputf8=False)
    except email_validator.EmailNotValidError:
        return None
    return found.ascii_email


def quickly(text: str) -> str | None:
    try:
        return mailable(text)
    except BadAddress:
        return None


LOCALS = (
    *("anna", "Anna.Lund", "a", "x" * 64, "x" * 65, "o'neill", "a+b", "a..b", ".a", "a.", "a b", '"a b"', "jürg", "-a"),
    *("Postmaster", "INFO", "ab_c!#$%&'*/=?^`{|}~", "a(b)", "", "名", "a\\b", "1", "a,b", "a\u200b", "a\x00", "'+a"),
    *("=?", "a=?b", "a?="),
)
LABELS = (
    *("example", "EXAMPLE", "xn--bcher-kva", "bücher", "a-b", "a--b", "-a", "a-", "", "x" * 63, "x" * 64, "1", "123"),
    *(
        "com",
        "test",
        "local",
        "onion",
        "arpa",
        "invalid",
        "localhost",
        "c",
        "co.uk",
        "ｅx",
        "straße",
        "xn--",
        "名",
        "a_b",
    ),
    *("рф", "com.", "ex ample", "١", "xn--a", "ab--c", "[127.0.0.1]", "c0m", "museum", "faß", "☃", "a\u00adb"),
)


def test_30_000_addresses_are_decided_as_email_validator_decides_them() -> None:
    """Odd and usual parts, put together at random; a tenth of them is nothing but a usual address."""
    chance = random.Random(20260107)
    usual = "abcdefghijklmnopqrstuvwxyz0123456789"
    taken = 0
    for number in range(30_000):
        if number % 10 == 0:
            parts = ["".join(chance.choices(usual, k=chance.randint(1, 70))) for _ in range(chance.randint(2, 5))]
            text = f"{parts[0]}.x@{'.'.join(parts[1:])}"
        else:
            domain = ".".join(chance.choices(LABELS, k=chance.choice((1, 2, 2, 2, 3, 4))))
            text = f"{chance.choice(LOCALS)}{chance.choice(('@',) * 9 + ('',))}{domain}"
        if chance.random() < 0.05:
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(" @.\t\n-_\u00a0é<>,;") + text[at:]
        expected = slowly(text)
        assert quickly(text) == expected, text
        taken += expected is not None
    assert taken > 2_500


@given(st.one_of(st.emails(), st.text(max_size=60), st.from_regex(r"[\w.+-]{1,70}@[\w.-]{1,80}", fullmatch=True)))
@example("a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".example.com")
@example("a@" + "é" * 50 + ".com")
@example("Info@Example.COM")
def test_any_text_is_decided_as_email_validator_decides_it(text: str) -> None:
    assert quickly(text) == slowly(text)


@given(st.one_of(st.emails(), st.from_regex(r"[\w.+'=?-]{1,70}@[\w.-]{1,80}", fullmatch=True)))
@example("x" * 65 + "@example.com")
@example("=?x@example.com")
def test_whoever_is_taken_can_be_written_to(text: str) -> None:
    """No address is imported that every mail refuses."""
    if (taken := quickly(text)) is not None:
        assert ascii_address(taken) == taken


@pytest.mark.parametrize(
    ("local", "reason"),
    [("x" * 65, "more than 64 characters before the @"), ("a=?b", "=? before the @ begins an encoded word")],
)
def test_whom_no_message_can_be_addressed_to_is_told_why(local: str, reason: str) -> None:
    with pytest.raises(BadAddress, match=re.escape(reason)):
        mailable(f"{local}@example.com")
    assert plainly_mailable([f"{local}@example.com", "ada@example.com"]) == ["", "ada@example.com"]


def test_the_key_ignores_case_and_the_address_is_kept() -> None:
    address = parse_address(" Anna.Lund@Example.COM ")
    assert address.address == "Anna.Lund@example.com"
    assert address.key == "anna.lund@example.com"


def test_an_idn_domain_is_sent_to_by_its_a_labels_and_both_spellings_are_one_person() -> None:
    typed, encoded = parse_address("rui@bücher.example"), parse_address("rui@xn--bcher-kva.example")
    assert typed.address == "rui@xn--bcher-kva.example"
    assert typed.key == encoded.key
    assert typed.shown == encoded.shown == "rui@bücher.example"


@pytest.mark.parametrize("domain", ["straße.example", "faß.example", "рф.example", "例え.example", "BÜCHER.Example"])
def test_an_idn_is_shown_in_its_own_script_and_leads_to_the_same_mailbox(domain: str) -> None:
    address = parse_address(f"Rui@{domain}")
    assert address.shown == f"Rui@{domain.lower()}"
    assert parse_address(address.shown) == address


@pytest.mark.parametrize("address", ["a@xn--a.example", "a@xn--.example", "a@example.com", "xn--x@example.com", ""])
def test_what_is_no_idn_is_shown_as_it_is(address: str) -> None:
    assert displayed(address) == address


@pytest.mark.parametrize(
    "text",
    ["", " ", "ana", "ana@", "@example.com", "a@b@example.com", "ana@example..com", "jürg@example.com",
     "ana@localhost", "ana\r\nBcc: x@example.com", "<ana@example.com>", "a" * 300 + "@example.com"],
)  # fmt: skip
def test_what_cannot_be_mailed_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_bad_one(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert address.address.isascii()
    assert address.address.count("@") == 1
    assert parse_address(address.address) == address
