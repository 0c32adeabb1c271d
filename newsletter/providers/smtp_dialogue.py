"""What an SMTP server's replies say, and what each means for the message at hand. Pure: bytes in, values out.

Replies are read as RFC 5321, section 4.2, has them, enhanced status codes as RFC 2034 and RFC 3463. Whatever is
no reply is Nonsense: the connection is then as good as lost, at the point where it had come to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from newsletter.delivery.model import Accepted, Busy, Outcome, Refused
from newsletter.delivery.provider import Blame, CallRefused

#: RFC 5321, section 4.5.3.1.5, allows 512 octets; servers are met that write longer ones.
LONGEST_LINE = 4096
#: The longest replies are those to EHLO, of some 20 lines.
MOST_LINES = 128
#: Words of a server are kept up to so many characters.
LONGEST_WORDS = 300

#: What a line may begin with, and its code.
_CODES = {b"%d" % code: code for code in range(200, 600)}
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
#: To a final dot and the next envelope: taken, and go on.
_ALL_WELL = re.compile(rb"250[ ][^\n]*\n250[ ][^\n]*\n25[01][ ][^\n]*\n354[ ][^\n]*\n")
_ENHANCED = re.compile(r"^([245])\.[0-9]{1,3}\.[0-9]{1,3}(?=\s|$)")

_CLOSING = 421
_AUTHENTICATION_REQUIRED = 530
_OUT_OF_SEQUENCE = 503
_START_OF_CONTENT = 354


class Nonsense(Exception):
    """The server wrote something that is no SMTP reply, or none that can stand here."""


class Reply(NamedTuple):
    """One reply: its code, 200 to 599, and the octets behind the code, lines joined with `\\n`."""

    code: int
    octets: bytes

    @property
    def positive(self) -> bool:
        """Whether the server did what it was told (2yz)."""
        return 200 <= self.code < 300

    @property
    def transient(self) -> bool:
        """Whether it may do so later (4yz)."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether it never will (5yz)."""
        return self.code >= 500

    @property
    def enhanced(self) -> str:
        """The enhanced status code, such as `5.1.1`; '' where there is none of the same class as the code."""
        found = _ENHANCED.match(self._text())
        return found[0] if found and found[1] == str(self.code)[0] else ""

    @property
    def status(self) -> str:
        """Both codes, as far as given: `550 5.1.1`."""
        return f"{self.code} {self.enhanced}".rstrip()

    def words(self, address: str = "") -> str:
        """What the server says, on one line, without codes. `address` is taken out: it says nothing that the
        recipient does not, and would make every recipient's words different."""
        lines = [_ENHANCED.sub("", line, count=1) for line in self._text().split("\n")]
        text = " ".join(" ".join(lines).split())
        if not text.isprintable():
            text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        if address and address.lower() in text.lower():
            text = re.sub(re.escape(address), "…", text, flags=re.IGNORECASE)
        return text[:LONGEST_WORDS]

    def __str__(self) -> str:
        return f"{self.status} {self.words()}".rstrip()

    def _text(self) -> str:
        return self.octets.decode("utf-8", "replace")


class ReplyReader:
    """Makes replies of the octets that come from a server, however they are cut."""

    __slots__ = ("_buffer", "_code", "_lines")

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[bytes] = []

    @property
    def empty(self) -> bool:
        """Whether nothing is left over: no reply, and no part of one."""
        return not self._buffer and not self._lines

    def feed(self, octets: bytes) -> None:
        """Takes what the server wrote."""
        self._buffer = self._buffer + octets if self._buffer else octets

    def all_well(self, octets: bytes) -> bool:
        """Where nothing is left over: whether what the server wrote now is just what everybody hopes for after a final
        dot with an envelope behind it: that the message was taken, and three replies that ask for the next content.
        Then it is read; else it is kept for `reply`."""
        if not self._buffer and not self._lines and len(octets) <= LONGEST_LINE and _ALL_WELL.fullmatch(octets):
            return True
        self.feed(octets)
        return False

    def reply(self) -> Reply | None:
        """The next whole reply; None until more is fed. Raises Nonsense."""
        while True:
            end = self._buffer.find(b"\n")
            if end < 0 or end > LONGEST_LINE:
                if end > LONGEST_LINE or len(self._buffer) > LONGEST_LINE:
                    raise Nonsense(f"a reply with a line of more than {LONGEST_LINE} octets")
                return None
            line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
            if line.endswith(b"\r"):
                line = line[:-1]
            if line[3:4] == b" " and not self._lines and (plain := _CODES.get(line[:3])) is not None:
                return Reply(plain, line[4:])
            match = _LINE.fullmatch(line)
            if match is None:
                raise Nonsense(f"{_printable(line)!r} is no reply")
            code, separator, text = match.groups()
            if self._lines and code != self._code:
                raise Nonsense(f"a reply whose lines begin with {self._code.decode()} and {code.decode()}")
            self._code = code
            self._lines.append(text or b"")
            if separator != b"-":
                reply = Reply(int(code), self._lines[0] if len(self._lines) == 1 else b"\n".join(self._lines))
                self._lines = []
                return reply
            if len(self._lines) == MOST_LINES:
                raise Nonsense(f"a reply of more than {MOST_LINES} lines")


