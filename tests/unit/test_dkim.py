"""DKIM signatures, verified by an implementation that is not ours."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from servers.dkim_verifying import PrivateKey, pem, valid
from servers.letters import LETTERHEAD, issue, recipient

from newsletter.providers.dkim import DkimSigner
from newsletter.rendering.mime import HEADER_PIECES, MessageEncoder

RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
NOW = 1_767_767_400.9


def signer(key: PrivateKey) -> DkimSigner:
    return DkimSigner(pem(key), selector="s1", domain="news.example.com", clock=lambda: NOW)


def signed(key: PrivateKey, header: bytes, *body: bytes) -> bytes:
    return signer(key).sign(header, body) + header + b"".join(body)


def mail(key: PrivateKey, name: str = "Zoë", size: int = 5_000) -> bytes:
    """A message as we send it, with its signature."""
    one = recipient(1, name=name)
    pieces = MessageEncoder(issue(size), LETTERHEAD).pieces(
        to_address=one.address,
        to_name=one.name,
        message_id=one.message_id,
        unsubscribe_url=one.unsubscribe_url,
        values=one.values,
    )
    return signed(key, b"".join(pieces[:HEADER_PIECES]), *pieces[HEADER_PIECES:])


KEYS = pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])


@KEYS
class TestOurMail:
    def test_its_signature_holds(self, key: PrivateKey) -> None:
        for name in ("", "Zoë", "Ann  Lee ", ".dot", "名前" * 30):
            assert valid(mail(key, name), key)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"List-Unsubscribe: <https://news", b"List-Unsubscribe: <https://evil"),
            (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=Two-Click"),
            (b"Subject: ", b"Subject: not "),
            (b"Some words", b"S0me words"),
            (b"p1@example.com", b"p2@example.com"),
        ],
    )
    def test_a_change_breaks_it(self, key: PrivateKey, old: bytes, new: bytes) -> None:
        message = mail(key)
        assert old in message
        assert not valid(message.replace(old, new, 1), key)

    @pytest.mark.parametrize(
        "field",
        [
            b"From: Eve <eve@example.net>",
            b"Subject: another",
            b"To: x@example.net",
            b"Cc: x@example.net",
            b"Reply-To: eve@example.net",
            b"List-Unsubscribe: <https://example.net/>",
            b"List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            b"Content-Type: text/plain",
        ],
    )
    def test_a_second_field_breaks_it(self, key: PrivateKey, field: bytes) -> None:
        assert not valid(field + b"\r\n" + mail(key), key)

    def test_what_relays_do_to_white_space_does_not_break_it(self, key: PrivateKey) -> None:
        message = mail(key)
        header, _, body = message.partition(b"\r\n\r\n")
        changed = re.sub(rb"\r\nSubject: ", b"\r\nSUBJECT:  \r\n\t ", header) + b"\r\n\r\n"
        changed += re.sub(rb" +", b"   ", body).replace(b".</p>\r\n", b".</p> \t \r\n") + b"\r\n\r\n"
        assert changed != message
        assert valid(changed, key)

    def test_lines_are_short_and_no_tag_is_repeated(self, key: PrivateKey) -> None:
        field = mail(key).partition(b"\r\nFrom:")[0]
        assert max(map(len, field.split(b"\r\n"))) <= 78
        tags = [tag.split(b"=")[0].strip() for tag in field.partition(b":")[2].split(b";")]
        assert sorted(tags) == sorted({b"v", b"a", b"c", b"d", b"s", b"t", b"h", b"bh", b"b"})
        assert b"t=1767767400;" in field

    def test_both_one_click_fields_and_the_sender_are_covered_and_guarded(self, key: PrivateKey) -> None:
        listed = re.sub(rb"\s", b"", mail(key).partition(b"h=")[2].partition(b";")[0]).split(b":")
        for name in (b"from", b"to", b"subject", b"date", b"message-id", b"list-unsubscribe", b"list-unsubscribe-post"):
            assert listed.count(name) == 2


_bodies = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b".", b"=20", b"  x  \r\n"]), max_size=12)


@given(st.lists(_bodies, max_size=4))
def test_any_body_in_any_pieces_is_signed_as_a_verifier_reads_it(pieces: list[list[bytes]]) -> None:
    """Each piece ends at the end of a line, as those of a message do."""
    body = [b"".join(piece) for piece in pieces]
    body = [piece if not piece or piece.endswith(b"\r\n") else piece + b"\r\n" for piece in body]
    message = signed(ED25519, b"From: a@news.example.com\r\nSubject: x\r\n\r\n", *body)
    assert valid(message, ED25519)


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.sampled_from(["", "\r\n ", "\r\n\t"])
)
def test_any_header_is_signed_as_a_verifier_reads_it(text: str, fold: str) -> None:
    header = f"From: a@news.example.com\r\nSubject:{text}{fold}{text}.\r\nX-Other: {text}\r\n\r\n".encode()
    assert valid(signed(ED25519, header, b"body\r\n"), ED25519)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "not an unencrypted private key in PEM"),
            ("hello", "not an unencrypted private key in PEM"),
            ("-----BEGIN PRIVATE KEY-----\ncanary4711\n-----END PRIVATE KEY-----\n", "not an unencrypted private key"),
            (pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
            (pem(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
            (
                RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
                "not an unencrypted private key",
            ),
        ],
    )
    def test_a_key_that_cannot_sign_is_named_without_being_shown(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as caught:
            DkimSigner(text, selector="s1", domain="news.example.com")
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        ("selector", "domain"), [("", "example.com"), ("a b", "example.com"), ("a;d=x", "example.com"), ("s1", "a;b")]
    )
    def test_names_that_would_break_the_field(self, selector: str, domain: str) -> None:
        with pytest.raises(ValueError, match="DKIM"):
            DkimSigner(pem(ED25519), selector=selector, domain=domain)

    @pytest.mark.parametrize("header", [b"From: a@b\r\nFrom: c@d\r\n\r\n", b"From: a@b\r\nno field\r\n\r\n", b"\r\n"])
    def test_a_header_that_is_none(self, header: bytes) -> None:
        with pytest.raises(ValueError, match="field"):
            signer(ED25519).sign(header, [])
