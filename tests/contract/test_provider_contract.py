"""What every mail provider must do, run over each of them against a real server on this machine.

What a provider supports is read from its `limits`; what its server can be told to do, from its harness.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from disk_harness import DiskHarness
from eml_folder_harness import EmlFolderHarness
from hostile_names import HOSTILE_NAMES
from provider_examples import GOLD, LETTERHEAD, PLAIN, RENDERED, SUBJECT, batch, recipient
from provider_harness import Answer, Arrived, Harness
from sendgrid_harness import SendgridHarness
from smtp_harness import SmtpHarness

from newsletter.delivery.model import Accepted, Batch, Busy, Outcome, Receipt, Recipient, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused, MailProvider
from newsletter.rendering.escaping import clean_text
from newsletter.rendering.holes import fill
from newsletter.rendering.model import Hole, HoleContext, Holed

#: How each provider's harness is opened, in a folder of the test's own, and what its server can be told to do.
HARNESSES: Mapping[str, tuple[Callable[[Path], Harness], frozenset[Answer]]] = {
    "disk": (DiskHarness, DiskHarness.answers),
    "eml-folder": (EmlFolderHarness, EmlFolderHarness.answers),
    "sendgrid": (SendgridHarness, SendgridHarness.answers),
    "smtp": (lambda _: SmtpHarness(), SmtpHarness.answers),
}


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    made = HARNESSES[request.param][0](tmp_path)
    yield made
    made.close()


@pytest.fixture
def provider(harness: Harness) -> Iterator[MailProvider]:
    made = harness.provider()
    yield made
    made.close()


def where(answer: Answer) -> pytest.MarkDecorator:
    """For the providers whose server can be told to answer so."""
    names = [name for name, (_, answers) in HARNESSES.items() if answer in answers]
    return pytest.mark.parametrize("harness", names, indirect=True)


def told(harness: Harness, provider: MailProvider, answer: Answer) -> Batch:
    """A batch whose call the server answers so; of one where each message is answered by itself."""
    harness.answer_next(answer)
    return batch(*map(recipient, range(1, 2 if provider.limits.one_message_at_a_time else 4)))


def submit(provider: MailProvider, sent: Batch) -> Receipt:
    """The receipt, which holds one outcome for each member and for nobody else."""
    receipt = provider.submit(sent, RENDERED)
    assert receipt.outcomes.keys() == {member.id for member in sent.recipients}
    return receipt


def kinds(receipt: Receipt) -> list[type[Outcome]]:
    return [type(outcome) for outcome in receipt.outcomes.values()]


def is_theirs(message: Arrived, member: Recipient) -> None:
    """The message is this member's, in all that differs from one to the next."""
    content = RENDERED[member.variant]
    assert message.address == member.address
    assert message.subject == SUBJECT
    assert message.html == fill(content.html, member.values)
    assert message.text == fill(content.text, member.values)
    assert message.headers["list-unsubscribe"] == f"<{member.unsubscribe_url}>"
    assert message.headers["message-id"] == member.message_id


def comparable(name: str) -> str:
    """A display name without what some vendor refuses in one."""
    return clean_text(re.sub(r"[;,]|=\?", " ", clean_text(name)))