def _printable(line: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in line[:60].decode("latin-1"))


class Step(Enum):
    """What is to be done next about a message, after the replies to its envelope."""

    #: The server waits for the content: write it.
    CONTENT = auto()
    #: The message is decided, and the server has forgotten the transaction, or never had one.
    NEXT = auto()
    #: The message is decided, and the server still has a transaction open: RSET before the next.
    RESET = auto()
    #: The message is decided, but the server waits for content, for nobody: a lone dot ends that (RFC 2920, 3.1).
    LONE_DOT = auto()
    #: The connection is of no further use; nothing was decided about the message.
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the replies to an envelope say: the step, what became of the message, and whether it concerns everybody.

    `stop`: no other message would fare better for now; CallRefused where retrying will not help, Busy where it may.
    """

    step: Step
    outcome: Outcome | None = None
    stop: CallRefused | Busy | None = None
    reason: str = ""


#: The server asks for the content.
ALL_WELL = Verdict(Step.CONTENT)
#: The server took the message.
TAKEN = Accepted()


def read_envelope(mail: Reply, rcpt: Reply | None, data: Reply | None, address: str) -> Verdict:
    """What the replies to MAIL, RCPT and DATA say.

    Those are None that were not asked for, because the one before was negative, or that never came.
    """
    waiting = data is not None and data.code == _START_OF_CONTENT
    if not mail.positive:
        verdict = _read_mail(mail, waiting)
    elif rcpt is None or not rcpt.positive:
        verdict = _read_rcpt(rcpt, waiting, address)
    elif waiting:
        verdict = ALL_WELL
    else:
        verdict = _read_data(data, address)
    return verdict


def _read_mail(reply: Reply, waiting: bool) -> Verdict:
    """What a negative answer to MAIL says. It is about us, our sender and our size: about nobody's address."""
    # Where the server waits for content all the same: for whom? A lone dot might send somebody an empty message.
    if waiting or reply.code < 400 or reply.code in {_CLOSING, _OUT_OF_SEQUENCE}:
        return _out_of_step("MAIL", reply)
    if reply.transient:
        return Verdict(Step.NEXT, stop=Busy(str(reply)))
    return Verdict(Step.NEXT, stop=CallRefused(_blame(reply), reply.words(), reply.status))


def _read_rcpt(reply: Reply | None, waiting: bool, address: str) -> Verdict:
    if reply is None or reply.code < 400 or reply.code in {_CLOSING, _OUT_OF_SEQUENCE}:
        return _out_of_step("RCPT", reply)
    step = Step.LONE_DOT if waiting else Step.RESET
    if reply.code == _AUTHENTICATION_REQUIRED:
        return Verdict(step, stop=CallRefused(Blame.ACCOUNT, reply.words(address), reply.status))
    return Verdict(step, _negative(reply, address))


def _read_data(reply: Reply | None, address: str) -> Verdict:
    if reply is None or reply.code < 400 or reply.code in {_CLOSING, _OUT_OF_SEQUENCE}:
        return _out_of_step("DATA", reply)
    return Verdict(Step.RESET, _negative(reply, address))


def read_content(reply: Reply, address: str) -> Outcome:
    """What the answer to the final dot says. Raises Nonsense where it says nothing: then it is as good as lost.

    The words about a message that was taken are not kept: the server's own log has them, by the Message-ID.
    """
    if reply.positive:
        return TAKEN
    if reply.code < 400:
        raise Nonsense(f"the final dot was answered with {reply}")
    return _negative(reply, address)


def _negative(reply: Reply, address: str) -> Refused | Busy:
    if reply.permanent:
        return Refused(reply.words(address), reply.status)
    return Busy(f"{reply.status} {reply.words(address)}".rstrip())


def _out_of_step(command: str, reply: Reply | None) -> Verdict:
    said = f"was answered with {reply}" if reply else "got no answer"
    return Verdict(Step.CLOSE, reason=f"{command} {said}")


def _blame(reply: Reply) -> Blame:
    return Blame.ACCOUNT if reply.code in {_AUTHENTICATION_REQUIRED, 535, 538} else Blame.CONTENT
