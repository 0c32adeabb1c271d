"""Connections that break off anywhere, by either side: the sum of what was sent, refused and unknown holds."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.certificates import TestAuthority
from servers.letters import batch, issue
from servers.smtp_calls import books_balance, kinds, outcomes_by_address, provider_to, submit
from servers.smtp_server import Reaction, Script, SmtpServer

from newsletter.delivery.model import Busy, Outcome
from newsletter.delivery.provider import CallRefused
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address

_DOT = b".\r\n"
_AUTHORITY = TestAuthority()
CLIENT_TLS = _AUTHORITY.client()
SERVER_TLS = _AUTHORITY.server("127.0.0.1")


class TestContentThatIsCutOff:
    @pytest.mark.parametrize("pipelining", [True, False])
    def test_a_message_whose_dot_was_not_written_is_not_sent(self, pipelining: bool) -> None:
        """More than the buffers of both sides hold: the server resets while we write."""
        with SmtpServer(Script(pipelining=pipelining, cut_in={0: 3_000_000})) as server:
            provider = provider_to(server)
            outcomes = outcomes_by_address(provider, batch(2), issue(14_000_000))
            provider.close()
        books_balance(server, outcomes)
        assert kinds(list(outcomes.values())) == "BA"

    def test_a_server_that_reads_nothing_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            held: list[socket.socket] = []

            def serve() -> None:
                sock, _ = listener.accept()
                held.append(sock)
                sock.sendall(b"220 x\r\n")
                sock.recv(1000)
                sock.sendall(b"250-x\r\n250 SIZE 99999999\r\n")
                for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
                    sock.recv(1000)
                    sock.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            provider = SmtpProvider(
                "smtp", Address("127.0.0.1", listener.getsockname()[1], timeout=0.3, final_timeout=0.5)
            )
            outcomes = submit(provider, 1, issue(14_000_000))
            thread.join()
            provider.close()
            for sock in held:
                sock.close()
        assert kinds(outcomes) == "B"
        assert "the server read nothing" in outcomes[0].reason  # type: ignore[union-attr]


class _Snapping:
    """A socket that writes so many octets, and then only errors: where a network breaks is not ours to choose."""

    def __init__(self, sock: socket.socket, octets: int) -> None:
        self._sock = sock
        self._left = octets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, octets: bytes) -> None:
        if self.sendmsg([octets]) < len(octets):
            raise BrokenPipeError(32, "Broken pipe")

    def sendmsg(self, buffers: list[bytes], *_how: object) -> int:
        octets = b"".join(buffers)[: self._left]
        if not octets:
            raise BrokenPipeError(32, "Broken pipe")
        self._left -= len(octets)
        self._sock.sendall(octets)
        return len(octets)


@settings(max_examples=100)
@given(st.booleans(), st.one_of(st.integers(0, 8_000), st.integers(-10, 120).map(lambda octets: (octets,))))
def test_wherever_our_writing_breaks_off_the_sum_holds(pipelining: bool, place: int | tuple[int]) -> None:
    """`place`: after so many octets, or so many after the second message's final dot."""
    with SmtpServer(Script(pipelining=pipelining)) as server:
        provider = provider_to(server)
        assert kinds(submit(provider, batch(2, first=8))) == "AA"
        (connection,) = provider._pool._idle
        written = 2 * (len(server.taken[0].message) + len(_DOT)) + sum(len(line) + 2 for line in server.commands[1:])
        octets = place if isinstance(place, int) else written + place[0]
        wire = connection._wire
        wire._sock = _Snapping(wire._sock, octets)  # type: ignore[assignment]
        outcomes = outcomes_by_address(provider, batch(3))
        provider.close()
    del server.taken[:2]
    books_balance(server, outcomes)
    letters = kinds(list(outcomes.values()))
    # whatever the server answered before is read, so that nothing is unknown but what it could not answer
    assert letters.count("A") >= 2
    assert letters.count("B") <= 1
    if not isinstance(place, int) and place[0] >= -len(_DOT):
        assert letters[1] == ("B" if place[0] < 0 else "A")