class TestMessages:
    def test_each_recipient_gets_one_message_with_exactly_their_values(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        members = [recipient(1, "Ada"), recipient(2, "Bé <b>"), recipient(3), recipient(4, "Ada")]
        receipt = submit(provider, batch(*members))
        provider.close()
        assert kinds(receipt) == [Accepted] * 4
        arrived = harness.arrived()
        assert len(arrived) == 4
        for message, member in zip(sorted(arrived, key=lambda one: one.address), members, strict=True):
            is_theirs(message, member)
            assert message.name == member.name

    def test_the_headers_of_bulk_mail_are_exact(self, harness: Harness, provider: MailProvider) -> None:
        member = recipient(1, "Ada")
        submit(provider, batch(member))
        provider.close()
        (message,) = harness.arrived()
        headers = dict(message.headers)
        assert headers["list-unsubscribe"] == f"<{member.unsubscribe_url}>"
        assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        assert headers["message-id"] == member.message_id
        assert headers["list-id"] == "Daily Buzz <daily-buzz.news.example.com>"
        assert headers["feedback-id"] == LETTERHEAD.feedback_id

    def test_an_address_to_leave_by_mail_stands_behind_the_link_and_is_each_ones_own(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        members = [
            recipient(number)._replace(unsubscribe_mailto=f"leave+{number:040}@news.example.com") for number in (1, 2)
        ]
        submit(provider, batch(*members))
        provider.close()
        for message, member in zip(sorted(harness.arrived(), key=lambda one: one.address), members, strict=True):
            assert message.headers["list-unsubscribe"] == (
                f"<{member.unsubscribe_url}>, <mailto:{member.unsubscribe_mailto}?subject=unsubscribe>"
            )

    def test_a_transactional_message_says_what_it_is_and_has_no_list_to_leave(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        """A confirmation: an answer to what one person did (RFC 3834), before they are on any list."""
        member = recipient(1)._replace(unsubscribe_url="")
        submit(provider, batch(member, letterhead=replace(LETTERHEAD, transactional=True)))
        provider.close()
        (message,) = harness.arrived()
        headers = dict(message.headers)
        assert headers["auto-submitted"] == "auto-generated"
        assert headers["message-id"] == member.message_id
        assert [name for name in headers if name.startswith("list-")] == []

    def test_mail_to_a_list_does_not_pass_for_an_automatic_answer(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        submit(provider, batch(recipient(1)))
        provider.close()
        (message,) = harness.arrived()
        assert "auto-submitted" not in message.headers

    def test_hostile_names_arrive_as_text_and_add_no_header_and_no_recipient(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        """One call holds them all: what one of them is called must not show in the mail of another."""
        members = [recipient(number, name) for number, name in enumerate(HOSTILE_NAMES.values(), start=101)]
        submit(provider, batch(recipient(100, "Ada"), *members))
        provider.close()
        harmless, *arrived = sorted(harness.arrived(), key=lambda one: one.address)
        for message, member in zip(arrived, members, strict=True):
            is_theirs(message, member)
            assert comparable(message.name) == comparable(member.name)
            assert message.headers.keys() == harmless.headers.keys()

    def test_each_recipient_gets_the_variant_that_is_theirs(self, harness: Harness, provider: MailProvider) -> None:
        members = [recipient(1, "A", variant=PLAIN), recipient(2, "B", variant=GOLD), recipient(3, "C", variant=PLAIN)]
        assert submit(provider, batch(*members)).accepted == 3
        provider.close()
        for message, member in zip(sorted(harness.arrived(), key=lambda one: one.address), members, strict=True):
            is_theirs(message, member)

    def test_the_image_of_opens_arrives_with_who_has_one_and_leaves_no_trace_with_the_others(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        plain = RENDERED[PLAIN].html
        static = (*plain.static[:-1], '<a href="https://news.example.com/c/1/', '">on</a>', "</body></html>\n")
        holes = (*plain.holes, Hole("track_token", HoleContext.URL_PART), Hole("open_image", HoleContext.IMAGE))
        tracked = replace(RENDERED[PLAIN], html=Holed(static, holes))
        image = "https://news.example.com/o/daily-buzz/2026-01-07/{}.gif?a=1&b=2"
        members = [recipient(number, "Ada") for number in (1, 2, 3)]
        members = [
            one._replace(values={**one.values, "track_token": "Aa-_" * 8, "open_image": url})
            for one, url in zip(members, (image.format(1), "", image.format(3)), strict=True)
        ]
        provider.submit(batch(*members), {PLAIN: tracked})
        provider.close()
        first, second, third = (one.html for one in sorted(harness.arrived(), key=lambda one: one.address))
        for number, html in ((1, first), (3, third)):
            url = f"https://news.example.com/o/daily-buzz/2026-01-07/{number}.gif?a=1&amp;b=2"
            tag = f'<img src="{url}" width="1" height="1" alt="" style="display:block">'
            assert html.endswith(f">on</a>{tag}</body></html>\n")
        assert second.endswith(
            '<a href="https://news.example.com/c/1/Aa-_Aa-_Aa-_Aa-_Aa-_Aa-_Aa-_Aa-_">on</a></body></html>\n'
        )
        assert "/o/" not in second

    def test_a_domain_of_another_script_goes_out_as_a_labels(self, harness: Harness, provider: MailProvider) -> None:
        submit(provider, batch(recipient(1, address="ada@bücher.example")))
        provider.close()
        assert [message.address for message in harness.arrived()] == ["ada@xn--bcher-kva.example"]

    def test_a_recipient_no_message_can_be_made_for_is_refused_alone(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        members = [recipient(1), recipient(2, address="jürg@example.com"), recipient(3)]
        receipt = submit(provider, batch(*members))
        provider.close()
        assert [type(receipt.outcomes[member.id]) for member in members] == [Accepted, Refused, Accepted]
        assert sorted(message.address for message in harness.arrived()) == ["p1@example.com", "p3@example.com"]

    def test_a_call_may_be_as_large_as_the_limits_say(self, harness: Harness, provider: MailProvider) -> None:
        members = [recipient(number, f"N{number}") for number in range(min(provider.limits.recipients_per_call, 300))]
        assert submit(provider, batch(*members)).accepted == len(members)
        provider.close()
        assert {message.address for message in harness.arrived()} == {member.address for member in members}

    def test_several_threads_may_submit_at_once(self, harness: Harness, provider: MailProvider) -> None:
        """Each message is the one that a single thread would have made, and no outcome is another batch's."""
        batches = [
            batch(*(recipient(number * 10 + place, f"N{number}-{place}") for place in range(5)), number=number)
            for number in range(1, 21)
        ]
        found: list[Receipt] = []
        start = threading.Barrier(4)

        def work(own: list[Batch]) -> None:
            start.wait()
            found.extend(submit(provider, one) for one in own)

        threads = [threading.Thread(target=work, args=(batches[place::4],)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        provider.close()
        assert sum(receipt.accepted for receipt in found) == 100
        members = {member.address: member for one in batches for member in one.recipients}
        arrived = harness.arrived()
        assert len(arrived) == 100
        for message in arrived:
            is_theirs(message, members.pop(message.address))


class TestAnswers:
    @where(Answer.CONTENT_REFUSED)
    def test_a_refused_message_is_accepted_for_nobody(self, harness: Harness, provider: MailProvider) -> None:
        sent = told(harness, provider, Answer.CONTENT_REFUSED)
        with pytest.raises(CallRefused) as raised:
            submit(provider, sent)
        assert raised.value.blame is Blame.CONTENT
        assert raised.value.reason
        assert harness.arrived() == []
        assert set(kinds(submit(provider, sent))) == {Accepted}

    @where(Answer.ACCOUNT_REFUSED)
    def test_a_refused_key_stops_the_call(self, harness: Harness, provider: MailProvider) -> None:
        sent = told(harness, provider, Answer.ACCOUNT_REFUSED)
        with pytest.raises(CallRefused) as raised:
            submit(provider, sent)
        assert raised.value.blame is Blame.ACCOUNT
        assert harness.arrived() == []

    @where(Answer.BUSY)
    def test_a_busy_server_took_nobody_and_may_be_asked_again(self, harness: Harness, provider: MailProvider) -> None:
        sent = told(harness, provider, Answer.BUSY)
        assert set(kinds(submit(provider, sent))) == {Busy}
        assert harness.arrived() == []
        assert set(kinds(submit(provider, sent))) == {Accepted}

    @where(Answer.LOST)
    def test_a_lost_answer_is_unknown(self, harness: Harness, provider: MailProvider) -> None:
        self._unknown(harness, provider, Answer.LOST)

    @where(Answer.HANGS)
    def test_an_answer_that_never_comes_is_unknown_in_time(self, harness: Harness, provider: MailProvider) -> None:
        self._unknown(harness, provider, Answer.HANGS)

    def _unknown(self, harness: Harness, provider: MailProvider, answer: Answer) -> None:
        """They were accepted; nothing that the provider says shows it. The call ends, and is not made a second time."""
        sent = told(harness, provider, answer)
        began = time.monotonic()
        receipt = submit(provider, sent)
        assert time.monotonic() - began < 20
        assert set(kinds(receipt)) == {Unknown}
        assert len(harness.arrived()) == len(sent.recipients)
        assert set(kinds(submit(provider, sent))) == {Accepted}

    @where(Answer.DOWN)
    def test_a_server_that_is_not_there_took_nobody(self, harness: Harness, provider: MailProvider) -> None:
        sent = told(harness, provider, Answer.DOWN)
        assert set(kinds(submit(provider, sent))) == {Busy}
        with pytest.raises(OSError, match=r"\w"):
            provider.check()

    @where(Answer.ADDRESS_REFUSED)
    def test_a_refused_address_is_refused_and_takes_nobody_along(
        self, harness: Harness, provider: MailProvider
    ) -> None:
        members = [recipient(1), recipient(2), recipient(3)]
        harness.refuse(members[1].address)
        if provider.limits.per_recipient_status:
            assert kinds(submit(provider, batch(*members))) == [Accepted, Refused, Accepted]
        else:
            with pytest.raises(CallRefused) as raised:
                submit(provider, batch(*members))
            assert raised.value.blame is Blame.RECIPIENTS
            assert harness.arrived() == []
            for member in members:
                with_one = submit(provider, batch(member))
                assert kinds(with_one) == [Refused if member is members[1] else Accepted]
        assert sorted(message.address for message in harness.arrived()) == ["p1@example.com", "p3@example.com"]


class TestItself:
    def test_check_says_what_it_found_and_sends_nothing(self, harness: Harness, provider: MailProvider) -> None:
        found = provider.check()
        assert found
        assert "\n" not in found
        assert harness.arrived() == []

    def test_it_names_itself_and_its_limits_and_may_be_closed_twice(self, provider: MailProvider) -> None:
        assert provider.name
        assert provider.limits.recipients_per_call >= 1
        provider.close()
        provider.close()
