"""One connection to an SMTP server, and the transactions on it (RFC 5321, RFC 2920).

What is written and what is answered is followed octet by octet, because everything depends on the final dot: a
connection lost before the whole of it was written has not sent the message, one lost after it may have. Where the
server offers PIPELINING an envelope is one write, and the next message's envelope goes along with the final dot.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from newsletter.delivery.model import Busy, Outcome, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.smtp_dialogue import (
    ALL_WELL,
    TAKEN,
    Nonsense,
    Reply,
    Step,
    Verdict,
    read_content,
    read_envelope,
)
from newsletter.providers.smtp_flows import READ, Flow, run_here
from newsletter.providers.smtp_outbox import Mail, Outbox
from newsletter.providers.smtp_wire import DOT, Lost, Silent, Wire

_CLOSING = 421


@dataclass(frozen=True, slots=True)
class Offers:
    """What the server offers, and how it was reached. `size`: the largest message in octets, None where it says none,
    0 where it has no limit (RFC 1870)."""

    pipelining: bool = False
    size: int | None = None
    tls: str = ""
    login: str = ""


class SmtpConnection:
    """A connection that is logged in and ready for mail. Used by one thread at a time.

    `finished` becomes true when it is of no further use, with the `reason`; `messages` is how many it may carry.
    """

    def __init__(
        self,
        wire: Wire,
        offers: Offers,
        *,
        messages: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.offers = offers
        self.finished = False
        self.reason = ""
        self._wire = wire
        self._most = offers.size or math.inf
        self._left = messages
        self._clock = clock
        self._used_at = clock()
        #: Whether the server still holds a transaction that came to nothing.
        self._open = False
        #: Whether the server took the last message and asked for the content of the next, all in one.
        self._all_well = False

    @property
    def socket(self) -> socket.socket:
        """What its flows wait for."""
        return self._wire.socket

    def deliver(self, outbox: Outbox) -> Flow[None]:
        """Sends what is in `outbox`, until it is empty or stopped, or this connection is finished.

        No trouble with the network raises: it is decided what became of a message whose content was begun, and
        whatever is not decided was certainly not sent.
        """
        ahead = False  # whether the envelope of the first mail went along with the last dot
        while not self.finished and (mail := outbox.first()) is not None:
            if not ahead and outbox.late:
                outbox.stop(Busy("not tried: the call took too long", 0.0))
                break
            if mail.size > self._most:
                # not to the byte: each recipient's message has a size of its own, and all of them one reason
                size = f"the message has some {-(-mail.size // 1000):,} kB, more than the {self._most:,} bytes that"
                outbox.stop(CallRefused(Blame.CONTENT, f"{size} the server takes: raise its limit, or send less"))
                break
            if self._all_well:
                self._all_well = False
                verdict = ALL_WELL
            else:
                try:
                    verdict = yield from self._envelope(mail, ahead)
                except Lost as lost:
                    self._end(str(lost))
                    break
            if verdict.step is Step.CONTENT:
                ahead = yield from self._content(mail, outbox)
            else:
                ahead = False
                yield from self._conclude(verdict, outbox)
        self._used_at = self._clock()

    def ready(self, unasked: float) -> bool:
        """Whether it still stands. The server is asked where it was idle for more than `unasked` seconds."""
        if self.finished or self._wire.stirred():
            return False
        if self.idle() <= unasked:
            return True
        try:
            self.command(b"RSET")
        except Lost as lost:
            self._end(str(lost))
            return False
        self._open = False
        self._used_at = self._clock()
        return True

    def idle(self) -> float:
        """Seconds since it was used."""
        return self._clock() - self._used_at

    def command(self, command: bytes) -> Reply:
        """The answer to one command that is answered with 2yz. Raises Lost, also for every other answer."""
        reply = run_here(self._answer_to(command + b"\r\n"), self.socket)
        if not reply.positive:
            raise Lost(f"{command.decode()} was answered with {reply}")
        return reply

    def say_goodbye(self) -> None:
        """Writes QUIT; `close` waits for the answer."""
        self._wire.say_goodbye()

    def close(self) -> None:
        """Closes the connection, after the answer to QUIT unless it is lost. May be called twice."""
        self.finished = True
        self._wire.close()

    def abort(self) -> None:
        """Closes the connection at once, whatever it was doing."""
        self._wire.lost = True
        self.close()

    def _answer_to(self, octets: bytes) -> Flow[Reply]:
        self._wire.write(octets)
        if self._wire.owes:
            yield from self._wire.flushed()
        return (yield from self._wire.reply())

    def _envelope(self, mail: Mail, ahead: bool) -> Flow[Verdict]:
        """Writes the envelope, unless it went `ahead`, and reads what the server has to say to it. Raises Lost."""
        pipelining = self.offers.pipelining
        commands = self._commands(mail).splitlines(keepends=True)
        replies: list[Reply] = []
        try:
            if not ahead:
                yield from self._open_envelope(commands)
            for command in commands:
                if not pipelining:
                    replies.append((yield from self._answer_to(command)))
                else:
                    replies.append(self._wire.said() or (yield from self._wire.reply()))
                if replies[-1].code == _CLOSING or (not pipelining and replies[-1].code >= 300):
                    break
        except Lost as lost:
            if all(reply.positive for reply in replies):
                raise
            self._end(str(lost))  # but what it said before counts
        mail_reply, rcpt, data = [*replies, None, None][:3]
        assert mail_reply is not None
        return read_envelope(mail_reply, rcpt, data, mail.address)

    def _open_envelope(self, commands: Sequence[bytes]) -> Flow[None]:
        """Ends the transaction that is open, if one is; writes the whole envelope, where it may. Raises Lost."""
        if not self._wire.silent:
            raise Lost("the server answers more than it is asked")
        reset = [b"RSET\r\n"] if self._open else []
        together = b"".join([*reset, *commands] if self.offers.pipelining else reset)
        if together:
            self._wire.write(together)
            if self._wire.owes:
                yield from self._wire.flushed()
        if reset and not (reply := (yield from self._wire.reply())).positive:
            raise Lost(f"RSET was answered with {reply}")
        self._open = False

    def _conclude(self, verdict: Verdict, outbox: Outbox) -> Flow[None]:
        """Does what is left to do about a message whose content is not sent."""
        if verdict.step is Step.CLOSE:
            self._end(verdict.reason)
        elif not self.finished:
            self._open = verdict.step is not Step.NEXT
            if verdict.step is Step.LONE_DOT:
                yield from self._end_content_for_nobody()
        if verdict.stop is not None:
            outbox.stop(verdict.stop)
        elif verdict.outcome is not None:
            outbox.decide(verdict.outcome)

    def _end_content_for_nobody(self) -> Flow[None]:
        try:
            self._wire.write(DOT)
            if self._wire.owes:
                yield from self._wire.flushed()
            if (yield from self._wire.reply(final=True)).code == _CLOSING:
                self._end("the server is closing")
        except Lost as lost:
            self._end(str(lost))

    def _content(self, mail: Mail, outbox: Outbox) -> Flow[bool]:
        """Sends the content and decides what became of the message; whether the next envelope went along."""
        if not self._wire.silent:
            self._end("the server answered before it was asked")
            return False
        self._left -= 1
        following = outbox.second() if self.offers.pipelining and self._left and not outbox.late else None
        if following is not None and following.size > self._most:
            following = None
        try:
            tail = DOT if following is None else DOT + self._commands(following)
            trouble = self._wire.write_message(mail.content, mail.size, tail)
            if self._wire.owes:
                trouble = yield from self._wire.message_flushed()
        except Lost as lost:
            self._end(str(lost))
            outbox.decide(self._unsent(mail, lost))
            return False
        if trouble:
            self._end(trouble)
        # Here and not in a flow of its own: each costs every message a microsecond.
        since = time.monotonic()
        try:
            if following is not None and not trouble:
                if not self._wire.waits_by_itself:
                    yield READ, since + self._wire.final_wait
                self._all_well = self._wire.all_well()
            outcome = TAKEN if self._all_well else (yield from self._after_dot(mail, since))
        except (TimeoutError, Lost, Nonsense) as error:
            outcome = self._unanswered(error, outbox)
        outbox.decide(outcome)
        if not self._left:
            self.finished = True
            self.reason = self.reason or "it carried as many messages as one connection may"
        return following is not None

    def _after_dot(self, mail: Mail, since: float) -> Flow[Outcome]:
        """What the server says to the final dot, by itself. Raises Lost or Nonsense."""
        reply = self._wire.said() or (yield from self._wire.reply(final=True, since=since))
        if reply.code == _CLOSING:
            self._end(str(reply))
        return read_content(reply, mail.address)

    def _unanswered(self, error: TimeoutError | Lost | Nonsense, outbox: Outbox) -> Outcome:
        """What became of a message that was sent whole, and not answered for."""
        lost = self._wire.silence() if isinstance(error, TimeoutError) else error
        self._end(str(lost))
        if isinstance(lost, Silent):
            # each of the others would wait as long, ten minutes a message, and be unknown in the end
            outbox.stop(Busy(f"not tried: to the message before there was {lost}"))
        return Unknown(f"after the whole message was sent: {lost}")

    def _unsent(self, mail: Mail, lost: Lost) -> Outcome:
        """What became of a message of which the final dot was not written. The server may have said why."""
        reply = self._wire.last_words()
        if reply is not None and reply.code >= 400:
            outcome = read_content(reply, mail.address)
            if isinstance(outcome, Busy | Refused):
                return outcome
        return Busy(f"before the whole message was sent: {lost}")

    def _commands(self, mail: Mail) -> bytes:
        """The envelope: three commands, a line each."""
        if self.offers.size is None:
            return b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (mail.sender, mail.recipient)
        return b"MAIL FROM:<%b> SIZE=%d\r\nRCPT TO:<%b>\r\nDATA\r\n" % (mail.sender, mail.size, mail.recipient)

    def _end(self, reason: str) -> None:
        self.finished = self._wire.lost = True
        self.reason = self.reason or reason
