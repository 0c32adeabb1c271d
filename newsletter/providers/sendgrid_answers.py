"""What SendGrid's answers mean for the recipients of a request. Pure: status, headers and body in, a verdict out.

| answer | verdict |
|---|---|
| 202, body empty or JSON without `errors` | accepted; `X-Message-Id` is the reference |
| 200 in sandbox mode | accepted: checked, and not sent |
| 3xx, but 303 | refused, our account: the host that is configured is not the API |
| 400, 413 and others of 4xx | refused: recipients, content or account, by the `field` the vendor names |
| 401, 403, 404, 405, 407, 410 | refused, our account |
| 408, 425, 429; 503 with the vendor's error body | busy, with `Retry-After` or `X-RateLimit-Reset` |
| everything else: 5xx, other 2xx, what is no HTTP | unknown |
| no answer, and no byte of the request left | busy |
| no answer, and some byte may have left | unknown |

Source: the vendor's pages on mail/send errors, responses and rate limits.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from newsletter.delivery.model import Accepted, Busy, Unknown
from newsletter.delivery.provider import Blame, CallRefused

#: One of these holds for everybody in the request.
Verdict = Accepted | Busy | Unknown | CallRefused

#: Characters of the vendor's words that are kept.
LONGEST_WORDS = 300

#: Of requests: fewer recipients may help, and where one is left it is the content.
TOO_LARGE = "413"

_ACCOUNT = frozenset({401, 403, 404, 405, 407, 410})
_BUSY = frozenset({408, 425, 429})
_RECIPIENTS = re.compile(r"personalizations\b|recipients?\b|to\b|(custom_args|substitutions)\b")
_UNPRINTABLE = re.compile(r"[^ -~\u00a1-\ud7ff\ue000-\ufffd]+")
_ADDRESS = re.compile(r"[^\s<>\[\]()\"',;:]+@[^\s<>\[\]()\"',;:]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """The header's value, '' where there is none."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "").strip()


@dataclass(frozen=True, slots=True)
class _Fault:
    message: str
    field: str


def verdict(answer: Answer, *, sandbox: bool, now: dt.datetime) -> Verdict:
    """What an answer to mail/send means for all recipients of the request. `now` is for dates in headers."""
    status = answer.status
    if 200 <= status < 300:
        return _success(answer, sandbox)
    faults = _faults(answer.body) or ()
    if 300 <= status < 400 and status != 303:  # 303 may follow something that was done (RFC 9110, section 15.4.4)
        return _redirect(answer)
    if status in _BUSY or (status == 503 and faults):
        return Busy(_words(faults, status), retry_after(answer, now))
    if status in _ACCOUNT:
        return CallRefused(Blame.ACCOUNT, _words(faults, status), str(status))
    if 400 <= status < 500:
        return CallRefused(_blame(status, faults), _words(faults, status), str(status))
    return Unknown(_words(faults, status))


def failure(error: BaseException, *, sent: bool) -> Busy | Unknown:
    """What it means that no answer came. `sent`: the server may have the whole request."""
    words = _failure_words(error)
    if not sent and isinstance(error, OSError):
        return Busy(words, away=True)
    return Unknown(f"no answer: {words}" if sent else words)


def retry_after(answer: Answer, now: dt.datetime) -> float | None:
    """Seconds until another try, by `Retry-After` (RFC 9110) or by the vendor's `X-RateLimit-Reset`, in Unix time.

    Moments are the vendor's, and count from its own `Date`: a clock of ours that is slow would wait until all is late.
    """
    now = _date(answer, "Date") or now
    given = answer.header("Retry-After")
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    if (at := _date(answer, "Retry-After")) is not None:
        return max(0.0, (at - now).total_seconds())
    reset = answer.header("X-RateLimit-Reset")
    if re.fullmatch(r"[0-9]{1,11}", reset):
        return max(0.0, int(reset) - now.timestamp())
    return None


def _date(answer: Answer, name: str) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(answer.header(name))
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def scopes(answer: Answer) -> frozenset[str] | None:
    """What an API key may do, by the answer to `GET /v3/scopes`; None where it says nothing of it."""
    found = _json(answer.body)
    if answer.status != 200 or not isinstance(found, dict) or not isinstance(found.get("scopes"), list):
        return None
    return frozenset(scope for scope in found["scopes"] if isinstance(scope, str))


def _success(answer: Answer, sandbox: bool) -> Accepted | Unknown:
    if answer.status != 202 and not (answer.status == 200 and sandbox):
        return Unknown(f"SendGrid answered {answer.status}, which it never says of mail that it took")
    body = answer.body.strip()
    if body and (_json(body) is None or _faults(body) is not None):
        return Unknown(f"SendGrid answered {answer.status} with a body that is none of its own")
    return Accepted(answer.header("X-Message-Id"))


def _redirect(answer: Answer) -> CallRefused:
    try:
        host = urlsplit(answer.header("Location")).hostname
    except ValueError:
        host = None
    to = f" to {printable(host)}" if host else ""
    return CallRefused(Blame.ACCOUNT, f"redirected{to}: is providers host the API's own?", str(answer.status))


def _blame(status: int, faults: tuple[_Fault, ...]) -> Blame:
    """Whom a refusal is about. Where nothing is named it is the whole: to go on would refuse one after the other."""
    if str(status) == TOO_LARGE:
        return Blame.RECIPIENTS
    named = [fault.field for fault in faults if fault.field]
    # Where something else is wrong too, fewer recipients would not help.
    if named and all(_RECIPIENTS.match(field) for field in named):
        return Blame.RECIPIENTS
    return Blame.CONTENT


def _faults(body: bytes) -> tuple[_Fault, ...] | None:
    """The vendor's own error body: `{"errors": [{"message": …, "field": …, "help": …}]}`; None where it is none."""
    found = _json(body)
    errors = found.get("errors") if isinstance(found, dict) else None
    if not isinstance(errors, list):
        return None
    return tuple(
        _Fault(printable(error["message"]), field if isinstance(field := error.get("field"), str) else "")
        for error in errors
        if isinstance(error, dict) and isinstance(error.get("message"), str)
    )


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return None


def _words(faults: tuple[_Fault, ...], status: int) -> str:
    """The vendor's words, each once; places in lists are left out, so that equal faults read alike."""
    said = []
    for fault in faults:
        field = re.sub(r"\.[0-9]+\b", "", fault.field)
        said.append(f"{fault.message} ({field})" if field else fault.message)
    return printable("; ".join(dict.fromkeys(said))) or f"SendGrid answered {status}"


def printable(text: str) -> str:
    """Foreign words as they may stand in a log: one line, of a bounded length, without addresses."""
    return _ADDRESS.sub("<address>", _UNPRINTABLE.sub(" ", text)).strip()[:LONGEST_WORDS]


def _failure_words(error: BaseException) -> str:
    # urllib wraps what goes wrong before the answer
    cause = getattr(error, "reason", None)
    if isinstance(cause, BaseException) and not isinstance(error, ssl.SSLError):
        error = cause
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(f"the host's certificate is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return printable(f"no TLS with the host: {error}")
    if isinstance(error, TimeoutError):
        return "the call timed out"
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    return printable(f"{type(error).__name__} {error}")
