"""Whether a post is SendGrid's, and of this moment."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from servers.signed_posts import WebhookSigner

from newsletter.events.sendgrid_signature import PostedKey

NOW = dt.datetime(2026, 1, 7, 6, 40, tzinfo=dt.UTC)
SIGNER = WebhookSigner()
KEY = PostedKey(SIGNER.public_key)
BODY = b'[{"event":"delivered"}]\r\n'
STAMP = str(int(NOW.timestamp()))


def vouches(body: bytes = BODY, signature: str | None = None, timestamp: str = STAMP, now: dt.datetime = NOW) -> bool:
    signature = SIGNER.signature(BODY, STAMP) if signature is None else signature
    return KEY.vouches_for(body, signature=signature, timestamp=timestamp, now=now)


def test_what_was_signed_just_now_is_believed() -> None:
    assert vouches()
    armoured = f"-----BEGIN PUBLIC KEY-----\n{SIGNER.public_key}\n-----END PUBLIC KEY-----\n"
    assert PostedKey(armoured).vouches_for(BODY, signature=SIGNER.signature(BODY, STAMP), timestamp=STAMP, now=NOW)


@pytest.mark.parametrize("minutes", [-9, 9])
def test_clocks_may_differ_a_little(minutes: int) -> None:
    assert vouches(now=NOW + dt.timedelta(minutes=minutes))


@pytest.mark.parametrize("minutes", [-11, 11, 60 * 24 * 365])
def test_a_replay_of_an_old_post_is_refused(minutes: int) -> None:
    assert not vouches(now=NOW + dt.timedelta(minutes=minutes))


def test_the_time_is_signed_too() -> None:
    later = str(int(STAMP) + 600)
    assert not vouches(timestamp=later, now=NOW + dt.timedelta(minutes=10))


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b" ", BODY.replace(b"delivered", b"deliverec")])
def test_another_body_is_refused(body: bytes) -> None:
    assert not vouches(body)


def test_another_key_is_refused() -> None:
    assert not vouches(signature=WebhookSigner().signature(BODY, STAMP))


NO_SIGNATURES = ["", "x", "é", "AAAA", "=" * 200, "MEUCIQ" + "A" * 10_000, base64.b64encode(bytes(64)).decode()]


@pytest.mark.parametrize("signature", NO_SIGNATURES)
def test_what_is_no_signature_is_refused(signature: str) -> None:
    assert not vouches(signature=signature)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "9" * 40, "١٢٣", " " + STAMP, STAMP + "\n", "\ud800"])
def test_what_is_no_time_is_refused_though_it_was_signed(timestamp: str) -> None:
    signature = SIGNER.signature(BODY, timestamp)
    assert not vouches(signature=signature, timestamp=timestamp)


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=30))
def test_nothing_that_may_be_posted_raises(body: bytes, signature: str, timestamp: str) -> None:
    assert not vouches(body, signature, timestamp)


def _public(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret-that-is-no-key",
        SIGNER.public_key[:-8],
        _public(ec.generate_private_key(ec.SECP384R1()).public_key()),
        _public(ed25519.Ed25519PrivateKey.generate().public_key()),
    ],
    ids=["none", "no key", "cut", "another curve", "another kind"],  # keys are made anew by each worker
)
def test_another_kind_of_key_is_told_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is (no|a) public key") as raised:
        PostedKey(text)
    assert not text or text not in str(raised.value)
