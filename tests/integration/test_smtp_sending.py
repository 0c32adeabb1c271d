"""Mail through SMTP where nothing is wrong, or only a recipient is."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from servers.letters import LETTERHEAD, batch, issue, recipient
from servers.smtp_calls import ISSUE, kinds, outcomes_by_address, provider_to, submit
from servers.smtp_server import Moment, Reaction, Script, SmtpServer, headers_of

from newsletter.delivery.model import Accepted, Batch, Busy, Refused
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address


@pytest.fixture(params=[True, False], ids=["pipelining", "one-at-a-time"])
def server(request: pytest.FixtureRequest) -> Iterator[SmtpServer]:
    with SmtpServer(Script(pipelining=request.param)) as running:
        yield running


class TestTransactions:
    def test_everybody_gets_a_message_of_their_own_over_one_connection(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        assert submit(provider, 5) == [Accepted()] * 5
        assert submit(provider, batch(3, first=6)) == [Accepted()] * 3
        provider.close()
        assert server.addresses() == [f"p{number}@example.com" for number in range(1, 9)]
        assert server.connections == 1
        assert server.commands[-1] == "QUIT"
        for number, taken in enumerate(server.taken, start=1):
            headers = headers_of(taken.message)
            assert headers["to"] == taken.address
            assert headers["list-unsubscribe"] == f"<https://news.example.com/unsubscribe/daily-buzz/token{number}>"
            assert taken.sender == "buzz@news.example.com"

    def test_the_message_arrives_octet_by_octet_and_no_line_begins_with_a_dot(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        one = recipient(1, name=".\r\n.\r\nMAIL FROM:<eve@example.net>")
        assert kinds(submit(provider, Batch("r", 1, LETTERHEAD, (one,)), issue(300_000))) == "A"
        provider.close()
        (taken,) = server.taken
        assert not re.search(rb"^\.", taken.message, re.MULTILINE)
        parsed = email.message_from_bytes(taken.message, policy=email.policy.default)
        body = parsed.get_body(("plain",))
        assert body is not None
        assert "\r\n..\r\n.\r\nleave: https" in body.get_content()
        assert len(taken.message) > 300_000

    def test_pipelining_sends_the_next_envelope_with_the_last_dot(self) -> None:
        """A server that answers nothing before it has read all there is needs one turn for each message."""
        with SmtpServer(Script()) as server:
            provider = provider_to(server)
            assert kinds(submit(provider, 10)) == "A" * 10
            provider.close()
        assert server.turns <= 1 + 2 + 10 + 1  # greeting, EHLO and the first envelope, the messages, QUIT

    def test_a_refused_recipient_is_refused_with_both_codes_and_nobody_else(self, server: SmtpServer) -> None:
        server.script.rcpt["p2@example.com"] = b"550 5.1.1 <p2@example.com>: no such user\r\n"
        server.script.rcpt["p3@example.com"] = b"450 4.2.1 mailbox busy\r\n"
        server.script.content["p5@example.com"] = b"554-5.7.1 not\r\n554 5.7.1 wanted\r\n"
        server.script.content["p6@example.com"] = b"451 4.3.0 later\r\n"
        provider = provider_to(server)
        outcomes = submit(provider, 7)
        provider.close()
        assert kinds(outcomes) == "ARBARBA"
        assert outcomes[1] == Refused("<…>: no such user", "550 5.1.1")
        assert outcomes[2] == Busy("450 4.2.1 mailbox busy")
        assert outcomes[4] == Refused("not wanted", "554 5.7.1")
        assert outcomes[5] == Busy("451 4.3.0 later")
        assert server.addresses() == ["p1@example.com", "p4@example.com", "p7@example.com"]
        assert server.connections == 1

    def test_a_refused_recipient_at_the_end_leaves_a_connection_that_can_be_used(self, server: SmtpServer) -> None:
        server.script.rcpt["p2@example.com"] = b"550 5.1.1 no such user\r\n"
        provider = provider_to(server)
        assert kinds(submit(provider, 2)) == "AR"
        assert kinds(submit(provider, batch(2, first=3))) == "AA"
        provider.close()
        assert server.connections == 1

    def test_354_for_nobody_gets_a_lone_dot_and_no_message_is_taken(self, server: SmtpServer) -> None:
        server.script.data_despite_refusal = True
        server.script.rcpt["p1@example.com"] = b"550 5.1.1 no such user\r\n"
        provider = provider_to(server)
        assert kinds(submit(provider, 3)) == "RAA"
        provider.close()
        assert server.addresses() == ["p2@example.com", "p3@example.com"]
        assert server.connections == 1

    def test_data_that_is_put_off_is_busy_for_this_message_only(self, server: SmtpServer) -> None:
        server.script.react = lambda moment: (
            Reaction(b"450 4.7.1 not so quick\r\n") if (moment.step, moment.before) == ("DATA", 1) else None
        )
        provider = provider_to(server)
        outcomes = submit(provider, 3)
        provider.close()
        assert outcomes[1] == Busy("450 4.7.1 not so quick")
        assert kinds(outcomes) == "ABA"

    def test_addresses_that_no_envelope_can_carry_are_refused_alone(self, server: SmtpServer) -> None:
        odd = ("jürg@example.com", '"a b"@x.org', '"a>b"@x.org', "a\r\nRCPT TO:<eve@x.org>", "a@", "a@bücher.example")
        mail = Batch("r", 1, LETTERHEAD, tuple(recipient(at, address=address) for at, address in enumerate(odd)))
        provider = provider_to(server)
        assert kinds(submit(provider, mail)) == "RRRRRA"
        provider.close()
        assert server.addresses() == ["a@xn--bcher-kva.example"]
        assert not any("eve" in command for command in server.commands)

    def test_sizes_are_told_only_where_the_server_asks(self) -> None:
        for size, told in ((None, False), (0, True), (10_000, True)):
            with SmtpServer(Script(size=size)) as server:
                provider = provider_to(server)
                assert kinds(submit(provider, 1)) == "A"
                provider.close()
                (command,) = (line for line in server.commands if line.startswith("MAIL"))
                assert command.endswith(f" SIZE={len(server.taken[0].message)}") == told

    def test_a_message_larger_than_the_server_takes_stops_the_run(self) -> None:
        with SmtpServer(Script(size=1_000)) as server:
            provider = provider_to(server)
            with pytest.raises(CallRefused, match=r"has some \d kB, more than the 1,000 bytes that") as caught:
                submit(provider, 2)
            provider.close()
        assert caught.value.blame is Blame.CONTENT
        assert server.addresses() == []

    def test_one_as_large_as_the_server_takes_goes_and_no_larger_one_goes_along_with_its_dot(self) -> None:
        small, large = batch(2).recipients[0], batch(2).recipients[1]._replace(name="N" * 40)
        with SmtpServer() as server:
            provider = provider_to(server)
            assert kinds(submit(provider, replace(batch(1), recipients=(small, large)))) == "AA"
            provider.close()
            size, larger = (len(one.message) for one in server.taken)
        assert size < larger
        with SmtpServer(Script(size=size)) as server:
            provider = provider_to(server)
            assert kinds(submit(provider, replace(batch(1), recipients=(small, large)))) == "AB"
            provider.close()
            assert [line for line in server.commands if line.startswith("RCPT")] == [f"RCPT TO:<{small.address}>"]


class TestSenders:
    @pytest.mark.parametrize("name", ["Daily Buzz, Inc.", 'Buzz, "victim@example.net"', "victim@example.net,", "Zoë"])
    def test_the_envelope_sender_is_the_address_of_from_whatever_the_name(self, server: SmtpServer, name: str) -> None:
        provider = provider_to(server)
        mail = replace(batch(1), letterhead=replace(LETTERHEAD, sender=f"{name} <buzz@news.example.com>"))
        assert kinds(submit(provider, mail)) == "A"
        provider.close()
        assert server.taken[0].sender == "buzz@news.example.com"

    def test_a_pattern_gives_each_delivery_a_sender_of_its_own(self, server: SmtpServer) -> None:
        provider = provider_to(server, envelope_from="bounces+{token}@bücher.example")
        submit(provider, 3)
        provider.close()
        senders = [taken.sender for taken in server.taken]
        assert len(set(senders)) == 3
        for taken in server.taken:
            token = headers_of(taken.message)["message-id"][1:].partition("@")[0]
            assert taken.sender == f"bounces+{token}@xn--bcher-kva.example"

    def test_a_delivery_with_a_return_token_has_it_in_its_sender(self, server: SmtpServer) -> None:
        provider = provider_to(server, envelope_from="bounces+{token}@news.example.com")
        mail = batch(2)
        own = [one._replace(return_token=f"{number:040}") for number, one in enumerate(mail.recipients)]
        submit(provider, replace(mail, recipients=tuple(own)))
        provider.close()
        assert [taken.sender for taken in server.taken] == [f"bounces+{n:040}@news.example.com" for n in range(2)]

    @pytest.mark.parametrize(
        "pattern", ["bounces", "b{run}@example.com", "a b@example.com", f"{'b' * 40}{{token}}@x.org"]
    )
    def test_a_pattern_that_gives_no_address_is_refused_when_the_provider_is_made(self, pattern: str) -> None:
        with pytest.raises(ValueError, match="envelope_from"):
            SmtpProvider("smtp", Address("127.0.0.1", 25), envelope_from=pattern)

    def test_an_issue_that_cannot_be_written_stops_the_run_before_anything_is_sent(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        mail = replace(batch(2), letterhead=replace(LETTERHEAD, sender="nobody"))
        with pytest.raises(CallRefused) as caught:
            submit(provider, mail)
        assert caught.value.blame is Blame.CONTENT
        holes = batch(3).recipients[1]._replace(values={})
        mail = batch(3)
        mail = replace(mail, recipients=(mail.recipients[0], holes, mail.recipients[2]))
        outcomes = submit(provider, mail)
        assert kinds(outcomes) == "ABB"
        assert "this recipient has no value for it" in outcomes[2].reason  # type: ignore[union-attr]
        provider.close()
        assert server.addresses() == ["p1@example.com"]


class TestConnections:
    def test_one_connection_carries_so_many_messages_and_then_another_is_opened(self, server: SmtpServer) -> None:
        provider = provider_to(server, messages_per_connection=2)
        assert kinds(submit(provider, 5)) == "AAAAA"
        provider.close()
        assert [taken.connection for taken in server.taken] == [0, 0, 1, 1, 2]
        assert server.commands.count("QUIT") == 3

    def test_threads_share_the_connections_and_each_message_is_sent_once(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        outcomes: list[str] = []

        def work(thread: int) -> None:
            for call in range(5):
                outcomes.append(kinds(submit(provider, batch(4, first=100 * thread + 10 * call + 1))))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        provider.close()
        assert outcomes == ["AAAA"] * 20
        assert len(set(server.addresses())) == len(server.addresses()) == 80
        assert server.connections <= 4

    def test_a_connection_that_died_while_idle_is_noticed_before_mail_is_written(self, server: SmtpServer) -> None:
        """It does not count as one of the two that may end without having decided anything."""
        provider = provider_to(server)
        assert kinds(submit(provider, 1)) == "A"
        server.drop_connections()
        server.script.react = lambda moment: (
            Reaction(b"421 4.3.2 closing\r\n", close=True) if (moment.step, moment.connection) == ("MAIL", 1) else None
        )
        assert kinds(submit(provider, batch(2, first=2))) == "AA"
        provider.close()
        assert server.connections == 3
        assert server.addresses() == ["p1@example.com", "p2@example.com", "p3@example.com"]

    def test_after_a_kept_connection_that_ended_a_new_one_is_opened_not_another_kept_one(
        self, server: SmtpServer
    ) -> None:
        provider = provider_to(server)
        together = threading.Barrier(3)

        def meet(moment: Moment) -> None:
            if moment.step == "content":
                together.wait(5)

        server.script.react = meet
        threads = [threading.Thread(target=submit, args=(provider, batch(1, first=at))) for at in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 3
        server.script.react = lambda moment: Reaction(close=True) if moment.connection < 3 else None
        assert kinds(submit(provider, batch(2, first=4))) == "AA"
        provider.close()

    def test_a_connection_that_was_idle_for_long_is_asked_first(
        self, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("newsletter.providers.smtp_pool.UNASKED", -1.0)
        provider = provider_to(server)
        submit(provider, 1)
        submit(provider, 1)
        assert "RSET" in server.commands
        server.script.react = lambda moment: Reaction(hang=True) if moment.step == "RSET" else None
        provider.close()
        provider = provider_to(server, timeout=0.3)
        submit(provider, 1)
        assert kinds(submit(provider, 2)) == "AA"
        provider.close()
        assert server.connections == 3


class TestAServerWeDidNotWrite:
    def test_aiosmtpd_takes_what_we_send(self) -> None:
        taken: list[tuple[str, str, bytes]] = []

        class Handler:
            async def handle_RCPT(  # noqa: N802 - the name it has there
                self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
            ) -> str:
                if address == "p2@example.com":
                    return "550 5.1.1 no such user"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
                assert isinstance(envelope.content, bytes)
                assert envelope.mail_from is not None
                taken.append((envelope.mail_from, envelope.rcpt_tos[0], envelope.content))
                return "250 2.0.0 queued"

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        controller = Controller(Handler(), hostname="127.0.0.1", port=port)
        controller.start()
        try:
            provider = SmtpProvider("smtp", Address("127.0.0.1", port, timeout=5.0))
            outcomes = outcomes_by_address(provider, batch(4), ISSUE)
            assert "SIZE" not in provider.check()
            provider.close()
        finally:
            controller.stop()
        assert "".join(type(outcome).__name__[0] for outcome in outcomes.values()) == "ARAA"
        assert [to for _, to, _ in taken] == ["p1@example.com", "p3@example.com", "p4@example.com"]
        for _, to, content in taken:
            assert headers_of(content)["to"] == to
            assert content.endswith(b"--\r\n")


def test_the_server_in_a_process_of_its_own_has_written_down_whom_it_accepted(tmp_path: Path) -> None:
    record = tmp_path / "accepted.ndjson"
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-m", "servers.smtp_server", "--port", "0", "--record", str(record), "--no-pipelining"]
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    with subprocess.Popen(command, cwd=tests, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            provider = SmtpProvider("smtp", Address("127.0.0.1", port))
            assert kinds(submit(provider, 3)) == "AAA"
            entries = [json.loads(line) for line in record.read_text().splitlines()]
            provider.close()
        finally:
            process.kill()
    assert [entry["to"] for entry in entries] == [f"p{number}@example.com" for number in (1, 2, 3)]
    assert entries[0]["id"] == recipient(1).message_id
