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
from newsletter.providers.smtp_flows import READ, WRITE, Flow

#: Ends a message whose last line has its CRLF (RFC 5321, section 4.1.1.4).
DOT = b".\r\n"

_RECEIVE = 8_192
#: What a socket that waits by default is told. Python's own way not to wait is a call to the system before each.
_AT_ONCE = socket.MSG_DONTWAIT
#: Seconds that the answer to QUIT is worth.
_GOODBYE = 2.0
#: Seconds that are none; 0 would have another meaning.
_NO_TIME = 1e-6
#: Pieces that one write takes: the system's limit (IOV_MAX) is 1,024.
_MOST_BUFFERS = 1_000


class Lost(Exception):
    """The connection is lost, or as good as lost: closed, reset, silent for too long, or writing nonsense."""


class Silent(Lost):
    """No answer came in time: whoever asks this server next may wait as long."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait, in seconds: for an answer, and for the one to the final dot (RFC 5321, section 4.5.3.2)."""

    answer: float
    final: float


def receive(sock: socket.socket, reader: ReplyReader, seconds: float, *, since: float | None = None) -> Reply:
    """The next reply, whole within `seconds` (from `since` on, in monotonic seconds), on a socket with a timeout of its
    own. Raises Lost."""
    deadline = (time.monotonic() if since is None else since) + seconds
    try:
        while (reply := reader.reply()) is None:
            sock.settimeout(max(deadline - time.monotonic(), _NO_TIME))
            reader.feed(_some(sock.recv(_RECEIVE)))
    except (OSError, Nonsense) as error:
        raise _lost(error, seconds) from error
    return reply


def _lost(error: OSError | Nonsense, seconds: float) -> Lost:
    """What went wrong while a reply was read."""
    if isinstance(error, TimeoutError):
        return Silent(f"no answer within {seconds:g} s")
    if isinstance(error, OSError):
        return Lost(f"the connection was lost: {error.strerror or error}")
    return Lost(f"the server writes nonsense: {error}")


def _some(octets: bytes) -> bytes:
    if not octets:
        raise Lost("the server closed the connection")
    return octets


def wire(sock: socket.socket, reader: ReplyReader, waits: Waits) -> Wire:
    """The octets of a connection that was opened; `reader` holds what came and was not read yet."""
    return (TlsWire if isinstance(sock, ssl.SSLSocket) else Wire)(sock, reader, waits)


