"""Every way SendGrid's answer can come, or not, and what it means for the recipients."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider_examples import GOLD, PLAIN, RENDERED, batch, issue, recipient
from sendgrid_examples import KEY, wired
from servers.certificates import TestAuthority
from servers.sendgrid_server import SAYINGS, Manner, Say, SendgridServer, accepted, error

from newsletter.delivery.model import Accepted, Busy, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.sendgrid import SendgridProvider
from newsletter.providers.sendgrid_answers import Answer, failure, printable, retry_after, scopes, verdict
from newsletter.rendering.model import Holed

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
#: More than a connection holds of what is written to it and not read.
LARGE = {PLAIN: replace(issue(), html=Holed(("x" * 20_000_000,), ()))}
THREE = batch(recipient(1), recipient(2), recipient(3))


@pytest.fixture
def server() -> Iterator[SendgridServer]:
    made = SendgridServer(key=KEY).start()
    yield made
    made.close()


REFUSED = {
    "a recipient": (error(400, "Does not contain a valid address.", "personalizations.1.to.0.email"), Blame.RECIPIENTS),
    "a double": (error(400, "should be unique between to, cc, and bcc", "personalizations"), Blame.RECIPIENTS),
    "somebody's values": (
        error(400, "may not exceed 10000 bytes", "personalizations.2.substitutions"),
        Blame.RECIPIENTS,
    ),
    "from": (error(400, "The from email does not contain a valid address.", "from.email"), Blame.CONTENT),
    "subject": (error(400, "The subject is required.", "subject"), Blame.CONTENT),
    "content": (error(400, "The content value must be a string.", "content.0.value"), Blame.CONTENT),
    "nothing it names": (error(400, "Bad Request"), Blame.CONTENT),
    "in words of no API": (Say(400, False, b"<html>Bad Request</html>"), Blame.CONTENT),
    "the size": (error(413, "Payload Too Large"), Blame.RECIPIENTS),
    "the key": (SAYINGS["401"](), Blame.ACCOUNT),
    "the sender's right": (SAYINGS["403"](), Blame.ACCOUNT),
    "the path": (error(404, "not found"), Blame.ACCOUNT),
    "the format": (error(415, "Content-Type should be application/json."), Blame.CONTENT),
}


@pytest.mark.parametrize(("said", "blame"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_says_what_it_is_about(server: SendgridServer, said: Say, blame: Blame) -> None:
    server.answer_next(said)
    with pytest.raises(CallRefused) as raised:
        wired(server).submit(THREE, RENDERED)
    assert raised.value.blame is blame
    assert raised.value.code == str(said.status)
    assert raised.value.reason
    assert server.messages == ()
    assert len(server.bodies) == 1


def test_a_refusal_that_names_the_content_beside_a_recipient_is_about_the_content() -> None:
    body = b'{"errors": [{"message": "a", "field": "personalizations.0.to"}, {"message": "b", "field": "content"}]}'
    found = verdict(Answer(400, {}, body), sandbox=False, now=NOW)
    assert isinstance(found, CallRefused)
    assert (found.blame, found.reason) == (Blame.CONTENT, "a (personalizations.to); b (content)")


@pytest.mark.parametrize("name", ["a recipient", "somebody's values"])
def test_whoever_is_refused_alone_is_refused(server: SendgridServer, name: str) -> None:
    said, _ = REFUSED[name]
    server.answer_next(said)
    (outcome,) = wired(server).submit(batch(recipient(1)), RENDERED).outcomes.values()
    assert isinstance(outcome, Refused)
    assert outcome.code == str(said.status)


def test_an_issue_too_large_for_one_alone_is_nobodys_fault(server: SendgridServer) -> None:
    """It would be refused for one after the other. Where others of the call were accepted they are not forgotten."""
    server.answer_next(error(413, "Payload Too Large"))
    with pytest.raises(CallRefused) as raised:
        wired(server).submit(batch(recipient(1)), RENDERED)
    assert (raised.value.blame, raised.value.code) == (Blame.CONTENT, "413")
    server.answer_next(accepted(), error(413, "Payload Too Large"))
    outcomes = wired(server).submit(batch(recipient(1), recipient(2, variant=GOLD)), RENDERED).outcomes
    assert [type(outcome) for outcome in outcomes.values()] == [Accepted, Busy]


BUSY = {
    "429 until": (
        error(429, "too many requests", None, {"X-RateLimit-Reset": str(int(time.time()) + 3600)}),
        (600, 3600),
    ),
    "429 for": (error(429, "too many requests", None, {"Retry-After": "7"}), (7, 7)),
    "429 both": (error(429, "too many", None, {"Retry-After": "7", "X-RateLimit-Reset": "99999999999"}), (7, 7)),
    "429": (error(429, "too many requests"), None),
    "503 of the vendor": (SAYINGS["503"](), None),
    "503 of the vendor for": (error(503, "service unavailable", None, {"Retry-After": "30"}), (30, 30)),
}


@pytest.mark.parametrize(("said", "after"), BUSY.values(), ids=BUSY.keys())
def test_busy_is_certainly_not_accepted_and_says_when(
    server: SendgridServer, said: Say, after: tuple[int, int] | None
) -> None:
    server.answer_next(said)
    for outcome in wired(server).submit(THREE, RENDERED).outcomes.values():
        assert isinstance(outcome, Busy)
        if after is None:
            assert outcome.retry_after is None
        else:
            assert outcome.retry_after is not None
            assert after[0] <= outcome.retry_after <= after[1]


LOST = {
    **{name: SAYINGS[name]() for name in ("500-before", "500-after", "502-after", "503-bare")},
    "504": Say(504, True, b""),
    "503 with an empty list": Say(503, False, b'{"errors": []}'),
    **{name: SAYINGS[name]() for name in ("reset-before", "reset-after", "nonsense", "cut-head", "truncated")},
    "200 outside the sandbox": Say(200, True),
    "204": Say(204, True),
    "202 with a web page": Say(202, True, b"<html>Please log in</html>"),
    "202 with errors": Say(202, True, b'{"errors": [{"message": "no"}]}'),
    "202 with a broken body": Say(202, True, b'{"'),
    "303": Say(303, True, headers={"Location": "/done"}),
    "no status of HTTP": Say(799, True),
}


@pytest.mark.parametrize("said", LOST.values(), ids=LOST.keys())
def test_what_may_have_been_accepted_is_unknown(server: SendgridServer, said: Say) -> None:
    server.answer_next(said)
    outcomes = wired(server).submit(THREE, RENDERED).outcomes
    assert {type(outcome) for outcome in outcomes.values()} == {Unknown}
    assert len(server.bodies) == 1


def test_accepted_carries_the_vendors_reference(server: SendgridServer) -> None:
    server.answer_next(Say(202, True, headers={"x-message-id": "14c5d75ce93"}), Say(202, True, b"{}"))
    provider = wired(server)
    assert set(provider.submit(THREE, RENDERED).outcomes.values()) == {Accepted("14c5d75ce93")}
    assert set(provider.submit(THREE, RENDERED).outcomes.values()) == {Accepted("")}


@pytest.mark.parametrize("manner", [Manner.HANG, Manner.DRIP])
def test_the_timeout_is_one_for_the_whole_call(server: SendgridServer, manner: Manner) -> None:
    """A byte now and then begins no new one."""
    server.answer_next(accepted(manner))
    began = time.monotonic()
    outcomes = wired(server, timeout=0.5).submit(THREE, RENDERED).outcomes
    assert time.monotonic() - began < 10
    assert set(outcomes.values()) == {Unknown("no answer: the call timed out")}


def test_an_answer_without_end_is_not_read_to_its_end(server: SendgridServer) -> None:
    server.answer_next(Say(202, True, b" " * 2_000_000))
    outcomes = wired(server).submit(THREE, RENDERED).outcomes
    assert {type(outcome) for outcome in outcomes.values()} == {Unknown}


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that takes connections and neither reads nor writes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept = []
        thread = threading.Thread(target=lambda: kept.append(listening.accept()), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
    for connection, _ in kept:
        connection.close()


def test_a_server_that_does_not_read_cannot_hold_the_call(mute: int) -> None:
    """Some of the request has left by then."""
    provider = SendgridProvider("sendgrid", KEY, host=f"http://127.0.0.1:{mute}", timeout=3.0)
    assert set(provider.submit(THREE, LARGE).outcomes.values()) == {Unknown("no answer: the call timed out")}


@pytest.mark.parametrize("status", [202, 413])
def test_an_answer_to_half_a_request_accepts_nobody(server: SendgridServer, status: int) -> None:
    """The refusal may be lost with the connection; then it is unknown."""
    server.answer_next(Say(status, False, unread=True))
    try:
        outcomes = wired(server).submit(THREE, LARGE).outcomes
    except CallRefused as refused:
        assert refused.code == str(status) == "413"  # noqa: PT017 - it may be raised, and need not
    else:
        assert {type(outcome) for outcome in outcomes.values()} == {Unknown}


def test_a_handshake_that_does_not_end_has_sent_nothing(mute: int) -> None:
    provider = SendgridProvider("sendgrid", KEY, host=f"https://127.0.0.1:{mute}", timeout=0.5)
    assert set(provider.submit(THREE, RENDERED).outcomes.values()) == {Busy("the call timed out", away=True)}


def test_a_name_nobody_knows_has_sent_nothing() -> None:
    provider = SendgridProvider("sendgrid", KEY, host="https://api.invalid", timeout=5.0)
    assert set(provider.submit(THREE, RENDERED).outcomes.values()) == {Busy("the host's name is not known", away=True)}
    with pytest.raises(OSError, match=r"api\.invalid: the host's name is not known"):
        provider.check()


@pytest.mark.parametrize(
    ("named", "trusted", "kind"), [("127.0.0.1", True, Accepted), ("127.0.0.1", False, Busy), ("127.0.0.2", True, Busy)]
)
def test_a_certificate_is_verified_before_anything_leaves(named: str, trusted: bool, kind: type) -> None:
    authority = TestAuthority()
    server = SendgridServer(key=KEY, tls=authority.server(named)).start()
    provider = SendgridProvider(
        "sendgrid", KEY, host=server.url, timeout=5.0, tls=authority.client() if trusted else None
    )
    try:
        outcomes = set(provider.submit(THREE, RENDERED).outcomes.values())
    finally:
        server.close()
    assert {type(outcome) for outcome in outcomes} == {kind}
    assert kind is Accepted or "certificate" in str(outcomes)
    assert len(server.requests) == (kind is Accepted)


_HEADERS = ["Date", "Retry-After", "X-RateLimit-Reset", "Location", "X-Message-Id"]


class TestPure:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "120"}, 120.0),
            ({"retry-after": "Wed, 07 Jan 2026 06:31:00 GMT"}, 60.0),
            ({"Retry-After": "Wed, 07 Jan 2026 06:00:00 GMT"}, 0.0),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "-5"}, None),
            ({"Retry-After": "soon", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 5)}, 5.0),
            ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 5)}, 0.0),
            ({"X-RateLimit-Reset": "1e9"}, None),
            # our clock is an hour slow
            ({"Date": "Wed, 07 Jan 2026 07:30:00 GMT", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 3620)}, 20.0),
            ({"Date": "Wed, 07 Jan 2026 07:30:00 GMT", "Retry-After": "Wed, 07 Jan 2026 07:31:00 GMT"}, 60.0),
            ({"Date": "nonsense", "Retry-After": "7"}, 7.0),
            ({}, None),
        ],
    )
    def test_when_to_come_again(self, headers: dict[str, str], seconds: float | None) -> None:
        assert retry_after(Answer(429, headers, b""), NOW) == seconds

    @given(
        st.integers(100, 999),
        st.dictionaries(st.sampled_from(_HEADERS), st.text()),
        st.binary()
        | st.sampled_from([b'{"errors": [{"message": "m", "field": 1}, 2]}', b'{"errors": 1}', b"[" * 9999]),
        st.booleans(),
    )
    def test_any_answer_has_a_verdict_and_only_two_statuses_accept(
        self, status: int, headers: dict[str, str], body: bytes, sandbox: bool
    ) -> None:
        found = verdict(Answer(status, headers, body), sandbox=sandbox, now=NOW)
        assert isinstance(found, Accepted | Busy | Unknown | CallRefused)
        if isinstance(found, Accepted):
            assert status == 202 or (sandbox and status == 200)
        else:
            assert found.reason
            assert found.reason.isprintable()
        if status >= 500:
            assert isinstance(found, Unknown | Busy)
        scopes(Answer(status, headers, body))

    def test_without_an_answer_what_left_decides(self) -> None:
        for error_met in (ConnectionResetError(104, "reset"), TimeoutError(), ssl.SSLError(1, "bad"), OSError("odd")):
            assert isinstance(failure(error_met, sent=False), Busy)
            assert isinstance(failure(error_met, sent=True), Unknown)

    def test_foreign_words_are_cut_and_hold_no_address(self) -> None:
        said = printable("duplicate of [Ada.B+x@example.co.uk]\r\n\x1b[31m in p.to, <b@c.de>; " + "w" * 1000)
        assert said.startswith("duplicate of [<address>] [31m in p.to, <<address>>; www")
        assert len(said) == 300
