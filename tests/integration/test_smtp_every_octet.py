"""A connection that ends at every single octet: of the server's answers, and around a message's end.

The law: nobody whose message the server took is called refused or busy, and nobody is called accepted whose message it
did not take. Beyond it: one connection that ends costs one message its certainty, and nobody their message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
from servers.certificates import TestAuthority
from servers.letters import batch
from servers.smtp_calls import books_balance, from_a_thread, kinds, outcomes_by_address, provider_to
from servers.smtp_server import Script, SmtpServer

from newsletter.delivery.model import Outcome

_DOT = len(b".\r\n")
_AUTHORITY = TestAuthority()
_CLIENT_TLS = _AUTHORITY.client()
_SERVER_TLS = _AUTHORITY.server("127.0.0.1")
#: Everybody's number has five digits, so that all messages and envelopes are equally long.
_FIRST = 10_000

MODES = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one-at-a-time"])
#: Without TLS, connections that threads ask for are served otherwise than those of the main thread.
CALLS = pytest.mark.parametrize(
    ("tls", "in_threads"),
    [(False, False), (False, True), (True, True)],
    ids=["main-thread", "thread", "tls"],
)
ENDS = pytest.mark.parametrize("by_reset", [True, False], ids=["reset", "closed"])


@dataclass(frozen=True)
class Trial:
    """Three messages over a connection that ended at `octet`: the outcomes as letters, and the places of those that the
    server took, as many times as it took them."""

    octet: int
    letters: str
    taken: list[int]


class Trials:
    """Calls to one server; the first connection of each ends where it is told."""

    def __init__(self, server: SmtpServer, *, in_threads: bool) -> None:
        self.server = server
        self._in_threads = in_threads
        self._outcomes: dict[str, Outcome] = {}
        self._numbers = count(_FIRST, 3)

    def cut_out(self, octet: int) -> Trial:
        """The server writes so many octets, and ends the connection."""
        self.server.script.cut_out = {self.server.connections: octet}
        return self.whole(octet)

    def cut_in(self, octet: int) -> Trial:
        """The server reads so many octets, does what they say, and ends the connection before it answers."""
        self.server.script.cut_in = {self.server.connections: octet}
        return self.whole(octet)

    def whole(self, octet: int = -1) -> Trial:
        """A call, over a connection of its own."""
        before = len(self.server.taken)
        first = next(self._numbers)
        security = "tls" if self.server.script.tls else "none"
        provider = provider_to(self.server, security=security, tls=_CLIENT_TLS)
        mail = batch(3, first=first)
        if self._in_threads:
            outcomes = from_a_thread(lambda: outcomes_by_address(provider, mail))
        else:
            outcomes = outcomes_by_address(provider, mail)
        provider.close()
        self._outcomes |= outcomes
        places = [int(address.partition("@")[0][1:]) - first for address in self.server.addresses()[before:]]
        return Trial(octet, kinds(list(outcomes.values())), places)

    def close(self) -> None:
        """Everything together is in order, also what the server took after a call was over."""
        self.server.close()
        books_balance(self.server, self._outcomes)


@pytest.fixture
def trials(pipelining: bool, by_reset: bool, tls: bool, in_threads: bool) -> Iterator[Trials]:
    with SmtpServer(
        Script(
            pipelining=pipelining,
            cut_by_reset=by_reset,
            tls=_SERVER_TLS if tls else None,
            tls_from_start=tls,
        )
    ) as server:
        made = Trials(server, in_threads=in_threads)
        yield made
        made.close()


_GREETING = b"220 test.example ESMTP\r\n"
_ENVELOPE = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n"
_QUEUED = b"250 2.0.0 ok, queued as 4711\r\n"


def offers(script: Script) -> bytes:
    said = ["test.example", "ENHANCEDSTATUSCODES", *["PIPELINING"][: script.pipelining], f"SIZE {script.size}"]
    return "".join(f"250-{offer}\r\n" for offer in said).encode()


@CALLS
@MODES
@ENDS
def test_a_connection_that_ends_at_any_octet_of_the_answers(trials: Trials) -> None:
    start = len(_GREETING + offers(trials.server.script))
    for octet in range(1, start):
        assert trials.cut_out(octet) == Trial(octet, "BBB", [])
    for octet in range(start, start + 3 * len(_ENVELOPE + _QUEUED) + 1):
        accepted, beyond = divmod(octet - start, len(_ENVELOPE + _QUEUED))
        trial = trials.cut_out(octet)
        if accepted == 3 or beyond < len(_ENVELOPE):
            # whoever has no answer was not begun, and follows on another connection
            assert trial == Trial(octet, "AAA", [0, 1, 2])
        elif beyond == len(_ENVELOPE):
            # 354 was said, and the connection ended before the content was read: how much was written, nobody knows
            assert trial.letters in {letter.join(halves(accepted)) for letter in "UB"}, trial
            assert trial.taken == [place for place in range(3) if place != accepted], trial
        else:
            assert trial == Trial(octet, "U".join(halves(accepted)), [0, 1, 2])


def halves(place: int) -> tuple[str, str]:
    """`A` for all before, and for all behind."""
    return "A" * place, "A" * (2 - place)


@CALLS
@MODES
@ENDS
def test_a_connection_that_ends_at_any_octet_around_a_final_dot_and_the_envelope_behind_it(trials: Trials) -> None:
    """As many octets as the server read: from within the first message to within the second."""
    assert trials.whole() == Trial(-1, "AAA", [0, 1, 2])
    server = trials.server
    data = server.commands.index("DATA")
    end = sum(len(command) + 2 for command in server.commands[: data + 1]) + len(server.taken[0].message) + _DOT
    envelope = sum(len(command) + 2 for command in server.commands[data + 1 : data + 4])
    # what went along was read together with the dot, and the answers to both written together
    unanswered = end + (envelope if server.script.pipelining else 0)
    for octet in range(end - 6, end + envelope + 6):
        trial = trials.cut_in(octet)
        if octet < end:
            assert (trial.letters in {"UAA", "BAA"}, trial.taken) == (True, [1, 2]), trial
        elif octet <= unanswered:
            assert trial == Trial(octet, "UAA", [0, 1, 2])
        elif octet <= end + envelope:
            assert trial == Trial(octet, "AAA", [0, 1, 2])
        else:
            assert (trial.letters in {"AUA", "ABA"}, trial.taken) == (True, [0, 2]), trial


@CALLS
@MODES
@ENDS
def test_a_connection_that_ends_in_steps_through_a_whole_call(trials: Trials) -> None:
    assert trials.whole() == Trial(-1, "AAA", [0, 1, 2])
    server = trials.server
    octets = sum(len(command) + 2 for command in server.commands[:-1])
    octets += sum(len(taken.message) + _DOT for taken in server.taken)
    for octet in range(1, octets, 97):  # a prime, so that no place is met more than another
        trial = trials.cut_in(octet)
        assert trial.letters == "BBB" or trial.letters.count("A") >= 2, trial
