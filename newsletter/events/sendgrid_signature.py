"""Whether SendGrid posted it: ECDSA (P-256, SHA-256) over the time of the post and its raw body.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

#: Header fields of a post: the signature in base64 (DER), and when it was made (seconds since 1970).
SIGNATURE_FIELD = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_FIELD = "X-Twilio-Email-Event-Webhook-Timestamp"
#: How far the time of a post may be from ours. What was posted once and is posted again later is refused.
FRESH = dt.timedelta(minutes=10)

_ARMOUR = re.compile(r"-----(?:BEGIN|END) PUBLIC KEY-----")
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
#: A signature is 72 bytes at most.
_LONGEST = 128
#: Checked in place of one that cannot be read, so that every post takes the same work.
_NO_SIGNATURE = utils.encode_dss_signature(1, 1)


class PostedKey:
    """The public key of one webhook, as SendGrid shows it (base64 DER) or with PEM's lines around it.

    Raises ValueError where `text` is no such key; the message does not repeat it.
    """

    def __init__(self, text: str) -> None:
        try:
            key = load_der_public_key(base64.b64decode("".join(_ARMOUR.sub("", text).split()), validate=True))
        except (ValueError, binascii.Error, UnsupportedAlgorithm):
            raise ValueError("this is no public key: expected the verification key in base64") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("this is a public key of another kind: expected ECDSA on P-256")  # noqa: TRY004 - of a text
        self._key = key

    def vouches_for(self, body: bytes, *, signature: str, timestamp: str, now: dt.datetime) -> bool:
        """Whether the holder of the private key posted this, and just now. Whatever is wrong, the work is the same."""
        # the work on a signature is that of one, whatever else is wrong: nobody learns from the time what it was
        fresh = bool(_TIMESTAMP.fullmatch(timestamp)) and abs(int(timestamp) - now.timestamp()) <= FRESH.total_seconds()
        try:
            self._key.verify(
                _decoded(signature), timestamp.encode("utf-8", "replace") + body, ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            return False
        return fresh


def _fresh(timestamp: str, now: dt.datetime) -> bool:
    if not _TIMESTAMP.fullmatch(timestamp):
        return False
    return abs(int(timestamp) - now.timestamp()) <= FRESH.total_seconds()


def _decoded(signature: str) -> bytes:
    try:
        decoded = base64.b64decode(signature, validate=True) if len(signature) <= _LONGEST else b""
    except ValueError:  # binascii.Error, and characters that are not ASCII
        return _NO_SIGNATURE
    return decoded or _NO_SIGNATURE
