"""What is written to an SMTP server and read from it, within limits of time, and how much of it certainly went out."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from newsletter.providers.smtp_dialogue import Nonsense, Reply, ReplyReader

#: Ends a message whose last line has its CRLF (RFC 5321, section 4.1.1.4).
DOT = b".\r\n"

_RECEIVE = 65_536
#: Seconds that the answer to QUIT is worth.
_GOODBYE = 2.0
#: Seconds that are none; 0 would have another meaning.
_NO_TIME = 1e-6


class Lost(Exception):
    """The connection is lost, or as good as lost: closed, reset, silent for too long, or writing nonsense."""


class Silent(Lost):
    """No answer came in time: whoever asks this server next may wait as long."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait, in seconds: for an answer, and for the one to the final dot (RFC 5321, section 4.5.3.2)."""

    answer: float
    final: float


def receive(sock: socket.socket, reader: ReplyReader, seconds: float) -> Reply:
    """The next reply, whole within `seconds`. Raises Lost."""
    deadline = time.monotonic() + seconds
    try:
        while (reply := reader.reply()) is None:
            sock.settimeout(max(deadline - time.monotonic(), _NO_TIME))
            octets = sock.recv(_RECEIVE)
            if not octets:
                raise Lost("the server closed the connection")
            reader.feed(octets)
    except TimeoutError:
        raise Silent(f"no answer within {seconds:g} s") from None
    except OSError as error:
        raise Lost(f"the connection was lost: {error.strerror or error}") from error
    except Nonsense as error:
        raise Lost(f"the server writes nonsense: {error}") from error
    return reply


class Wire:
    """A connection's octets. `lost` becomes true when nothing more is to be said on it."""

    def __init__(self, sock: socket.socket, reader: ReplyReader, waits: Waits) -> None:
        self.lost = False
        self._sock = sock
        self._reader = reader
        self._waits = waits

    @property
    def silent(self) -> bool:
        """Whether everything that came was read as replies."""
        return self._reader.empty

    def stirred(self) -> bool:
        """Whether the server closed the connection, or said something that nobody asked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not self.silent or bool(poll.poll(0))

    def reply(self, *, final: bool = False) -> Reply:
        """The next reply; `final`: that to the final dot, which may take longer. Raises Lost."""
        return receive(self._sock, self._reader, self._waits.final if final else self._waits.answer)

    def write(self, octets: bytes) -> None:
        """Writes all of it. Raises Lost, with the server's own words where it left some."""
        try:
            self._sock.settimeout(self._waits.answer)
            self._sock.sendall(octets)
        except OSError as error:
            reply = self.last_words()
            raise Lost(str(reply) if reply else self._words(error)) from error

    def write_message(self, content: Sequence[bytes], tail: bytes) -> str:
        """Writes the content and `tail`, which begins with the final dot.

        Raises Lost where the dot was certainly not written whole. Where it may have been, says what went wrong after
        it ('': nothing); the server's answer may be there all the same.
        """
        dot_out = False
        try:
            if isinstance(self._sock, ssl.SSLSocket):
                # How much of a write that failed went out is not known under TLS, so the dot has a write of its own.
                self._sock.settimeout(self._longest())
                self._sock.sendall(b"".join(content))
                dot_out = True
                self._sock.sendall(tail)
                return ""
            left = [*content, tail]
            missing = sum(map(len, left))
            deadline = time.monotonic() + self._longest()
            while True:
                self._sock.settimeout(min(self._waits.answer, max(deadline - time.monotonic(), _NO_TIME)))
                written = self._sock.sendmsg(left)
                missing -= written
                if not missing:
                    return ""
                dot_out = missing <= len(tail) - len(DOT)
                left = _behind(left, written)
        except OSError as error:
            if not dot_out:
                raise Lost(self._words(error)) from error
            return self._words(error)

    def last_words(self) -> Reply | None:
        """What the server said before it went away, if it did and it is here."""
        try:
            self._sock.settimeout(0)
            self._reader.feed(self._sock.recv(_RECEIVE))
            return self._reader.reply()
        except (OSError, Nonsense):
            return None

    def say_goodbye(self) -> None:
        """Writes QUIT; `close` waits for the answer."""
        if self.lost:
            return
        try:
            self._sock.settimeout(_GOODBYE)
            self._sock.sendall(b"QUIT\r\n")
        except OSError:
            self.lost = True

    def close(self) -> None:
        """Closes the connection, after the answer to QUIT unless it is lost. May be called twice."""
        if not self.lost:
            self.lost = True
            with suppress(Lost):
                receive(self._sock, self._reader, _GOODBYE)
        self._sock.close()

    def _longest(self) -> float:
        """Seconds that a whole message may take, however slowly it is read."""
        return max(self._waits.answer, self._waits.final)

    def _words(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return f"the server read nothing for {self._waits.answer:g} s"
        return f"the connection was lost: {error.strerror or error}"


def _behind(buffers: list[bytes], written: int) -> list[bytes]:
    """What is left of `buffers` after so many octets of them were written."""
    for at, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[at + 1 :]]
        written -= len(buffer)
    return []