@pytest.mark.parametrize("accepts", [True, False])
def test_under_tls_an_error_while_the_dot_is_written_is_not_taken_for_a_message_not_sent(
    monkeypatch: pytest.MonkeyPatch, accepts: bool
) -> None:
    real = ssl.SSLSocket.sendall

    def sendall(sock: ssl.SSLSocket, octets: bytes) -> None:
        real(sock, octets)
        if octets.startswith(_DOT):
            raise BrokenPipeError(32, "Broken pipe")

    answer = Reaction(b"250 ok\r\n") if accepts else Reaction(accept=True, reset=True)
    script = Script(
        tls=SERVER_TLS, tls_from_start=True, react=lambda moment: answer if moment.step == "content" else None
    )
    with SmtpServer(script) as server:
        provider = provider_to(server, security="tls", tls=CLIENT_TLS)
        monkeypatch.setattr(ssl.SSLSocket, "sendall", sendall)
        outcomes = submit(provider, 2)
        provider.close()
    assert kinds(outcomes) == ("AA" if accepts else "UU")
    assert server.addresses() == ["p1@example.com", "p2@example.com"]


_SAYINGS = st.sampled_from(
    [
        b"",
        b"250 ok\r\n",
        b"354 go on\r\n",
        b"421 closing\r\n",
        b"450 later\r\n",
        b"503 what?\r\n",
        b"550 no\r\n",
        b"nonsense\r\n",
        b"250-ok\r\n250 ok\r\n",
        b"250 ok\r\n250 ok\r\n",
        b"25",
    ]
)


@st.composite
def _reactions(draw: st.DrawFn, step: str) -> Reaction:
    """What a server may do, however rude; but it does not say that it took what it did not, or the other way round."""
    say = draw(_SAYINGS)
    ends = (
        draw(st.sampled_from(["close", "reset", ""]))
        if say not in {b"", b"25"}
        else draw(st.sampled_from(["close", "reset"]))
    )
    negative = say[:1] in {b"4", b"5"}
    accept = say.startswith(b"250") or (not negative and draw(st.booleans()))
    return Reaction(say, accept=accept if step == "content" else None, close=ends == "close", reset=ends == "reset")


_STEPS = st.sampled_from(["connect", "EHLO", "MAIL", "RCPT", "DATA", "content", "RSET"])


@st.composite
def _scripts(draw: st.DrawFn) -> dict[str, Any]:
    cuts = st.dictionaries(st.integers(0, 2), st.integers(0, 15_000), max_size=2)
    said = st.dictionaries(st.integers(0, 2), st.integers(0, 600), max_size=2)
    places = draw(st.lists(st.tuples(_STEPS, st.integers(0, 5)), max_size=3, unique=True))
    reactions = {place: draw(_reactions(place[0])) for place in places}
    refused = draw(st.sets(st.integers(1, 5), max_size=2))
    return {
        "pipelining": draw(st.booleans()),
        "cut_in": draw(cuts),
        "cut_out": draw(said),
        "cut_by_reset": draw(st.booleans()),
        "data_despite_refusal": draw(st.booleans()),
        "rcpt": {f"p{number}@example.com": b"550 5.1.1 no\r\n" for number in refused},
        "react": lambda moment: reactions.get((moment.step, moment.before)),
        "reactions": reactions,
    }


@settings(max_examples=150)
@given(_scripts(), st.booleans())
def test_whatever_breaks_the_sum_holds(script: dict[str, Any], tls: bool) -> None:
    """Two calls to a server that is cut off after any octet and answers anything at any step.

    Nobody whom it accepted is called refused or busy, nobody is called accepted whom it did not, nobody gets two, and
    no more are unknown than things went wrong.
    """
    broken = len(script["cut_in"]) + len(script["cut_out"]) + len(script.pop("reactions"))
    if tls:
        script |= {"tls": SERVER_TLS, "tls_from_start": True}
    with SmtpServer(Script(**script)) as server:
        provider = provider_to(
            server, timeout=1.0, final_timeout=1.0, security="tls" if tls else "none", tls=CLIENT_TLS
        )
        outcomes: dict[str, Outcome] = {}
        for mail in (batch(3), batch(2, first=4)):
            try:
                outcomes |= outcomes_by_address(provider, mail)
            except CallRefused as refused:
                outcomes |= {recipient.address: Busy(str(refused)) for recipient in mail.recipients}
        provider.close()
    books_balance(server, outcomes)
    assert kinds(list(outcomes.values())).count("U") <= broken
