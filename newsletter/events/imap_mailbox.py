"""A folder of an IMAP server as a mailbox (RFC 3501)."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from newsletter.errors import TemporaryError
from newsletter.events.bounce_message import MOST_BYTES
from newsletter.events.mailboxes import WrongMailbox

#: Where messages that are done go, if there is such a folder.
PROCESSED = "Processed"
#: Seconds to wait for each answer.
_TIMEOUT = 60.0
#: Bytes of one piece of an answer: some servers give a message whole, whatever part of it is asked for.
_MOST_ANSWERED = 64 * MOST_BYTES
#: A message's unique number: 32 bits.
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
#: What the library stumbles over where a server says what no server should.
_NONSENSE = (ValueError, OverflowError, IndexError, TypeError, AttributeError)


class _Measured(imaplib.IMAP4):
    """Takes no answer that is beyond all measure, whatever the server announces."""

    def read(self, size: int) -> bytes:
        """See imaplib."""
        if size > _MOST_ANSWERED:
            raise self.abort(f"an answer of {size} bytes")
        return super().read(size)


class _MeasuredSsl(_Measured, imaplib.IMAP4_SSL):
    """The same with TLS."""


@dataclass(frozen=True, slots=True)
class ImapServer:
    """A server, and a folder on it. `encrypted` verifies the server's certificate."""

    host: str
    port: int
    user: str
    folder: str = "INBOX"
    encrypted: bool = True


class ImapMailbox:
    """What is unseen is waiting. A message that is done gets the flag Seen; where there is a folder `Processed`, and
    the server can MOVE (RFC 6851), it goes there."""

    def __init__(self, server: ImapServer, password: str, tls: ssl.SSLContext, *, timeout: float = _TIMEOUT) -> None:
        """Raises WrongMailbox where the server refuses, and TemporaryError where it cannot be reached."""
        if not server.folder.isascii():
            raise WrongMailbox(f"the folder {server.folder!r} is not ASCII")
        self._where = f"{server.user}@{server.host}:{server.port}"
        self._imap: imaplib.IMAP4 | None = None
        try:
            imap = (
                _MeasuredSsl(server.host, server.port, ssl_context=tls, timeout=timeout)
                if server.encrypted
                else _Measured(server.host, server.port, timeout=timeout)
            )
        except ssl.SSLCertVerificationError as error:
            raise WrongMailbox(f"the certificate of {server.host} does not hold: {error.verify_message}") from None
        except (OSError, imaplib.IMAP4.error, *_NONSENSE) as error:
            raise self._later("cannot be reached", error) from None
        try:
            self._begin(imap, server, password)
        except BaseException:
            imap.shutdown()
            raise
        self._imap = imap

    def waiting(self) -> Iterator[str]:
        """See `Mailbox`. Raises TemporaryError where the server does not tell."""
        try:
            found = self._asked("SEARCH", "UNSEEN")
        except OSError as error:
            raise TemporaryError(str(error), hint="run it again later") from None
        names = b" ".join(one for one in found if isinstance(one, bytes)).decode("ascii", "replace").split()
        yield from sorted({name for name in names if _NUMBER.fullmatch(name)}, key=int)

    def read(self, name: str) -> bytes:
        """See `Mailbox`. PEEK leaves the message unseen."""
        for part in self._asked("FETCH", name, f"(BODY.PEEK[]<0.{MOST_BYTES}>)"):
            if isinstance(part, tuple):
                return bytes(part[1])
        raise OSError(f"{self._where} does not give message {name}")

    def done(self, name: str) -> None:
        """See `Mailbox`."""
        self._asked("STORE", name, "+FLAGS.SILENT", r"(\Seen)")
        if self._moves:
            with suppress(OSError):  # it is seen: that is enough
                self._asked("MOVE", name, PROCESSED)

    def close(self) -> None:
        """See `Mailbox`."""
        imap, self._imap = self._imap, None
        if imap is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                imap.logout()
            with suppress(OSError):
                imap.shutdown()  # a logout that fails leaves the connection open

    def _begin(self, imap: imaplib.IMAP4, server: ImapServer, password: str) -> None:
        try:
            imap.login(server.user, password)
            capabilities = imap.capability()[1]
            _, listed = imap.list('""', PROCESSED)
            answer, words = imap.select(_quoted(server.folder))
        except imaplib.IMAP4.abort as error:
            raise self._later("broke off", error, password) from None
        except OSError as error:
            raise self._later("cannot be reached", error, password) from None
        except UnicodeEncodeError:
            raise WrongMailbox("the user's name or password has characters that IMAP cannot log in with") from None
        except imaplib.IMAP4.error as error:
            raise WrongMailbox(f"{self._where} refuses: {_words(error.args, password)}") from None
        except _NONSENSE as error:
            raise self._later("broke off", error, password) from None
        if answer != "OK":
            raise WrongMailbox(f"{self._where} has no folder {server.folder!r}: {_words(words, password)}")
        can_move = any(b"MOVE" in one.upper().split() for one in capabilities if isinstance(one, bytes))
        # behind a reconnection the server may number messages anew; within one they keep their numbers
        self._moves = can_move and any(isinstance(one, bytes) for one in listed) and server.folder != PROCESSED

    def _asked(self, command: str, *arguments: str) -> list[bytes | tuple[bytes, bytes] | None]:
        """The answer to a command by unique numbers. Raises OSError where the server refuses this one, and
        TemporaryError where it is gone."""
        assert self._imap is not None
        try:
            answer, data = self._imap.uid(command, *arguments)
        except (imaplib.IMAP4.abort, OSError, *_NONSENSE) as error:
            raise self._later("broke off", error) from None
        except imaplib.IMAP4.error as error:
            raise OSError(f"{self._where}: {_words(error.args, '')}") from None
        if answer != "OK":
            raise OSError(f"{self._where}: {_words(data, '')}")
        return list(data)

    def _later(self, what: str, error: Exception, password: str = "") -> TemporaryError:
        return TemporaryError(f"{self._where} {what}: {_words(str(error), password)}", hint="run it again later")


def _quoted(folder: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", folder)
    return f'"{escaped}"'


def _words(said: object, password: str) -> str:
    """A server's words, without a password that it repeats, and without what a terminal obeys."""
    items = said if isinstance(said, list | tuple) else [said]
    text = " ".join(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in items)
    line = " ".join((text.replace(password, "***") if password else text).split())
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)[:200]
