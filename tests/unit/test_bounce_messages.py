"""What messages that come back say: real ones of many servers, and our own of each kind."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from bounce_examples import BOUNCES, complaint, dsn, letter, qmail_bounce
from hypothesis import given
from hypothesis import strategies as st

from newsletter.events.bounce_message import MOST_BYTES, Finding, ReturnedMessage, Sort, read_message
from newsletter.events.model import EventKind
from newsletter.events.server_words import failure

HARD, SOFT, BLOCKED = EventKind.HARD_BOUNCE, EventKind.SOFT_BOUNCE, EventKind.BLOCKED
DEFERRED, DELIVERED, OTHER = EventKind.DEFERRED, EventKind.DELIVERED, EventKind.OTHER

#: File → what it means, its code, and the addresses: those that flufl.bounce's own tests expect of it.
EXPECTED: dict[str, tuple[EventKind, str, tuple[str, ...]]] = {
    "postfix_01": (HARD, "5.1.1", ("xxxxx@local.ie",)),
    # a content filter died: nothing is said about the mailbox
    "postfix_03": (SOFT, "", ("ttttt@ggggg.com",)),
    "postfix_04": (SOFT, "", ("userx@mail1.example.com",)),
    "exim_01": (HARD, "5.1.1", ("userx@its.example.nl",)),
    "qmail_02": (SOFT, "", ("userx@example.com",)),
    "qmail_03": (HARD, "5.1.1", ("userx@example.jp",)),
    "qmail_05": (HARD, "550", ("userx@example.com",)),
    "sendmail_01": (BLOCKED, "554", ("zzzzz@nfg.nl", "zzzzz@shaft.coal.nl")),  # too many hops
    "microsoft_01": (HARD, "", ("userx@example.COM",)),
    "microsoft_04": (HARD, "", ("userx@example.COM",)),
    "groupwise_01": (HARD, "", ("userx@example.EDU",)),
    "dsn_01": (SOFT, "5.0.0", ("userx@example.com",)),  # reached disk quota
    "dsn_05": (DEFERRED, "4.4.1", ("userx@example.cz",)),
    "dsn_10": (HARD, "5.0.0", ("anne.person@dom.ain",)),  # the code is general, the words are not
    "dsn_14": (HARD, "5.1.1", ("userx@example.com.dk",)),
    "dsn_16": (HARD, "5.0.0", ("userx@example.com",)),
    "dsn_17": (DEFERRED, "4.3.0", ("userx@example.fi",)),
    "dsn_18": (HARD, "5.0.0", ("email@replaced.net",)),  # `Action: error`
    "yahoo_01": (SOFT, "4.4.1", ("userx@example.com",)),
    "yahoo_03": (HARD, "", ("userx@example.com",)),
    "yahoo_10": (HARD, "", ("userx@example.com", "usery@example.com", "userz@example.com")),
    "aol_01": (SOFT, "", ("screenname@aol.com",)),  # the reader blocks the sender; no word of the mailbox
    "netscape_01": (SOFT, "", ("aaaaa@corel.com", "bbbbb@corel.com")),
    "smtp32_04": (HARD, "5.3.0", ("after_another@example.net", "one_bad_address@example.net")),
    "sina_01": (SOFT, "", ("userx@sina.com", "usery@sina.com")),
    "simple_17": (SOFT, "", ("userx@example.com",)),  # `failed permanently`, without a reason
    "simple_21": (DEFERRED, "", ("userx@example.com",)),
    "simple_38": (SOFT, "", ("userx@example.com",)),
    "simple_42": (BLOCKED, "5.7.1", ("david...@gmail.com",)),
}
NO_BOUNCES = {"qmail_08": Sort.AUTO_REPLY, "groupwise_03": Sort.LETTER}


def only(data: bytes) -> Finding:
    message = read_message(data)
    [finding] = message.findings
    return finding


class TestRealOnes:
    @pytest.mark.parametrize("name", EXPECTED)
    def test_a_server_is_understood(self, name: str) -> None:
        message = read_message((BOUNCES / f"{name}.txt").read_bytes())
        kind, code, addresses = EXPECTED[name]
        assert message.sort is Sort.BOUNCE
        assert {(one.kind, one.code) for one in message.findings} == {(kind, code)}
        # two of these have a finding twice, as the server wrote it
        assert tuple(sorted({one.address for one in message.findings})) == addresses

    @pytest.mark.parametrize("name", NO_BOUNCES)
    def test_what_is_no_bounce_is_none(self, name: str) -> None:
        message = read_message((BOUNCES / f"{name}.txt").read_bytes())
        assert (message.sort, message.findings) == (NO_BOUNCES[name], ())

    def test_every_file_is_looked_at(self) -> None:
        assert {file.stem for file in BOUNCES.glob("*.txt")} == EXPECTED.keys() | NO_BOUNCES.keys()


class TestNotifications:
    def test_one_by_the_standard_is_read_whole(self) -> None:
        to = "bounces+abc@news.example.com"
        message = read_message(dsn(to, header="Delivered-To: other@news.example.com\n"))
        assert message.sort is Sort.BOUNCE
        [finding] = message.findings
        assert finding == Finding(
            HARD, "ben@example.com", "5.1.1", "550 5.1.1 <ben@example.com>: Recipient address rejected: User unknown"
        )
        assert message.addressed == ("other@news.example.com", to, "<>")  # the surest first
        assert message.at == dt.datetime(2026, 1, 7, 7, 0, tzinfo=dt.UTC)
        assert "<00000000000000000000000000000000@news.example.com>" in message.quoted
        assert message.message_id == "<4abc@mx.example.com>"

    @pytest.mark.parametrize(
        ("action", "status", "words", "kind"),
        [
            ("failed", "5.1.1", "", HARD),
            ("failed", "5.1.10", "", HARD),  # a null MX
            ("failed", "5.4.4", "", HARD),  # a domain without a mail server
            ("failed", "5.2.1", "", HARD),  # switched off
            ("failed", "5.2.2", "", SOFT),
            ("failed", "4.4.7", "", SOFT),
            ("failed", "5.7.1", "550 5.7.1 blocked", BLOCKED),
            ("failed", "5.6.0", "", BLOCKED),
            ("failed", "5.3.4", "", BLOCKED),
            ("failed", "5.1.8", "", BLOCKED),  # the sender's address
            ("failed", "5.0.0", "smtp; 550 No such user here", HARD),
            ("failed", "5.0.0", "smtp; 550 5.7.26 unauthenticated", BLOCKED),  # the words have the better code
            ("failed", "5.5.0", "smtp; 550 5.5.0 Requested action not taken: mailbox unavailable", HARD),
            ("failed", "5.4.1", "smtp; 550 5.4.1 Recipient address rejected: Access denied", BLOCKED),
            ("failed", "5.0.0", "smtp; 552 mailbox full", SOFT),
            ("failed", "5.0.0", "", SOFT),
            ("failed", "4.0.0", "smtp; 450 unknown user, try again", SOFT),
            ("failed (Bad destination)", "5.1.1", "", HARD),
            ("delayed", "4.4.1", "", DEFERRED),
            ("delivered", "2.0.0", "", DELIVERED),
            ("relayed", "2.0.0", "", DELIVERED),
            ("expanded", "2.0.0", "", DELIVERED),
            ("whatever", "2.0.0", "", DELIVERED),
            ("whatever", "4.0.0", "", DEFERRED),
            ("whatever", "5.1.1", "", HARD),
        ],
    )
    def test_action_status_and_words_make_the_kind(self, action: str, status: str, words: str, kind: EventKind) -> None:
        assert only(dsn("b@news.example.com", action=action, status=status, words=words)).kind is kind

    def test_the_original_recipient_counts_more_than_the_final_one(self) -> None:
        data = dsn("b@news.example.com").replace(
            b"Final-Recipient: rfc822; ben@", b"Final-Recipient: rfc822; elsewhere@"
        )
        assert only(data).address == "ben@example.com"

    def test_an_address_is_read_as_it_was_encoded(self) -> None:
        data = dsn("b@news.example.com", recipient="ben+2Bnews@example.com")
        assert only(data).address == "ben+news@example.com"

    def test_an_internationalised_one_is_read(self) -> None:
        data = dsn("b@news.example.com").replace(b"message/delivery-status", b"message/global-delivery-status")
        assert only(data).kind is HARD

    def test_one_that_somebody_attached_to_a_mail_is_none(self) -> None:
        attached = dsn("b@news.example.com").decode()
        data = (
            'Content-Type: multipart/mixed; boundary="outer"\nFrom: ben@example.com\n\n--outer\n'
            f"Content-Type: text/plain\n\nLook!\n\n--outer\nContent-Type: message/rfc822\n\n{attached}\n--outer--\n"
        )
        message = read_message(data.encode())
        assert (message.sort, message.findings) == (Sort.LETTER, ())

    def test_an_old_format_is_read(self) -> None:
        assert only(qmail_bounce("b@news.example.com")).kind is HARD

    def test_words_of_the_mail_that_is_returned_count_for_nothing(self) -> None:
        ours = "Subject: No such user: a policy of spam\n\nmailbox full, user unknown\n"
        finding = only(qmail_bounce("b@news.example.com", ours, "Sorry."))
        assert (finding.kind, finding.code) == (SOFT, "")
        assert "policy" not in finding.reason


class TestComplaints:
    def test_one_is_read_whole(self) -> None:
        message = read_message(complaint("fbl@news.example.com", sender="bounces+abc@news.example.com"))
        assert message.sort is Sort.COMPLAINT
        assert message.sender_told == "<bounces+abc@news.example.com>"
        assert message.findings == (
            Finding(EventKind.COMPLAINED, "ben@example.com", "abuse", "abuse SomeGenerator/1.0"),
        )

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ("abuse", EventKind.COMPLAINED),
            ("Fraud", EventKind.COMPLAINED),
            ("opt-out", EventKind.UNSUBSCRIBED),
            ("not-spam", OTHER),
            ("auth-failure", OTHER),
            ("virus", OTHER),
            ("x-new-thing", OTHER),
        ],
    )
    def test_the_type_makes_the_kind(self, said: str, kind: EventKind) -> None:
        assert only(complaint("fbl@news.example.com", kind=said)).kind is kind

    def test_one_that_hides_the_recipient_is_one_all_the_same(self) -> None:
        assert only(complaint("fbl@news.example.com", recipient="")).address == ""


class TestOthers:
    @pytest.mark.parametrize(
        "header",
        ["Auto-Submitted: auto-replied\n", "Precedence: auto_reply\n", "X-Autoreply: yes\n", "X-Autorespond: news\n"],
    )
    def test_an_answering_machine_is_no_bounce(self, header: str) -> None:
        body = "I am away. Delivery to the following recipient failed permanently:\n\n     ben@example.com\n"
        message = read_message(letter("b@news.example.com", header=header, subject="Out of office", body=body))
        assert (message.sort, message.findings) == (Sort.AUTO_REPLY, ())

    def test_an_answering_machine_that_carries_a_notification_is_one(self) -> None:
        data = dsn("b@news.example.com")
        assert b"Auto-Submitted: auto-replied" in data  # as RFC 3834 has it
        assert only(data).kind is HARD

    def test_a_person_who_writes_is_a_letter(self) -> None:
        message = read_message(letter("b@news.example.com", body="Please tell me more.\n"))
        assert (message.sort, message.findings, message.subject) == (Sort.LETTER, (), "unsubscribe")
        generated = letter("b@news.example.com", header="Auto-Submitted: auto-generated\n")
        assert read_message(generated).sort is Sort.GENERATED

    def test_what_a_server_says_holds_nothing_that_a_terminal_obeys(self) -> None:
        data = dsn("b@news.example.com", words="smtp; 550 \x1b]0;title\x07\x1b[31m red \x9b31m" + "x" * 5000)
        finding = only(data)
        assert finding.reason.isprintable()
        assert len(finding.reason) <= 500


class TestWords:
    @pytest.mark.parametrize(
        ("words", "kind", "code"),
        [
            ("550 5.1.1 no such user", HARD, "5.1.1"),
            ("550-5.1.1 The email account that you tried to reach does not exist", HARD, "5.1.1"),
            ("554 delivery error: dd This user doesn't have a yahoo.com account", HARD, "554"),
            ("552-5.2.2 The recipient's inbox is out of storage space", SOFT, "5.2.2"),
            ("452 4.2.2 over quota", SOFT, "4.2.2"),
            ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", BLOCKED, "4.7.0"),
            ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using a list", BLOCKED, "5.7.1"),
            ("550 Rejected: user unknown, or blocked by policy", BLOCKED, "550"),  # in doubt the milder one
            ("host mx5.5.1.1.example.com[5.1.1.2] said: 550 no", SOFT, "550"),  # no code, but names and numbers
            ("call +1-550-555-0100", SOFT, ""),
            ("Unbekannter Fehler", SOFT, ""),
            ("", SOFT, ""),
        ],
    )
    def test_a_code_counts_before_words_and_a_doubt_counts_little(self, words: str, kind: EventKind, code: str) -> None:
        assert failure("", words) == (kind, code)

    @given(st.text(max_size=300), st.text(max_size=2000))
    def test_any_words_make_some_failure(self, status: str, words: str) -> None:
        kind, code = failure(status, words)
        assert kind in (HARD, SOFT, BLOCKED)
        assert code == "" or code[0] in "45"


#: Pieces of messages, well formed and not, to be put together in any order.
PIECES = [
    *dsn("b@news.example.com").splitlines(keepends=True),
    *complaint("b@news.example.com").splitlines(keepends=True),
    *qmail_bounce("b@news.example.com").splitlines(keepends=True),
    b"\n",
    b"\r\n",
    b"Content-Type: message/delivery-status\n",
    b"Content-Type: message/feedback-report\n",
    b"Content-Type: message/rfc822\n",
    b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: x-uuencode\n",
    b"Content-Type: text/plain; charset=nonsense\n",
    b"Action: f\xc3\xa4iled\n",
    b"Date: Wed, 99 Foo 99999 99:99:99 +9999\n",
    b"Message-ID: =?utf-8?b?////?=\n",
    b"\xff\xfe\x00",
]


class TestAnything:
    @given(st.binary(max_size=2000))
    def test_any_bytes_are_read(self, data: bytes) -> None:
        assert isinstance(read_message(data), ReturnedMessage)

    @given(st.lists(st.sampled_from(PIECES), max_size=60))
    def test_any_mixture_is_read(self, pieces: list[bytes]) -> None:
        message = read_message(b"".join(pieces))
        assert all(one.reason.isprintable() and one.code.isprintable() for one in message.findings)

    @pytest.mark.parametrize(
        "data",
        [
            b"From: MAILER-DAEMON@x.example\nTo: b@x.example\n\n" + b"x\n" * 2_000_000,
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20_000)),
            b"Content-Type: message/rfc822\n\n" * 20_000,
            b"Content-Type: message/delivery-status\n\n" + b"Final-Recipient: rfc822; a@b\nAction: failed\n\n" * 30_000,
            b"X-Failed-Recipients: " + b"a@b.example, " * 100_000 + b"\n\n",
        ],
        ids=["lines", "parts in parts", "messages in messages", "recipients", "failed recipients"],
    )
    def test_one_that_is_made_to_be_slow_takes_seconds_at_most(self, data: bytes) -> None:
        began = time.monotonic()
        message = read_message(data)
        assert time.monotonic() - began < 20
        assert len(message.findings) <= 50
        assert len(message.quoted) <= 2 * MOST_BYTES


def test_parts_in_parts_by_the_hundreds_hold_nobody_up() -> None:
    """The parser asks each of them for the end of every line: it took a quarter of a minute."""
    begins = b"".join(b"Content-Type: Multipart/Mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(400))
    began = time.process_time()
    assert read_message(begins + b"\n" + b"x\n" * 400_000) is not None
    assert time.process_time() - began < 5
