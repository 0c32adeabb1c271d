"""One connection to the SMTP test server."""

from __future__ import annotations

import base64
import re
import socket
import struct
import time
from contextlib import suppress
from typing import Protocol

from servers.smtp_script import Moment, Reaction, Script, Taken

_RECEIVE = 1 << 20
_END = b"\r\n.\r\n"


class Over(Exception):
    """The connection has ended."""


class Keeper(Protocol):
    """What a connection asks of the server it belongs to."""

    script: Script
    commands: list[str]
    turns: int

    def moment(self, step: str, address: str, connection: int) -> Moment: ...

    def take(self, taken: Taken) -> None: ...

    def forget(self, sock: socket.socket, instead: socket.socket | None = None) -> None: ...


class Session:
    """One connection, read and answered in a thread of its own."""

    def __init__(self, server: Keeper, sock: socket.socket, number: int) -> None:
        self._server = server
        self._script = server.script
        self._sock = sock
        self._number = number
        self._buffer = b""
        self._encrypted = False
        self._in_left = self._script.cut_in.get(number)
        self._out_left = self._script.cut_out.get(number)
        self._out: list[bytes] = []
        self._sender: str | None = None
        self._to = ""
        self._failed_to = ""
        self._logged_in = False

    def run(self) -> None:
        """Until either side has enough, which is Over or an OSError."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._script.tls_from_start:
            self._start_tls()
        self._answer("connect", b"220 test.example ESMTP\r\n")
        while True:
            line = self._line()
            verb = line[:4].upper()
            self._server.commands.append(line.decode("latin-1"))
            handler = {
                b"EHLO": self._ehlo,
                b"HELO": self._helo,
                b"STAR": self._starttls,
                b"AUTH": self._auth,
                b"MAIL": self._mail,
                b"RCPT": self._rcpt,
                b"DATA": self._data,
                b"RSET": self._rset,
                b"NOOP": self._noop,
                b"QUIT": self._quit,
            }.get(verb)
            if handler is None:
                self._say(b"500 5.5.2 no such command\r\n")
            else:
                handler(line)

    def end(self) -> None:
        """Closes the connection."""
        self._server.forget(self._sock)
        with suppress(OSError):
            self._sock.close()

    def _ehlo(self, _line: bytes) -> None:
        script = self._script
        offers = [b"test.example", b"ENHANCEDSTATUSCODES"]
        if script.pipelining:
            offers.append(b"PIPELINING")
        if script.size is not None:
            offers.append(b"SIZE %d" % script.size)
        if script.tls and not self._encrypted:
            offers.append(b"STARTTLS")
        if script.logins and (self._encrypted or not script.login_needs_tls):
            offers.append(b"AUTH " + " ".join(script.mechanisms).encode())
        lines = [b"250-" + offer for offer in offers[:-1]] + [b"250 " + offers[-1]]
        self._answer("EHLO", b"\r\n".join(lines) + b"\r\n")

    def _helo(self, _line: bytes) -> None:
        self._answer("HELO", b"250 test.example\r\n")

    def _starttls(self, _line: bytes) -> None:
        if self._script.tls is None or self._encrypted:
            self._say(b"502 5.5.1 no TLS here\r\n")
        elif self._answer("STARTTLS", b"220 2.0.0 go ahead\r\n"):
            self._flush()
            self._buffer = b""
            self._start_tls()

    def _auth(self, line: bytes) -> None:
        reaction = self._server.moment("AUTH", "", self._number)
        if self._react(reaction):
            return
        mechanism, _, initial = line[5:].partition(b" ")
        user, password = "", ""
        if mechanism.upper() == b"PLAIN":
            _, user, password = base64.b64decode(initial).decode().split("\0")
        elif mechanism.upper() == b"LOGIN":
            user = self._asked(b"334 VXNlcm5hbWU6\r\n")
            password = self._asked(b"334 UGFzc3dvcmQ6\r\n")
        if mechanism.decode().upper() not in self._script.mechanisms:
            self._say(b"504 5.5.4 not this mechanism\r\n")
        elif self._script.logins.get(user) == password:
            self._logged_in = True
            self._say(b"235 2.7.0 welcome\r\n")
        else:
            self._say(b"535 5.7.8 no such user or password (" + base64.b64encode(password.encode()) + b")\r\n")

    def _asked(self, question: bytes) -> str:
        self._say(question)
        return base64.b64decode(self._line()).decode()

    def _mail(self, line: bytes) -> None:
        sender = _in_brackets(line)
        if self._script.logins and not self._logged_in:
            self._say(b"530 5.7.0 log in first\r\n")
        elif self._sender is not None:
            self._say(b"503 5.5.1 nested MAIL\r\n")
        elif self._answer("MAIL", b"250 2.1.0 ok\r\n"):
            self._sender, self._to, self._failed_to = sender, "", ""

    def _rcpt(self, line: bytes) -> None:
        address = _in_brackets(line)
        if self._sender is None and not self._script.data_despite_refusal:
            self._say(b"503 5.5.1 MAIL first\r\n")
            return
        self._failed_to = address
        reply = self._script.rcpt.get(address, b"250 2.1.5 ok\r\n")
        if self._answer("RCPT", reply, address):
            self._to = address

    def _data(self, _line: bytes) -> None:
        address = self._to or self._failed_to
        if not self._to and not (self._script.data_despite_refusal and self._failed_to):
            self._answer("DATA", b"503 5.5.1 no valid recipients\r\n", address)
            return
        if not self._answer("DATA", b"354 go on\r\n", address):
            return
        message = self._content()
        recipient, sender = self._to, self._sender
        self._sender, self._to = None, ""
        default = self._script.content.get(address, b"250 2.0.0 ok, queued as 4711\r\n")
        if not recipient:
            default = b"554 5.5.1 no valid recipients\r\n"
        moment = self._server.moment("content", address, self._number)
        reaction = self._script.react(moment)
        accept = default.startswith(b"2")
        if reaction is not None:
            accept = reaction.say.startswith(b"2") if reaction.accept is None else reaction.accept
        if accept and recipient:
            self._server.take(Taken(recipient, sender or "", message, self._number))
        if reaction is None:
            self._say(default)
        else:
            self._do(reaction)

    def _rset(self, _line: bytes) -> None:
        if self._answer("RSET", b"250 2.0.0 ok\r\n"):
            self._sender, self._to = None, ""

    def _noop(self, _line: bytes) -> None:
        self._answer("NOOP", b"250 2.0.0 ok\r\n")

    def _quit(self, _line: bytes) -> None:
        self._answer("QUIT", b"221 2.0.0 bye\r\n")
        self._flush()
        raise Over

    def _answer(self, step: str, default: bytes, address: str = "") -> bool:
        """Says what is scripted for the step, or `default`; whether that was positive."""
        moment = self._server.moment(step, address, self._number)
        reaction = self._script.react(moment)
        if reaction is not None:
            self._do(reaction)
            return reaction.say[:1] in {b"2", b"3"}
        self._say(default)
        return default[:1] in {b"2", b"3"}

    def _react(self, moment: Moment) -> bool:
        reaction = self._script.react(moment)
        if reaction is not None:
            self._do(reaction)
        return reaction is not None

    def _do(self, reaction: Reaction) -> None:
        if reaction.say:
            self._say(reaction.say)
        if reaction.hang:
            self._flush()
            while self._sock.recv(_RECEIVE):  # reads on, and says nothing, until the other side has enough
                pass
            raise Over
        if reaction.reset:
            self._flush()
            self._reset()
        if reaction.close:
            self._flush()
            raise Over

    def _content(self) -> bytes:
        self._flush()
        # as if the line before had just ended, so that a dot at the very start ends an empty message
        pieces = [b"\r\n", self._buffer]
        tail = b"\r\n" + self._buffer
        before = 0  # octets before `tail`
        while (found := tail.find(_END)) < 0:
            octets = self._receive()
            pieces.append(octets)
            before += len(tail) - len(tail[-4:])
            tail = tail[-4:] + octets
        whole = b"".join(pieces)
        end = before + found
        self._buffer = whole[end + len(_END) :]
        message = whole[2 : end + 2]
        return message.replace(b"\r\n..", b"\r\n.") if b"\r\n.." in message else message

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._flush()
            self._buffer += self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _receive(self) -> bytes:
        if self._in_left == 0:
            self._cut()
        octets = self._sock.recv(_RECEIVE if self._in_left is None else self._in_left)
        if not octets:
            raise Over
        if self._in_left is not None:
            self._in_left -= len(octets)
        return octets

    def _say(self, octets: bytes) -> None:
        """Answers are written together once there is nothing more to read (RFC 2920, section 3.2)."""
        self._out.append(octets)

    def _flush(self) -> None:
        octets, self._out = b"".join(self._out), []
        if not octets:
            return
        self._server.turns += 1
        if self._script.delay:
            time.sleep(self._script.delay)
        if self._in_left == 0:
            self._cut()
        if self._out_left is not None:
            if len(octets) >= self._out_left:
                self._send(octets[: self._out_left])
                self._cut()
            self._out_left -= len(octets)
        self._send(octets)

    def _send(self, octets: bytes) -> None:
        piece = self._script.piece or len(octets) or 1
        for start in range(0, len(octets), piece):
            self._sock.sendall(octets[start : start + piece])
            if self._script.pause:
                time.sleep(self._script.pause)

    def _cut(self) -> None:
        if self._script.cut_by_reset:
            self._reset()
        raise Over

    def _reset(self) -> None:
        """Ends the connection with RST, which also throws away what the other side has not read yet."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Over

    def _start_tls(self) -> None:
        assert self._script.tls is not None
        plain = self._sock
        try:
            self._sock = self._script.tls.wrap_socket(plain, server_side=True)
        except OSError:
            raise Over from None
        self._server.forget(plain, self._sock)
        self._encrypted = True


def _in_brackets(line: bytes) -> str:
    found = re.search(rb"<([^>]*)>", line)
    return found[1].decode("latin-1") if found else ""
