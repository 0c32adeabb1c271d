"""Posts as SendGrid's signed event webhook makes them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from servers.sendgrid_rules import Message


class WebhookSigner:
    """A key pair of its own; `public_key` is what the vendor shows."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = base64.b64encode(public).decode()

    def signature(self, body: bytes, timestamp: str) -> str:
        signed = timestamp.encode("utf-8", "replace") + body
        return base64.b64encode(self._key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()

    def headers(self, body: bytes, at: float | None = None) -> dict[str, str]:
        """The header fields of a post that is made now, or was `at`."""
        timestamp = str(int(time.time() if at is None else at))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": self.signature(body, timestamp),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
            "Content-Type": "application/json",
        }


def event_of(message: Message, event: str, *, at: int | None = None, **rest: object) -> dict[str, object]:
    """What the vendor tells of a message that it took."""
    told: dict[str, object] = {
        "email": message.address,
        "timestamp": int(time.time()) if at is None else at,
        "event": event,
        "sg_event_id": f"{event}-{message.custom_args.get('nl_delivery', '')}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.0",
        **message.custom_args,
    }
    return told | rest


def body_of(events: Sequence[object]) -> bytes:
    return ("[" + ",\r\n".join(json.dumps(one) for one in events) + "]\r\n").encode()
