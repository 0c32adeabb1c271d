"""Opens connections to an SMTP server: greeting, EHLO, TLS and login, all by `smtplib`.

What goes wrong here is certain: nothing was sent. What may be better in a moment is ServerAway; what will not be before
somebody changes the settings, the account or the server is CallRefused.
"""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.smtp_connection import Offers, SmtpConnection
from newsletter.providers.smtp_dialogue import Nonsense, Reply, ReplyReader
from newsletter.providers.smtp_wire import Lost, Waits, receive, wire


class ServerAway(OSError):
    """The server cannot be reached, or wants nothing of us for now. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where a server is and how it wants to be spoken to; times in seconds.

    `username` empty: no login. `ehlo_name` empty: this machine's name, or its address where it has none.
    """

    host: str
    port: int
    security: Literal["none", "starttls", "tls"] = "none"
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 60.0
    final_timeout: float = 600.0
    ehlo_name: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def open_connection(server: SmtpServer, tls: ssl.SSLContext, *, messages: int) -> SmtpConnection:
    """A connection that is ready for mail. `tls` verifies certificates and host names.

    Raises ServerAway, or CallRefused (the account's fault: it does not go away by itself).
    """
    try:
        sock, octets, offers = _shake_hands(server, tls)
    except CallRefused:
        raise
    except ssl.SSLCertVerificationError as error:
        raise CallRefused(
            Blame.ACCOUNT,
            f"the certificate of {server} does not hold: {error.verify_message.rstrip('.')}. "
            "`host` must be a name that the certificate is for, and its issuer one that this machine trusts",
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        words = f'{server} does not offer STARTTLS; if its port speaks TLS from the start, set security = "tls"'
        raise CallRefused(Blame.ACCOUNT, words) from error
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
        at_login = isinstance(error, smtplib.SMTPAuthenticationError)
        raise _turned_away(server, Reply(error.smtp_code, said), at_login=at_login) from error
    except ssl.SSLError as error:
        hint = '; does its port speak TLS only after STARTTLS (security = "starttls")?'
        hint = hint if server.security == "tls" and error.reason == "WRONG_VERSION_NUMBER" else ""
        raise ServerAway(f"{server}: no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}{hint}") from error
    except (Lost, smtplib.SMTPServerDisconnected) as error:
        raise ServerAway(f"{server}: {error}") from error
    except TimeoutError as error:
        raise ServerAway(f"{server}: no connection within {server.timeout:g} s") from error
    except OSError as error:
        raise ServerAway(f"{server}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise CallRefused(Blame.ACCOUNT, f"{server.host!r} is no name of a server") from error
    waits = Waits(server.timeout, server.final_timeout)
    return SmtpConnection(wire(sock, octets, waits), offers, messages=messages)


class _WithLimits(smtplib.SMTP):
    """`smtplib`, with replies read under limits of length and time. `octets` are those not yet read."""

    octets: ReplyReader
    _read_from: socket.socket | None = None

    def __init__(self, server: SmtpServer, **options: Any) -> None:
        self.octets = ReplyReader()
        try:
            # it would look for a name of this machine each time; see _own_name
            super().__init__(server.host, server.port, local_hostname="localhost", timeout=server.timeout, **options)
        except BaseException:
            self.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """Code and text. Raises Lost."""
        sock = _socket(self)
        if sock is not self._read_from:
            # What came before TLS was not protected by it, and must not be taken for an answer (CVE-2011-0411).
            if not self.octets.empty:
                raise Lost("the server wrote more than an answer to STARTTLS")
            self._read_from = sock
        reply = receive(sock, self.octets, float(self.timeout))
        return reply.code, reply.octets


class _WithLimitsOverTls(_WithLimits, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


def _shake_hands(server: SmtpServer, tls: ssl.SSLContext) -> tuple[socket.socket, ReplyReader, Offers]:
    smtp = _WithLimitsOverTls(server, context=tls) if server.security == "tls" else _WithLimits(server)
    try:
        # The dot and what follows it may be a small write, which must not wait for an acknowledgement.
        _socket(smtp).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _socket(smtp).setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        name = server.ehlo_name or _own_name() or _literal(_socket(smtp))
        _greet(smtp, name)
        if server.security == "starttls":
            smtp.starttls(context=tls)
            _greet(smtp, name)
        login = _log_in(smtp, server) if server.username else ""
    except BaseException:
        smtp.close()
        raise
    sock = _socket(smtp)
    version = sock.version() if isinstance(sock, ssl.SSLSocket) else None
    return sock, smtp.octets, Offers(smtp.has_extn("pipelining"), _size(smtp), version or "", login)


def _socket(smtp: smtplib.SMTP) -> socket.socket:
    sock: socket.socket | None = smtp.sock
    if sock is None:
        raise Lost("the connection is closed")
    return sock


def _greet(smtp: smtplib.SMTP, name: str) -> None:
    code, text = smtp.ehlo(name)
    if code >= 500:
        code, text = smtp.helo(name)
    if not 200 <= code < 300:
        raise smtplib.SMTPHeloError(code, text)


def _log_in(smtp: smtplib.SMTP, server: SmtpServer) -> str:
    """The mechanism that worked. Raises SMTPAuthenticationError or CallRefused."""
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    user, password = server.username.encode(), server.password.encode()
    ways = {"PLAIN": [b"\0" + user + b"\0" + password], "LOGIN": [user, password]}
    known = [mechanism for mechanism in ways if mechanism in offered]
    if not known:
        words = f"{server} offers no login that is known here (PLAIN, LOGIN)"
        if server.security == "none":
            words += '; many servers offer it only under TLS: security = "starttls" or "tls"'
        raise CallRefused(Blame.ACCOUNT, words)
    code, text = 0, b""
    for mechanism in known:
        try:
            code, text = _authenticate(smtp, mechanism, ways[mechanism])
        except Lost as lost:
            if isinstance(lost.__cause__, Nonsense):  # whose words are not repeated: they may be what it was told
                raise Lost("the server answers the login with nonsense") from None
            raise
        if code in {235, 503}:  # 503: already logged in
            return mechanism
        if code not in {504, 534}:  # not this mechanism, perhaps another
            break
    raise smtplib.SMTPAuthenticationError(code, _without_secrets(text, password, *ways["PLAIN"]))


def _authenticate(smtp: smtplib.SMTP, mechanism: str, answers: list[bytes]) -> tuple[int, bytes]:
    """RFC 4954; not by `smtplib.login`, which cannot write a password with letters beyond ASCII."""
    encoded = [base64.b64encode(answer).decode("ascii") for answer in answers]
    if mechanism == "PLAIN":
        return smtp.docmd("AUTH", f"PLAIN {encoded[0]}")
    code, text = smtp.docmd("AUTH", "LOGIN")
    for answer in encoded:
        if code == 334:
            code, text = smtp.docmd(answer)
    return code, text


def _without_secrets(text: bytes, *secrets: bytes) -> bytes:
    """Some servers repeat what they were told."""
    for secret in secrets:
        if secret:
            text = text.replace(base64.b64encode(secret), b"***").replace(secret, b"***")
    return text


def _turned_away(server: SmtpServer, reply: Reply, *, at_login: bool) -> Exception:
    if reply.permanent:
        what = "refused the login (`username`, `password`)" if at_login else "turned us away"
        return CallRefused(Blame.ACCOUNT, f"{server} {what}: {reply.words()}", reply.status)
    return ServerAway(f"{server}: {reply}")


def _size(smtp: smtplib.SMTP) -> int | None:
    if not smtp.has_extn("size"):
        return None
    limit = smtp.esmtp_features["size"]
    return int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 20 else 0


@cache
def _own_name() -> str:
    """This machine's full name in the DNS; '' where it has none (RFC 5321, section 4.1.3)."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() and name.isprintable() and " " not in name else ""


def _literal(sock: socket.socket) -> str:
    address = sock.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
