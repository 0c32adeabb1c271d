"""Hands the mail to SendGrid's v3 API by the vendor's own package.

A batch becomes one request for each variant of the issue in it, one after the other within the one timeout: a request
has one content. The first request decides whether the call as a whole was refused. After one whose members were
neither accepted nor refused no other is made: what is left is busy, and comes again as a batch of its own.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from newsletter.delivery.model import Accepted, Batch, Busy, Limits, Outcome, Receipt, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.errors import TemplateError
from newsletter.providers.sendgrid_answers import TOO_LARGE, Answer, Verdict, failure, scopes, verdict
from newsletter.providers.sendgrid_body import MOST_BYTES, MOST_RECIPIENTS, Request, requests_for
from newsletter.providers.sendgrid_transport import OTHER_FORMAT, Client, Connections, Exchange, silence_debug_log
from newsletter.rendering.model import RenderedIssue, Variant

GLOBAL_HOST = "https://api.sendgrid.com"

_NOT_TRIED = "not tried: the request before it was not accepted"


class SendgridProvider:
    """SendGrid as a mail provider. `host` is the API's base URL, `timeout` the seconds of one whole call.

    In `sandbox` mode the vendor checks every request and sends nothing. `tls` says whose certificates are trusted, by
    default those the system trusts. Raises ValueError, which never repeats the key, for a key that no header can carry
    and for a host by plain http that is not this machine.
    """

    def __init__(
        self,
        name: str,
        api_key: str,
        *,
        host: str = GLOBAL_HOST,
        timeout: float = 60.0,
        sandbox: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("an API key is one word of ASCII characters")
        self._host = host.rstrip("/")
        if not self._host.startswith("https://") and not _is_loopback(self._host):
            raise ValueError(f"{host} would get the API key unencrypted: the host begins with https://")
        self._name = name
        self._key = api_key
        self._timeout = timeout
        self._sandbox = sandbox
        self._tls = tls or ssl.create_default_context()
        self._connections = Connections()
        silence_debug_log()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, host={self._host!r})"

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`."""
        return self._name

    @property
    def limits(self) -> Limits:
        """Of one request, by the vendor's pages."""
        return Limits(
            recipients_per_call=MOST_RECIPIENTS,
            per_recipient_status=False,
            return_tokens=False,
            bytes_per_call=MOST_BYTES,
        )

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Hands over one batch. Raises CallRefused where nobody of it was accepted."""
        try:
            made = requests_for(batch, rendered, sandbox=self._sandbox)
        except (TemplateError, ValueError) as error:  # ValueError: a Message-ID that is none
            raise CallRefused(Blame.CONTENT, str(error)) from error
        outcomes: dict[str, Outcome] = dict(made.refused)
        end = time.monotonic() + self._timeout
        going_on, away = True, False
        for place, request in enumerate(made.requests):
            left = end - time.monotonic()
            if not going_on or (place and left < self._timeout / 2):
                why = _NOT_TRIED if not going_on else "not tried: the call took too long"
                result: Outcome = Busy(why, 0.0, away)
            else:
                result = self._outcome(request, self._send(request, left), first=not place)
            away = isinstance(result, Busy) and result.away
            going_on = going_on and isinstance(result, Accepted | Refused)
            outcomes.update(dict.fromkeys(request.recipients.ids, result))
        return Receipt(outcomes)

    def check(self) -> str:
        """Asks what the key may do, and sends nothing."""
        answer = self._call(lambda api: api.client.scopes.get(), self._exchange(self._timeout))
        where = urlsplit(self._host).netloc
        if not isinstance(answer, Answer):
            raise OSError(f"{where}: {answer.reason}")
        found = scopes(answer)
        if found is None:
            refused = verdict(answer, sandbox=self._sandbox, now=_now())
            if isinstance(refused, CallRefused):
                raise refused
            raise OSError(f"{where} answered {answer.status}, and not with what the key may do")
        if "mail.send" not in found:
            raise CallRefused(
                Blame.ACCOUNT, "the API key is valid, and may not send mail: it lacks the scope mail.send"
            )
        sandbox = " (sandbox: nothing is sent)" if self._sandbox else ""
        return f"{where}: the API key is valid and may send mail{sandbox}"

    def close(self) -> None:
        """Closes the connections that were kept."""
        self._connections.close()

    def _send(self, request: Request, seconds: float) -> Verdict:
        if request.too_large:
            blame = Blame.RECIPIENTS if len(request.recipients) > 1 else Blame.CONTENT
            return CallRefused(blame, f"the request has over {MOST_BYTES} bytes")
        exchange = self._exchange(seconds)
        answer = self._call(lambda api: api.send(request.body), exchange)
        if not isinstance(answer, Answer):
            return answer
        found = verdict(answer, sandbox=self._sandbox, now=_now())
        if exchange.cut and isinstance(found, Accepted):
            return Unknown("SendGrid answered before it had the whole request")
        return found

    def _exchange(self, seconds: float) -> Exchange:
        return Exchange(seconds, self._tls, self._connections)

    def _call(self, call: Callable[[SendGridAPIClient], Any], exchange: Exchange) -> Answer | Busy | Unknown:
        """The answer, or what it means that there is none. No exception leaves: their tracebacks hold the key."""
        api = SendGridAPIClient(self._key, host=self._host)
        headers = api.client.request_headers | OTHER_FORMAT
        api.client = Client(exchange, host=api.host, request_headers=headers, version=3)
        api.client.timeout = self._timeout
        try:
            response = call(api)
            return self._masked(response.status_code, response.headers, response.body)
        except HTTPError as error:
            return self._masked(error.status_code, error.headers, error.body)
        except (OSError, HTTPException, ValueError) as error:
            found = failure(error, sent=exchange.sent and not exchange.cut)
            return replace(found, reason=found.reason.replace(self._key, "***"))
        finally:
            exchange.close()

    def _outcome(self, request: Request, found: Verdict, *, first: bool) -> Outcome:
        """The outcome of each recipient of a request. Raises CallRefused where it is the call's first one."""
        if isinstance(found, CallRefused):
            alone = len(request.recipients) == 1
            if alone and found.code == TOO_LARGE:
                # one of them adds some kilobytes at most: it is the issue that is too large, for everybody
                found = CallRefused(Blame.CONTENT, found.reason, found.code)
            if alone and found.blame is Blame.RECIPIENTS:
                return Refused(found.reason, found.code)
            if first:
                raise found
            # others of this call were accepted: these come again without them, and are refused then
            return Busy(str(found), 0.0)
        return found

    def _masked(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer without the key, should a server say it back: what is in an answer may be printed."""
        shown = {name: value.replace(self._key, "***") for name, value in headers.items()}
        return Answer(status, shown, body.replace(self._key.encode(), b"***"))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
