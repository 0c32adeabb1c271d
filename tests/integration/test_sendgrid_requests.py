"""What SendGrid gets, read at a server that refuses what the vendor does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from provider_examples import GOLD, LETTERHEAD, PLAIN, RENDERED, RUN, batch, issue, recipient
from sendgrid_examples import KEY, bodies, of_many_holes, wired, with_values
from servers.sendgrid_server import SAYINGS, SendgridServer

from newsletter.delivery.model import Accepted, Busy, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.sendgrid import SendgridProvider
from newsletter.rendering.model import Holed, Variant

TESTS = Path(__file__).parents[1]


@pytest.fixture
def server() -> Iterator[SendgridServer]:
    made = SendgridServer(key=KEY).start()
    yield made
    made.close()


class TestBodies:
    def test_every_setting_is_said_and_every_argument_is_a_string_of_ours(self, server: SendgridServer) -> None:
        wired(server).submit(batch(recipient(1, "Ada"), recipient(2, "Bea")), RENDERED)
        (body,) = bodies(server)
        assert body["tracking_settings"] == {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
            "ganalytics": {"enable": False},
        }
        assert body["mail_settings"] == {"sandbox_mode": {"enable": False}, "footer": {"enable": False}}
        arguments = [person["custom_args"] for person in body["personalizations"]]
        assert arguments == [{"nl_run": RUN, "nl_delivery": number, "nl_call": "call-1-1"} for number in "12"]

    def test_the_mail_names_its_sender_and_where_answers_go(self, server: SendgridServer) -> None:
        odd = replace(LETTERHEAD, sender='"Buzz, Daily; 日報" <buzz@news.example.com>', list_name="日報")
        wired(server).submit(batch(recipient(1), letterhead=odd), RENDERED)
        (message,) = server.messages
        assert (message.sender, message.sender_name) == ("buzz@news.example.com", "Buzz Daily 日報")
        assert message.reply_to == "editor@example.com"
        assert message.headers["list-id"] == "=?utf-8?b?5pel5aCx?= <daily-buzz.news.example.com>"

    def test_a_value_that_is_a_key_of_the_last_call_is_a_value_like_others(self, server: SendgridServer) -> None:
        provider = wired(server)
        provider.submit(batch(recipient(1, "Ada")), RENDERED)
        (first,) = bodies(server)
        for key in first["personalizations"][0]["substitutions"]:
            provider.submit(batch(recipient(2, f"x{key.upper()}{key}y"), recipient(3, "Bea")), RENDERED)
            of_key, other = server.messages[-2:]
            assert f"Good morning x{key.upper()}{key}y, " in of_key.text
            assert "Good morning Bea, " in other.text

    def test_content_that_holds_a_key_of_the_last_call_arrives_as_it_is(self, server: SendgridServer) -> None:
        provider = wired(server)
        provider.submit(batch(recipient(1, "Ada")), RENDERED)
        (first,) = bodies(server)
        keys = " ".join(first["personalizations"][0]["substitutions"])
        pasted = replace(issue(), subject=f"About {keys}", text=Holed((f"About {keys}",), ()))
        provider.submit(batch(recipient(1, "Ada")), {PLAIN: pasted})
        assert (server.messages[-1].subject, server.messages[-1].text) == (f"About {keys}", f"About {keys}")


class TestLimits:
    def test_a_thousand_recipients_go_in_one_request(self, server: SendgridServer) -> None:
        members = [recipient(number, f"N{number}") for number in range(1000)]
        provider = wired(server)
        assert provider.limits.recipients_per_call == 1000
        assert provider.submit(batch(*members), RENDERED).accepted == 1000
        assert len(server.bodies) == 1
        assert [message.address for message in server.messages] == [member.address for member in members]

    def test_a_recipient_with_too_many_bytes_of_values_is_refused_before_the_call(self, server: SendgridServer) -> None:
        holes = 60
        members = [with_values(1, holes, "short"), with_values(2, holes, "x" * 199), with_values(3, holes, "short")]
        rendered = {PLAIN: of_many_holes(holes)}
        receipt = wired(server).submit(batch(*members), rendered)
        assert [type(receipt.outcomes[number]) for number in "123"] == [Accepted, Refused, Accepted]
        assert "10000 bytes" in str(receipt.outcomes["2"])
        receipt = wired(server).submit(batch(members[1]), rendered)
        assert isinstance(receipt.outcomes["2"], Refused)
        assert len(server.bodies) == 1

    def test_what_just_fits_is_taken_by_the_vendor_too(self, server: SendgridServer) -> None:
        """60 keys of 14 bytes and values of 9,160 bytes in all: 10,000."""
        values = {f"f{number}": "x" * 152 for number in range(60)} | {"f0": "x" * 192}
        rendered = {PLAIN: of_many_holes(60)}
        receipt = wired(server).submit(batch(with_values(1, 60, "")._replace(values=values)), rendered)
        assert receipt.accepted == 1
        receipt = wired(server).submit(
            batch(with_values(1, 60, "")._replace(values=values | {"f0": "x" * 193})), rendered
        )
        assert receipt.accepted == 0

    def test_a_request_over_30_megabytes_is_not_made_and_asks_for_smaller_ones(self, server: SendgridServer) -> None:
        smile = "\U0001f600" * 200
        members = [with_values(number, 12, smile)._replace(name=smile) for number in range(1000)]
        with pytest.raises(CallRefused) as raised:
            wired(server).submit(batch(*members), {PLAIN: of_many_holes(12)})
        assert raised.value.blame is Blame.RECIPIENTS
        assert server.requests == []

    def test_an_address_that_stands_twice_gets_a_request_of_its_own(self, server: SendgridServer) -> None:
        """The vendor would refuse everybody in a request for one double, whatever its case."""
        members = [recipient(1), recipient(2), recipient(3, address="P1@Example.com")]
        assert wired(server).submit(batch(*members), RENDERED).accepted == 3
        assert [len(body["personalizations"]) for body in bodies(server)] == [2, 1]

    def test_a_hole_without_a_value_refuses_the_content_and_calls_nobody(self, server: SendgridServer) -> None:
        with pytest.raises(CallRefused, match="'f1'") as raised:
            wired(server).submit(batch(with_values(1, 1, "x")), {PLAIN: of_many_holes(2)})
        assert raised.value.blame is Blame.CONTENT
        assert server.requests == []


RED: Variant = (("tier", "red"),)
ALL = RENDERED | {RED: issue(RED)}


class TestSeveralVariants:
    """A request has one content: a batch of three variants is three requests, one after the other."""

    SENT = batch(
        recipient(1, variant=PLAIN),
        recipient(2, variant=GOLD),
        recipient(3, variant=RED),
        recipient(4, variant=GOLD),
    )

    def test_each_variant_is_a_request(self, server: SendgridServer) -> None:
        assert wired(server).submit(self.SENT, ALL).accepted == 4
        assert [len(body["personalizations"]) for body in bodies(server)] == [1, 2, 1]
        assert {message.text.partition(":")[0] for message in server.messages} == {"plain", "gold", "red"}

    def test_an_answer_that_is_lost_loses_no_answer_before_it(self, server: SendgridServer) -> None:
        server.answer_next(SAYINGS["500-before"]())
        receipt = wired(server).submit(batch(*reversed(self.SENT.recipients)), ALL)
        assert [type(receipt.outcomes[number]) for number in "1234"] == [Busy, Unknown, Busy, Unknown]
        assert len(server.bodies) == 1

    def test_what_follows_a_failure_is_not_tried(self, server: SendgridServer) -> None:
        server.answer_next(SAYINGS["503"](), SAYINGS["reset-after"]())
        provider = wired(server)
        assert {type(one) for one in provider.submit(self.SENT, ALL).outcomes.values()} == {Busy}
        assert len(server.bodies) == 1
        receipt = provider.submit(self.SENT, ALL)
        assert [type(receipt.outcomes[number]) for number in "1234"] == [Unknown, Busy, Busy, Busy]
        assert len(server.bodies) == 2

    def test_a_refusal_of_the_first_is_one_of_the_call(self, server: SendgridServer) -> None:
        server.answer_next(SAYINGS["400-from"]())
        with pytest.raises(CallRefused):
            wired(server).submit(self.SENT, ALL)
        assert server.messages == ()

    def test_a_refusal_of_a_later_one_keeps_what_was_accepted(self, server: SendgridServer) -> None:
        """Its members come again without those, and the refusal is then the whole call's."""
        server.refused.add("p2@example.com")
        provider = wired(server)
        receipt = provider.submit(self.SENT, ALL)
        assert [type(receipt.outcomes[number]) for number in "1234"] == [Accepted, Busy, Busy, Busy]
        assert receipt.outcomes["2"] == Busy("400 Does not contain a valid address. (personalizations.to.email)", 0.0)
        with pytest.raises(CallRefused) as raised:
            provider.submit(batch(*self.SENT.recipients[1:]), ALL)
        assert raised.value.blame is Blame.RECIPIENTS
        assert [message.address for message in server.messages] == ["p1@example.com"]


