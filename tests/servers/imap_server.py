"""An IMAP server on loopback, with as much of RFC 3501 as a mailbox for bounces needs, and UID MOVE (RFC 6851)."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stored:
    """One message in a folder."""

    uid: int
    data: bytes
    flags: set[str] = field(default_factory=set)


class ImapServer:
    """Listens as soon as it is made; a thread a connection. `folders` may be looked at and changed by tests.

    `unreadable` are unique numbers that FETCH refuses; `drop_at` ends the connection at that command.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        user: str = "bounces",
        password: str = "secret",
        folders: tuple[str, ...] = ("INBOX",),
        can_move: bool = True,
    ) -> None:
        self.folders: dict[str, list[Stored]] = {name: [] for name in folders}
        self.commands: list[str] = []
        self.unreadable: set[int] = set()
        self.drop_at = ""
        self._tls, self._login = tls, (user, password)
        self._can_move = can_move
        self._next = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> ImapServer:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a connection of the test server did not end"

    def deliver(self, data: bytes, folder: str = "INBOX") -> Stored:
        """Puts a message into a folder."""
        self._next += 1
        self.folders[folder].append(Stored(self._next, data))
        return self.folders[folder][-1]

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            with sock, sock.makefile("rb") as lines:
                sock.sendall(b"* OK test.example ready\r\n")
                self._converse(sock, lines)

    def _converse(self, sock: socket.socket, lines: object) -> None:
        folder = ""
        for line in lines:  # type: ignore[attr-defined]  # a file
            tag, _, rest = line.decode("latin-1").strip().partition(" ")
            verb, _, arguments = rest.partition(" ")
            if verb.upper() == "UID":
                verb, _, arguments = arguments.partition(" ")
            verb = verb.upper()
            self.commands.append(f"{verb} {arguments}".strip())
            if verb == self.drop_at:
                return
            if verb == "SELECT":
                folder = arguments.strip('"')
            answer, said = self._answer(verb, arguments, folder)
            sock.sendall(b"".join(b"* " + one + b"\r\n" for one in answer) + f"{tag} {said}\r\n".encode())
            if verb == "LOGOUT":
                return

    def _answer(self, verb: str, arguments: str, folder: str) -> tuple[list[bytes], str]:
        if verb in ("CAPABILITY", "LOGOUT"):
            said = b"BYE" if verb == "LOGOUT" else b"CAPABILITY IMAP4rev1 UIDPLUS" + b" MOVE" * self._can_move
            return [said], "OK done"
        if verb == "LOGIN":
            given = tuple(re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', arguments))
            user, password = ("".join(one) for one in given)
            good = (user, password.replace("\\", "")) == self._login
            return [], "OK logged in" if good else f"NO [AUTHENTICATIONFAILED] wrong password {password}"
        if verb == "LIST":
            name = arguments.rpartition(" ")[2].strip('"')
            return [b'LIST () "/" ' + name.encode()] if name in self.folders else [], "OK done"
        if verb == "SELECT":
            there = folder in self.folders
            return [b"0 EXISTS"] * there, "OK [READ-WRITE] selected" if there else "NO there is no such folder"
        return self._of_messages(verb, arguments, self.folders[folder])

    def _of_messages(self, verb: str, arguments: str, messages: list[Stored]) -> tuple[list[bytes], str]:
        if verb == "SEARCH":
            unseen = [str(one.uid) for one in messages if "\\Seen" not in one.flags]
            return [f"SEARCH {' '.join(unseen)}".strip().encode()], "OK done"
        number, _, what = arguments.partition(" ")
        found = [one for one in messages if one.uid == int(number)]
        if verb == "FETCH":
            if int(number) in self.unreadable:
                return [], "NO it cannot be read"
            limit = int(re.findall(r"<0\.(\d+)>", what)[0])
            assert "PEEK" in what
            return [
                b"1 FETCH (UID %d BODY[]<0> {%d}\r\n%s)" % (one.uid, len(one.data[:limit]), one.data[:limit])
                for one in found
            ], "OK done"
        if verb == "STORE":
            for one in found:
                one.flags |= set(re.findall(r"\\\w+", what))
            return [], "OK done"
        if verb == "MOVE":
            for one in found:
                messages.remove(one)
                self.folders[what.strip('"')].append(one)
            return [], "OK done"
        return [], "BAD no such command"
