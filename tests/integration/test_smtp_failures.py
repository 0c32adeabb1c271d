"""Mail through SMTP where something breaks: what is sent, what is not, and what nobody can know."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from servers.certificates import TestAuthority
from servers.letters import batch
from servers.smtp_calls import books_balance, kinds, outcomes_by_address, provider_to, submit
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter.delivery.model import Busy, Recipients, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers import smtp_outbox
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address
from newsletter.providers.smtp_outbox import Mail

_DOT = b".\r\n"
_AUTHORITY = TestAuthority()
CLIENT_TLS = _AUTHORITY.client()
SERVER_TLS = _AUTHORITY.server("127.0.0.1")


@pytest.fixture(params=[True, False], ids=["pipelining", "one-at-a-time"])
def server(request: pytest.FixtureRequest) -> Iterator[SmtpServer]:
    with SmtpServer(Script(pipelining=request.param)) as running:
        yield running


def at(step: str, before: int, reaction: Reaction) -> Callable[[Moment], Reaction | None]:
    """This reaction, once, at the step that so many of its kind came before."""
    return lambda moment: reaction if (moment.step, moment.before) == (step, before) else None


def always(step: str, reaction: Reaction) -> Callable[[Moment], Reaction | None]:
    return lambda moment: reaction if moment.step == step else None


CLOSING = Reaction(b"421 4.3.2 shutting down\r\n", close=True)
RESET = Reaction(reset=True)


class TestMistakesOfOurs:
    @pytest.mark.parametrize("chunk", [2, 100])
    def test_what_was_decided_before_an_unexpected_error_stays_decided(
        self, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, chunk: int
    ) -> None:
        monkeypatch.setattr(smtp_outbox, "_AT_ONCE", chunk)
        made = SmtpProvider._mail

        def mail(self: SmtpProvider, *given: Any) -> Mail:
            if given[-1].address == "p4@example.com":
                raise TypeError("a mistake")
            return made(self, *given)

        monkeypatch.setattr(SmtpProvider, "_mail", mail)
        monkeypatch.setattr(SmtpProvider, "_mails", lambda *_: None)
        provider = provider_to(server)
        outcomes = submit(provider, 6)
        assert kinds(outcomes) == "AAABBB"
        assert "a mistake" in str(outcomes[-1])
        with pytest.raises(CallRefused, match="no message can be made: TypeError") as caught:
            submit(provider, batch(3, first=4))
        assert caught.value.blame is Blame.CONTENT
        provider.close()
        assert server.addresses() == [f"p{number}@example.com" for number in range(1, 4)]


class TestServersThatGoAway:
    @pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("reaction", [CLOSING, RESET, Reaction(close=True), Reaction(b"hm?\r\n")])
    def test_a_connection_that_ends_in_an_envelope_is_followed_by_another(
        self, server: SmtpServer, step: str, reaction: Reaction
    ) -> None:
        server.script.react = at(step, 1, reaction)
        provider = provider_to(server)
        assert kinds(submit(provider, 4)) == "AAAA"
        provider.close()
        assert server.connections == 2
        assert server.addresses() == [f"p{number}@example.com" for number in range(1, 5)]

    def test_421_to_the_dot_is_busy_and_the_others_follow_on_another_connection(self, server: SmtpServer) -> None:
        server.script.react = at("content", 1, CLOSING)
        provider = provider_to(server)
        outcomes = submit(provider, 4)
        provider.close()
        assert kinds(outcomes) == "ABAA"
        assert outcomes[1] == Busy("421 4.3.2 shutting down")

    @pytest.mark.parametrize("step", ["connect", "EHLO", "MAIL", "RCPT"])
    def test_a_server_that_always_closes_is_tried_twice_and_then_busy(self, server: SmtpServer, step: str) -> None:
        server.script.react = always(step, CLOSING)
        provider = provider_to(server)
        outcomes = submit(provider, 3)
        provider.close()
        assert kinds(outcomes) == "BBB"
        assert "shutting down" in outcomes[0].reason  # type: ignore[union-attr]
        assert server.connections <= 2

    def test_a_server_that_closes_after_each_message_gets_a_connection_for_each(self, server: SmtpServer) -> None:
        server.script.react = lambda moment: CLOSING if moment.step == "MAIL" and moment.before % 2 else None
        provider = provider_to(server)
        assert kinds(submit(provider, 5)) == "AAAAA"
        provider.close()
        assert server.connections == 5

    def test_nobody_listening_is_busy_and_says_where(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        server.close()
        outcomes = submit(provider, 2)
        assert outcomes == [Busy(f"127.0.0.1:{server.port}: Connection refused", away=True)] * 2

    def test_where_nobody_listens_no_mail_is_made(self, server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Recipients] = []
        with monkeypatch.context() as patch:
            patch.setattr(SmtpProvider, "_mails", lambda _, *given: made.append(given[-1]))
            provider = provider_to(server)
            assert kinds(submit(provider, 2)) == "AA"  # one by one
            assert list(map(len, made)) == [2]
            server.close()
            provider.close()
            assert kinds(submit(provider, 3)) == "BBB"
            assert list(map(len, made)) == [2]

    @pytest.mark.parametrize("messages_per_connection", [1000, 7])
    def test_a_server_that_takes_two_connections_gets_all_mail_over_two(
        self, server: SmtpServer, messages_per_connection: int
    ) -> None:
        busy = Reaction(b"421 4.7.0 too many connections from you\r\n", close=True)
        server.script.react = lambda moment: busy if moment.step == "connect" and server.standing > 2 else None
        provider = provider_to(server, messages_per_connection=messages_per_connection)
        with ThreadPoolExecutor(12) as threads:
            answers = threads.map(lambda number: kinds(submit(provider, batch(10, first=10 * number))), range(60))
            assert list(answers) == ["A" * 10] * 60
        provider.close()
        assert sorted(server.addresses()) == sorted(f"p{number}@example.com" for number in range(600))

    def test_where_all_connections_stay_in_use_the_rest_comes_again_at_once(self, server: SmtpServer) -> None:
        busy = Reaction(b"421 4.7.0 too many connections from you\r\n", close=True)
        server.script.react = lambda moment: busy if moment.step == "connect" and server.standing > 1 else None
        provider = provider_to(server)
        provider._pool._patience = 0.2
        with ThreadPoolExecutor(1) as threads:
            begun = threading.Event()
            server.script.react, react = (
                lambda moment: (begun.set(), time.sleep(1.0))[1] if moment.step == "DATA" else react(moment),  # type: ignore[func-returns-value] # it waits
                server.script.react,
            )
            first = threads.submit(submit, provider, 1)
            assert begun.wait(5)
            [second] = submit(provider, batch(1, first=2))
            assert second == Busy(
                f"127.0.0.1:{server.port}: none of the connections that the server takes became free within 0.2 s",
                0.0,
                away=True,
            )
            assert kinds(first.result()) == "A"
        provider.close()

    def test_a_refusal_by_the_second_of_two_connections_is_not_forgotten(self, server: SmtpServer) -> None:
        refusal = Reaction(b"550 5.7.1 you may not send\r\n")
        server.script.react = lambda moment: (
            None if moment.step != "MAIL" else refusal if moment.connection else Reaction(close=True)
        )
        provider = provider_to(server)
        with pytest.raises(CallRefused, match="you may not send"):
            submit(provider, 2)
        provider.close()

    def test_a_name_that_is_not_in_the_dns_is_busy(self) -> None:
        provider = SmtpProvider("smtp", Address("mail.invalid", 25, timeout=5.0))
        assert kinds(submit(provider, 2)) == "BB"
        with pytest.raises(OSError, match=r"mail\.invalid:25"):
            provider.check()

    def test_a_sender_that_is_put_off_is_busy_for_all_not_yet_begun(self, server: SmtpServer) -> None:
        server.script.react = at("MAIL", 2, Reaction(b"452 4.3.1 disk full\r\n"))
        provider = provider_to(server)
        outcomes = submit(provider, 5)
        assert kinds(outcomes) == "AABBB"
        assert outcomes[4] == Busy("452 4.3.1 disk full")
        assert kinds(submit(provider, batch(2, first=6))) == "AA"
        provider.close()
        assert server.connections == 1


class TestTheFinalDot:
    @pytest.mark.parametrize(
        "reaction",
        [
            Reaction(accept=True, reset=True),
            Reaction(accept=True, close=True),
            Reaction(accept=False, close=True),
            Reaction(b"250 2.0.", accept=True, close=True),
            Reaction(b"250 2.0.0 ok", accept=True, close=True),
            Reaction(b"what?\r\n", accept=True),
            Reaction(b"250-ok\r\n550 no\r\n", accept=True),
            Reaction(b"354 go on\r\n", accept=True),
            Reaction(b"250 " + b"x" * 10_000, accept=True),
            Reaction(b"250-ok\r\n" * 1_000, accept=True),
        ],
    )
    def test_an_answer_that_is_lost_or_none_leaves_this_message_unknown_and_no_other(
        self, server: SmtpServer, reaction: Reaction
    ) -> None:
        server.script.react = at("content", 1, reaction)
        provider = provider_to(server)
        outcomes = submit(provider, 4)
        provider.close()
        assert kinds(outcomes) == "AUAA"
        assert "after the whole message was sent" in outcomes[1].reason  # type: ignore[union-attr]
        assert server.connections == 2

    def test_an_answer_that_never_comes_is_unknown_after_the_final_timeout(self, server: SmtpServer) -> None:
        server.script.react = at("content", 1, Reaction(accept=True, hang=True))
        provider = provider_to(server, timeout=5.0, final_timeout=0.2)
        outcomes = submit(provider, 4)
        assert outcomes[1] == Unknown("after the whole message was sent: no answer within 0.2 s")
        assert kinds(outcomes) == "AUBB"
        assert outcomes[3] == Busy("not tried: to the message before there was no answer within 0.2 s")
        assert server.addresses() == ["p1@example.com", "p2@example.com"]
        assert kinds(submit(provider, batch(2, first=3))) == "AA"
        provider.close()

    def test_a_server_that_never_answers_the_dot_holds_a_call_for_one_wait_and_has_one_unknown(
        self, server: SmtpServer
    ) -> None:
        """Ten waits of ten minutes would hold the run past its deadline, and leave ten unknown for one."""
        server.script.react = always("content", Reaction(accept=True, hang=True))
        provider = provider_to(server, final_timeout=0.2)
        outcomes = outcomes_by_address(provider, batch(10))
        provider.close()
        server.close()
        assert kinds(list(outcomes.values())) == "U" + "B" * 9
        assert server.connections == 1
        books_balance(server, outcomes)

    def test_after_two_lost_answers_running_the_others_are_not_tried(self, server: SmtpServer) -> None:
        server.script.react = always("content", Reaction(accept=True, reset=True))
        provider = provider_to(server)
        outcomes = submit(provider, 4)
        provider.close()
        assert kinds(outcomes) == "UUBB"
        assert outcomes[3] == Busy("not tried: the answers to the messages before were lost")
        assert sorted(server.addresses()) == ["p1@example.com", "p2@example.com"]

    def test_lost_answers_with_others_between_them_stop_nothing(self, server: SmtpServer) -> None:
        lost = Reaction(accept=True, reset=True)
        server.script.react = lambda moment: lost if moment.step == "content" and not moment.before % 2 else None
        provider = provider_to(server)
        assert kinds(submit(provider, 5)) == "UAUAU"
        provider.close()

    def test_more_answers_than_questions_never_count_as_an_acceptance(self, server: SmtpServer) -> None:
        server.script.react = at("content", 0, Reaction(b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"))
        server.script.content["p2@example.com"] = b"554 5.7.1 no\r\n"
        provider = provider_to(server)
        outcomes = outcomes_by_address(provider, batch(3))
        provider.close()
        server.close()
        books_balance(server, outcomes)
        assert kinds(list(outcomes.values())) == "ARA"


class TestRefusedCalls:
    def test_a_refused_sender_refuses_the_call(self, server: SmtpServer) -> None:
        server.script.react = always("MAIL", Reaction(b"550 5.7.1 not you\r\n"))
        provider = provider_to(server)
        with pytest.raises(CallRefused, match="not you") as caught:
            submit(provider, 3)
        provider.close()
        assert (caught.value.blame, caught.value.code) == (Blame.CONTENT, "550 5.7.1")

    def test_a_refusal_in_the_middle_keeps_what_was_accepted_and_is_raised_by_the_next_call(
        self, server: SmtpServer
    ) -> None:
        server.script.react = lambda moment: (
            Reaction(b"550 5.7.1 not you\r\n") if moment.step == "MAIL" and moment.before >= 2 else None
        )
        provider = provider_to(server)
        assert kinds(submit(provider, 4)) == "AABB"
        with pytest.raises(CallRefused):
            submit(provider, batch(2, first=3))
        provider.close()
        assert server.addresses() == ["p1@example.com", "p2@example.com"]


class TestSlowServers:
    def test_no_message_is_begun_later_than_the_answer_to_one_may_take(
        self, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server may take its time over each answer, and would hold a call for as many messages as are in it."""
        monkeypatch.setattr(smtp_outbox, "monotonic", lambda: 200.0 * len(server.taken))  # seconds a message
        provider = provider_to(server, final_timeout=500.0)
        outcomes = outcomes_by_address(provider, batch(10))
        # one more where its envelope went along with the dot before it
        assert kinds(list(outcomes.values())).rstrip("B") == ("AAAA" if server.script.pipelining else "AAA")
        assert list(outcomes.values())[9] == Busy("not tried: the call took too long", 0.0)
        # the connection is in order, with no envelope begun on it
        outcomes |= outcomes_by_address(provider, batch(1, first=10))
        assert kinds(list(outcomes.values()))[9] == "A"
        assert server.connections == 1
        provider.close()
        server.close()
        books_balance(server, outcomes)

    def test_one_message_is_begun_however_long_it_took_to_make(self, server: SmtpServer) -> None:
        provider = provider_to(server, timeout=5.0, final_timeout=5.0)
        times = iter([0.0, *[1e9] * 100])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(smtp_outbox, "monotonic", lambda: next(times))
            assert kinds(submit(provider, 3)).startswith("AB" if not server.script.pipelining else "A")
        provider.close()

    def test_an_answer_that_comes_in_drops_is_waited_for_once_not_for_each_drop(self) -> None:
        """A server that writes an octet now and then would hold a call for ever."""
        stop = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def drip() -> None:
                sock, _ = listener.accept()
                with sock:
                    try:
                        while not stop.wait(0.05):
                            sock.sendall(b"2")
                    except OSError:
                        return

            thread = threading.Thread(target=drip)
            thread.start()
            provider = SmtpProvider("smtp", Address("127.0.0.1", listener.getsockname()[1], timeout=0.3))
            outcomes = submit(provider, 1)
            stop.set()
            thread.join()
        assert "no answer within 0.3 s" in outcomes[0].reason  # type: ignore[union-attr]