class TestSandbox:
    def test_the_vendor_checks_everything_and_sends_nothing(self, server: SendgridServer) -> None:
        assert wired(server, sandbox=True).submit(batch(recipient(1)), RENDERED).accepted == 1
        assert bodies(server)[0]["mail_settings"]["sandbox_mode"] == {"enable": True}
        assert server.messages == ()
        assert "sandbox" in wired(server, sandbox=True).check()


class TestCheck:
    def test_it_names_the_host_and_the_scope(self, server: SendgridServer) -> None:
        assert wired(server).check() == f"{server.url.removeprefix('http://')}: the API key is valid and may send mail"
        assert [(method, path) for method, path, _ in server.requests] == [("GET", "/v3/scopes")]

    def test_a_key_that_may_not_send_is_refused(self, server: SendgridServer) -> None:
        server.scopes = ["stats.read"]
        with pytest.raises(CallRefused, match=r"mail\.send") as raised:
            wired(server).check()
        assert raised.value.blame is Blame.ACCOUNT

    def test_another_key_is_refused(self, server: SendgridServer) -> None:
        with pytest.raises(CallRefused) as raised:
            SendgridProvider("sendgrid", "SG.another", host=server.url, timeout=5.0).check()
        assert (raised.value.blame, raised.value.code) == (Blame.ACCOUNT, "401")

    def test_a_host_that_is_not_the_api_is_refused(self, server: SendgridServer) -> None:
        with pytest.raises(CallRefused) as raised:
            SendgridProvider("sendgrid", KEY, host=f"{server.url}/elsewhere", timeout=5.0).check()
        assert raised.value.code == "404"


class TestServerProcess:
    """The test server as the crash suite runs it."""

    def test_it_writes_each_recipient_down_before_it_answers(self, tmp_path: Path) -> None:
        record = tmp_path / "accepted.ndjson"
        command = [sys.executable, "-m", "servers.sendgrid_server", "--record", str(record), "--delay", "1"]
        environment = os.environ | {"PYTHONPATH": str(TESTS)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            receipt = SendgridProvider("sendgrid", KEY, host=url, timeout=10.0).submit(
                batch(recipient(1), recipient(2)), RENDERED
            )
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            process.send_signal(signal.SIGTERM)
        assert receipt.accepted == 2
        assert [(line["delivery"], line["call"], line["run"]) for line in lines] == [
            (number, "call-1-1", RUN) for number in "12"
        ]
        assert [line["address"] for line in lines] == ["p1@example.com", "p2@example.com"]
        assert process.returncode == 0
