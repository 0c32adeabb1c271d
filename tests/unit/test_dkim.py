"""DKIM signatures, verified by an implementation that is not ours."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from hostile_names import HOSTILE_NAMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.dkim_verifying import PrivateKey, dkim, pem, valid
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
    pieces = pieces_to(MessageEncoder(issue(size), LETTERHEAD), name)
    return signer(key).sign(pieces[:HEADER_PIECES], pieces[HEADER_PIECES:]) + b"".join(pieces)


def pieces_to(encoder: MessageEncoder, name: str, number: int = 1) -> list[bytes]:
    one = recipient(number, name=name)
    return encoder.pieces(
        to_address=one.address,
        to_name=one.name,
        message_id=one.message_id,
        unsubscribe_url=one.unsubscribe_url,
        values=one.values,
    )


KEYS = pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])


@KEYS
class TestOurMail:
    def test_its_signature_holds(self, key: PrivateKey) -> None:
        for name in ("", "Zoë", "Ann  Lee ", "  leading", ".dot", "名前" * 30):
            assert valid(mail(key, name), key)

    def test_it_holds_for_hostile_names_one_after_the_other(self, key: PrivateKey) -> None:
        """With one signer, which remembers what the messages before had in common."""
        one, encoder = signer(key), MessageEncoder(issue(20_000), LETTERHEAD)
        for name in HOSTILE_NAMES.values():
            pieces = pieces_to(encoder, name)
            header = b"".join(pieces[:HEADER_PIECES])
            field = one.sign(pieces[:HEADER_PIECES], pieces[HEADER_PIECES:])
            assert valid(field + b"".join(pieces), key)
            assert field == one.sign(header, [b"".join(pieces[HEADER_PIECES:])])

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


def body_hash(field: bytes) -> bytes:
    """What a signature says of the body."""
    found = re.search(rb" bh=([^;]+);", field)
    assert found is not None
    return base64.b64decode(found[1])


def body_hash_by_dkimpy(body: bytes) -> bytes:
    # as it goes over the wire, where the final dot stands on a line of its own
    body += b"" if not body or body.endswith(b"\r\n") else b"\r\n"
    return hashlib.sha256(dkim.canonicalization.Relaxed.canonicalize_body(body)).digest()


_octets = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b".", b"=20", b"  x  \r\n", b"w" * 300, b"\x0b", b"\xff"]
    ),
    max_size=8,
).map(b"".join)
_lines = _octets.map(lambda octets: octets and octets + b"\r\n")
_HEADER = b"From: a@news.example.com\r\nSubject: x\r\n\r\n"


class TestBodies:
    @given(st.lists(_octets, max_size=5))
    def test_any_pieces_are_hashed_as_dkimpy_hashes_the_whole(self, body: list[bytes]) -> None:
        assert body_hash(signer(ED25519).sign(_HEADER, body)) == body_hash_by_dkimpy(b"".join(body))

    @given(
        st.lists(st.one_of(_lines, _octets), min_size=1, max_size=3),
        st.lists(
            st.tuples(st.lists(st.tuples(st.integers(0, 4), _lines), max_size=3), st.integers(1, 5)),
            min_size=2,
            max_size=8,
        ),
    )
    def test_what_is_known_of_other_bodies_changes_no_hash(
        self, same: list[bytes], others: list[tuple[list[tuple[int, bytes]], int]]
    ) -> None:
        """Bodies of the same pieces, some of them changed, some left out: with one signer, one after the other."""
        one = signer(ED25519)
        pieces = [*same, b"Hello\r\n", b"", b"the end  \r\n", b"\r\n"]
        for changes, length in others:
            body = pieces.copy()
            for place, octets in changes:
                body[place % len(body)] = octets
            body = body[:length]
            assert body_hash(one.sign(_HEADER, body)) == body_hash_by_dkimpy(b"".join(body))

    @pytest.mark.parametrize(
        "ends",
        [
            [b"\r\n"],
            [b" \t\r\n", b"\r\n", b""],
            [b"\r\n\r\n"],
            [b""],
            [],
            [b"x \r\n\r\n \r\n"],
            [b"no line end"],
            [b" "],
        ],
    )
    @pytest.mark.parametrize("start", [[], [b"\r\n"], [b"a\r\n"], [b"a \r\n", b"b\r\n\r\n"], [b"a"], [b"a ", b" b\r"]])
    def test_blanks_and_empty_lines_at_the_end_count_for_nothing_in_whatever_piece_they_are(
        self, start: list[bytes], ends: list[bytes]
    ) -> None:
        one = signer(ED25519)
        for middle in (b"p1\r\n", b"p2\r\n", b"\r\n", b"", b"p3"):
            body = [*start, middle, *ends]
            assert body_hash(one.sign(_HEADER, body)) == body_hash_by_dkimpy(b"".join(body))

    def test_more_issues_than_are_remembered_are_signed_as_well(self) -> None:
        one = signer(ED25519)
        for turn in range(3):
            for number in range(100):
                body = [b"Issue %d\r\n" % number, b"Hello %d\r\n" % turn, b"the  end\r\n"]
                assert body_hash(one.sign(_HEADER, body)) == body_hash_by_dkimpy(b"".join(body))

    def test_threads_may_share_a_signer(self) -> None:
        one, rendered = signer(ED25519), [issue(5_000), replace(issue(5_000), content_hash="1" * 64)]
        encoders = [MessageEncoder(which, LETTERHEAD) for which in rendered]
        wrong: list[int] = []

        def work(thread: int) -> None:
            for number in range(60):
                pieces = pieces_to(encoders[number % 2], f"Reader {thread}-{number}")
                message = one.sign(pieces[:HEADER_PIECES], pieces[HEADER_PIECES:]) + b"".join(pieces)
                if not valid(message, ED25519):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
_folds = st.sampled_from(["", "\r\n ", "\r\n\t", " \r\n  \t "])


class TestHeaders:
    @KEYS
    @given(_texts, _folds)
    @settings(max_examples=40, suppress_health_check=[HealthCheck.differing_executors])
    def test_any_header_is_signed_as_a_verifier_reads_it(self, key: PrivateKey, text: str, fold: str) -> None:
        header = f"From: a@news.example.com\r\nSubject:{text}{fold}{text}.\r\nX-Other: {text}\r\n\r\n".encode()
        assert valid(signed(key, header, b"body\r\n"), key)

    @KEYS
    def test_long_folded_fields_and_values_with_leading_blanks_hold(self, key: PrivateKey) -> None:
        folded = b"\r\n ".join(b"word%d  and \t more" % number for number in range(200))
        header = (
            b"From:   \t a@news.example.com\r\nSUBJECT:\r\n   " + folded + b" \t\r\nTo:\t<p1@example.com>  \r\n"
            b"List-Unsubscribe:\r\n <https://news.example.com/" + b"x" * 900 + b">\r\n\r\n"
        )
        assert valid(signed(key, header, b"body\r\n"), key)

    @given(_texts, _folds, st.lists(st.integers(0, 400), max_size=6))
    def test_a_header_in_any_pieces_is_signed_as_in_one(self, text: str, fold: str, cuts: list[int]) -> None:
        header = f"From: a@b\r\nSubject:{text}{fold}{text}.\r\nX-Other: {text}\r\nTo: {text}x@y\r\n\r\n".encode()
        places = [0, *sorted(min(cut, len(header)) for cut in cuts), len(header)]
        pieces = [header[start:end] for start, end in pairwise(places)]
        one = signer(ED25519)
        assert one.sign(pieces, [b"body\r\n"]) == one.sign(header, [b"body\r\n"]) == one.sign(pieces, [b"body\r\n"])

    def test_more_recipients_than_pieces_are_remembered_are_signed_with_their_own(self) -> None:
        one, encoder = signer(ED25519), MessageEncoder(issue(500), LETTERHEAD)
        for number in range(300):
            pieces = pieces_to(encoder, f"Reader {number % 290}", number)
            message = one.sign(pieces[:HEADER_PIECES], pieces[HEADER_PIECES:]) + b"".join(pieces)
            assert number % 10 or valid(message, ED25519)


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

    @pytest.mark.parametrize(
        "header",
        [
            b"From: a@b\r\nFrom: c@d\r\n\r\n",
            b"From: a@b\r\nno field\r\n\r\n",
            b"From: a@b\r\nX : y\r\n: z\r\n\r\n",
            b"Subject: x\r\n\r\n",
            b"\r\n",
            b"",
        ],
    )
    def test_a_header_that_is_none(self, header: bytes) -> None:
        for given_as in (header, [header], header.splitlines(keepends=True)):
            with pytest.raises(ValueError, match="field"):
                signer(ED25519).sign(given_as, [])

    def test_a_field_that_is_not_signed_may_be_there_twice(self) -> None:
        header = b"From: a@news.example.com\r\nX-Tag: a\r\nX-Tag: b\r\n\r\n"
        assert valid(signed(ED25519, header, b"x\r\n"), ED25519)