class Wire:
    """A connection's octets. `lost` becomes true when nothing more is to be said on it.

    Nothing here waits: what must be waited for is a Flow, which `smtp_flows` runs. `owes` is true while something that
    was written has not gone out; then `flushed` or `message_flushed` is to be run before anything else.
    """

    #: Whether what reads waits for something to read; then nobody else need.
    waits_by_itself = False

    def __init__(self, sock: socket.socket, reader: ReplyReader, waits: Waits) -> None:
        self.lost = False
        self.owes = False
        self._sock = sock
        self._reader = reader
        self._waits = waits
        self._left: Sequence[bytes] = ()
        #: Octets that are left, and so many of them behind the final dot.
        self._missing = self._behind_dot = 0
        sock.settimeout(None)

    @property
    def socket(self) -> socket.socket:
        """To be waited for."""
        return self._sock

    @property
    def silent(self) -> bool:
        """Whether everything that came was read as replies."""
        return self._reader.empty

    def stirred(self) -> bool:
        """Whether the server closed the connection, or said something that nobody asked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not self.silent or bool(poll.poll(0))

    def said(self) -> Reply | None:
        """The next reply, if it is here. Raises Lost."""
        try:
            return self._reader.reply()
        except Nonsense as error:
            raise _lost(error, 0) from error

    def reply(self, *, final: bool = False, since: float | None = None) -> Flow[Reply]:
        """The next reply, whole in time; `final`: that to the final dot, which may take longer. `since` is when the
        waiting for it began (monotonic seconds), where that was before. Raises Lost."""
        seconds = self._waits.final if final else self._waits.answer
        until = (time.monotonic() if since is None else since) + seconds
        try:
            while (reply := self._reader.reply()) is None:
                yield READ, until
                self._read()
        except (OSError, Nonsense) as error:
            raise _lost(error, seconds) from error
        return reply

    def all_well(self) -> bool:
        """After a final dot with the next envelope behind it, and `silent` before: whether what is here is all four
        replies, and all as they should be. Then they are read; else `reply` has them. Raises Lost."""
        try:
            octets = self._sock.recv(_RECEIVE, _AT_ONCE)
        except BlockingIOError:
            return False  # it was said to be there, and is not
        except OSError as error:
            raise _lost(error, self._waits.final) from error
        return self._reader.all_well(_some(octets))

    def silence(self) -> Silent:
        """That no answer to a final dot came in time."""
        return Silent(f"no answer within {self._waits.final:g} s")

    @property
    def final_wait(self) -> float:
        """Seconds that an answer to a final dot may take."""
        return self._waits.final

    def write(self, octets: bytes) -> None:
        """Writes as much of it as goes at once. Raises Lost, with the server's own words where it left some."""
        self._left, self._missing = (octets,), len(octets)
        try:
            self._write_on()
        except OSError as error:
            raise self._unwritten(error) from error

    def flushed(self) -> Flow[None]:
        """Writes the rest. Raises Lost, as `write` does."""
        until = time.monotonic() + self._waits.answer
        try:
            while self.owes:
                yield WRITE, until
                self._write_on()
        except OSError as error:
            raise self._unwritten(error) from error

    def write_message(self, content: Sequence[bytes], size: int, tail: bytes) -> str:
        """Writes as much as goes at once of the content, of `size` octets, and `tail`, which begins with the final dot.

        Raises Lost where the dot was certainly not written whole. Where it may have been, says what went wrong after
        it ('': nothing); the server's answer may be there all the same.
        """
        self._left = [*content, tail] if len(content) < _MOST_BUFFERS else [b"".join(content), tail]
        self._missing = size + len(tail)
        self._behind_dot = len(tail) - len(DOT)
        try:
            self._write_on()
        except OSError as error:
            return self._cut_off(error)
        return ""

    def message_flushed(self) -> Flow[str]:
        """Writes the rest of a message; answers and raises as `write_message` does."""
        last = time.monotonic() + self._longest()
        try:
            while self.owes:
                yield WRITE, min(time.monotonic() + self._waits.answer, last)
                self._write_on()
        except OSError as error:
            return self._cut_off(error)
        return ""

    def last_words(self) -> Reply | None:
        """What the server said before it went away, if it did and it is here."""
        try:
            self._reader.feed(self._sock.recv(_RECEIVE, _AT_ONCE))
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

    def _read(self) -> None:
        try:
            self._reader.feed(_some(self._sock.recv(_RECEIVE, _AT_ONCE)))
        except BlockingIOError:
            return  # it was said to be there, and is not

    def _write_on(self) -> None:
        try:
            written = self._sock.sendmsg(self._left, (), _AT_ONCE)
        except BlockingIOError:
            written = 0
        self._missing -= written
        self.owes = self._missing > 0
        if self.owes:
            self._left = _behind(self._left, written)

    def _unwritten(self, error: OSError) -> Lost:
        self.owes = False
        reply = self.last_words()
        return Lost(str(reply) if reply else self._words(error))

    def _cut_off(self, error: OSError) -> str:
        self.owes = False
        if self._missing > self._behind_dot:
            raise Lost(self._words(error)) from error
        return self._words(error)

    def _longest(self) -> float:
        """Seconds that a whole message may take, however slowly it is read."""
        return max(self._waits.answer, self._waits.final)

    def _words(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return f"the server read nothing for {self._waits.answer:g} s"
        return f"the connection was lost: {error.strerror or error}"


class TlsWire(Wire):
    """The same under TLS. It waits for itself, in the thread that runs the flow: so encryption, which lets go of the
    interpreter, is done for as many messages at a time as there are threads."""

    waits_by_itself = True

    def reply(self, *, final: bool = False, since: float | None = None) -> Flow[Reply]:
        """See `Wire`."""
        yield from ()  # a flow that never waits
        seconds = self._waits.final if final else self._waits.answer
        return receive(self._sock, self._reader, seconds, since=since)

    def all_well(self) -> bool:
        """See `Wire`; waits for the answer."""
        self._sock.settimeout(self._waits.final)
        try:
            octets = self._sock.recv(_RECEIVE)
        except OSError as error:
            raise _lost(error, self._waits.final) from error
        return self._reader.all_well(_some(octets))

    def write(self, octets: bytes) -> None:
        """Writes all of it. Raises Lost, with the server's own words where it left some."""
        try:
            self._sock.settimeout(self._waits.answer)
            self._sock.sendall(octets)
        except OSError as error:
            raise self._unwritten(error) from error

    def write_message(self, content: Sequence[bytes], size: int, tail: bytes) -> str:  # noqa: ARG002 - see `Wire`
        """See `Wire`; writes all. How much of a write that failed went out is not known: the dot has one of its own."""
        self._missing, self._behind_dot = 1, 0
        try:
            self._sock.settimeout(self._longest())
            self._sock.sendall(b"".join(content))
            self._missing = 0
            self._sock.sendall(tail)
        except OSError as error:
            return self._cut_off(error)
        return ""

    def last_words(self) -> Reply | None:
        """See `Wire`."""
        try:
            self._sock.settimeout(0)
            self._reader.feed(self._sock.recv(_RECEIVE))
            return self._reader.reply()
        except (OSError, Nonsense):
            return None


def _behind(buffers: Sequence[bytes], written: int) -> list[bytes]:
    """What is left of `buffers` after so many octets of them were written."""
    for at, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[at + 1 :]]
        written -= len(buffer)
    return []
