"""A proof of work before a request counts: cheap for one person, dear for whoever asks ten thousand times.

ALTCHA's first protocol: https://altcha.org/docs/v1/proof-of-work/
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from newsletter.errors import ConfigError, Problem

if TYPE_CHECKING:
    from newsletter.settings.loaded import Loaded

#: Where the setting stands.
KEY = "web.signup.proof_of_work"
#: A browser tries half as many numbers on the average: a second on a phone.
HARDEST = 50_000
#: How long a solution is worth something.
LIFETIME = dt.timedelta(minutes=10)
#: Used ones that are remembered, of this process. Above it the oldest is forgotten: whoever has used so many within its
#: lifetime is over every quota.
MOST_USED = 100_000
#: Longer ones are none.
_LONGEST = 2_000


def proof_of_work(loaded: Loaded, keys: Sequence[str]) -> ProofOfWork | None:
    """What the settings ask for; None where they ask for none. Raises ConfigError where the package is missing."""
    if not loaded.settings.web.signup.proof_of_work:
        return None
    try:
        import altcha.v1  # noqa: F401 - an extra; only who asks for it needs it
    except ImportError:
        message = f"{KEY} needs the package `altcha`, which is not installed"
        suggestion = 'Install it: pip install "newsletter[altcha]". Or take proof_of_work out.'
        raise ConfigError([Problem(KEY, message, loaded.place(KEY), suggestion=suggestion)]) from None
    return ProofOfWork(keys[0])


class ProofOfWork:
    """Sets challenges and checks solutions; a solution counts once, in this process. Used by several threads at once.

    A challenge is signed, with a key that `secret` leads to, so nothing is kept until one is solved.
    """

    def __init__(self, secret: str, *, hardest: int = HARDEST, lifetime: dt.timedelta = LIFETIME) -> None:
        self._key = HKDF(SHA256(), 32, salt=None, info=b"newsletter proof of work").derive(secret.encode())
        self._hardest = hardest
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}

    def challenge(self) -> Mapping[str, object]:
        """A new one, as ALTCHA's widget reads it."""
        from altcha.v1 import ChallengeOptions, create_challenge  # see proof_of_work

        expires = dt.datetime.now(dt.UTC) + self._lifetime
        made = create_challenge(
            ChallengeOptions(algorithm="SHA-256", max_number=self._hardest, hmac_key=self._key, expires=expires)
        )
        document: dict[str, object] = made.to_dict()
        # ALTCHA's widget and its libraries spell it differently
        return {**document, "maxnumber": self._hardest}

    def accepts(self, payload: str) -> bool:
        """Whether this is the solution, not used yet, of a challenge of ours that has not expired."""
        from altcha.v1 import verify_solution  # see proof_of_work

        solution = _read(payload)
        if solution is None:
            return False
        good, _ = verify_solution(solution, self._key)
        return good and self._first_use(solution["signature"])

    def _first_use(self, signature: str) -> bool:
        now = time.monotonic()
        with self._lock:
            while self._used:  # in the order of their expiry
                oldest = next(iter(self._used))
                if self._used[oldest] > now and len(self._used) < MOST_USED:
                    break
                del self._used[oldest]
            if signature in self._used:
                return False
            self._used[signature] = now + self._lifetime.total_seconds() + 1
            return True


def _read(payload: str) -> Any:
    """The solution with fields of the right types, for a library that does not look; None where it is none."""
    if not payload or len(payload) > _LONGEST:
        return None
    try:
        found = json.loads(base64.b64decode(payload, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("algorithm") != "SHA-256" or type(found.get("number")) is not int:
        return None
    texts = [found.get(name) for name in ("challenge", "salt", "signature")]
    return found if all(isinstance(text, str) for text in texts) else None
