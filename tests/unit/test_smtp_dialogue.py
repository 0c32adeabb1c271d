"""Replies of SMTP servers: read however they are cut, and taken for what they mean."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.model import Accepted, Busy, Refused
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.smtp_dialogue import (
    LONGEST_LINE,
    LONGEST_WORDS,
    MOST_LINES,
    Nonsense,
    Reply,
    ReplyReader,
    Step,
    read_content,
    read_envelope,
)

OK = Reply(250, b"2.1.0 ok")
GO_ON = Reply(354, b"go on")
NO_RECIPIENTS = Reply(503, b"5.5.1 no valid recipients")


def all_replies(*pieces: bytes) -> list[Reply]:
    reader = ReplyReader()
    replies = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.reply()) is not None:
            replies.append(reply)
    return replies


_texts = st.binary(max_size=40).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
_replies = st.tuples(st.integers(200, 599), st.lists(_texts, min_size=1, max_size=4))


_WELL = b"250 taken\r\n250 ok\r\n251 ok\r\n354 go on\r\n"


def assert_read_alike(reader: ReplyReader, other: ReplyReader) -> None:
    """To the end: what is read of both, and what is nonsense."""
    while True:
        try:
            read = reader.reply()
        except Nonsense:
            with pytest.raises(Nonsense):
                other.reply()
            return
        assert read == other.reply()
        if read is None:
            return


class TestAllWell:
    def test_it_is_the_four_replies_and_nothing_else(self) -> None:
        reader = ReplyReader()
        assert reader.all_well(_WELL)
        assert reader.empty
        assert reader.reply() is None

    @pytest.mark.parametrize("before", [b"2", b"250 2.0.0 ", b"250-more to come\r\n", b"451 later\r\n"])
    def test_it_is_not_where_something_is_left_over(self, before: bytes) -> None:
        reader, other = ReplyReader(), ReplyReader()
        for each in (reader, other):
            each.feed(before)
        if before.startswith(b"250-"):
            assert reader.reply() is None  # a line of it is read
            assert other.reply() is None
        assert not reader.all_well(_WELL)
        other.feed(_WELL)
        assert_read_alike(reader, other)

    @pytest.mark.parametrize(
        "written",
        [
            _WELL[:-1],
            _WELL[:11],
            _WELL + b"250 ok\r\n",
            _WELL.replace(b"251", b"550"),
            _WELL.replace(b"354", b"250"),
            _WELL.replace(b"250 taken", b"250-taken"),
            b"250 " + LONGEST_LINE * b"x" + _WELL[9:],
        ],
    )
    def test_else_each_is_read_by_itself(self, written: bytes) -> None:
        reader, other = ReplyReader(), ReplyReader()
        assert not reader.all_well(written)
        other.feed(written)
        assert_read_alike(reader, other)


class TestReading:
    @given(st.lists(_replies, max_size=5), st.lists(st.integers(0, 400), max_size=6))
    def test_replies_are_the_same_however_they_are_cut(
        self, written: list[tuple[int, list[bytes]]], cuts: list[int]
    ) -> None:
        stream = b""
        for code, lines in written:
            stream += b"".join(b"%d-%b\r\n" % (code, line) for line in lines[:-1])
            stream += b"%d %b\r\n" % (code, lines[-1])
        places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        pieces = [stream[start:end] for start, end in pairwise(places)]
        assert all_replies(*pieces) == [Reply(code, b"\n".join(lines)) for code, lines in written]

    def test_a_code_alone_and_a_bare_line_feed_are_read(self) -> None:
        assert all_replies(b"250\r\n221 bye\n") == [Reply(250, b""), Reply(221, b"bye")]

    @pytest.mark.parametrize(
        "octets",
        [
            b"hello\r\n",
            b"\r\n",
            b"25\r\n",
            b"2500 ok\r\n",
            b"250_ok\r\n",
            b"150 wait\r\n",
            b"650 ok\r\n",
            b"\xff\xfd\x18\r\n",
            b"250-first\r\n550 second\r\n",
            b"2" * (LONGEST_LINE + 1),
            b"250 " + b"x" * LONGEST_LINE + b"\r\n",
            b"250-again\r\n" * MOST_LINES,
        ],
    )
    def test_what_is_no_reply_is_nonsense(self, octets: bytes) -> None:
        with pytest.raises(Nonsense):
            all_replies(octets)

    @given(st.binary(max_size=200))
    def test_no_octets_do_anything_but_make_replies_or_nonsense(self, octets: bytes) -> None:
        try:
            replies = all_replies(octets)
        except Nonsense:
            return
        assert all(200 <= reply.code <= 599 for reply in replies)


class TestWords:
    def test_the_enhanced_code_is_taken_out_of_every_line(self) -> None:
        reply = Reply(550, b"5.1.1 The account does\n5.1.1 not exist. https://example.com/?p=NoSuchUser")
        assert reply.status == "550 5.1.1"
        assert reply.words() == "The account does not exist. https://example.com/?p=NoSuchUser"

    @pytest.mark.parametrize("octets", [b"2.0.0 ok", b"5.1 no", b"5.1.1.1 no", b"5.1.1no", b"no 5.1.1", b""])
    def test_only_a_code_of_the_same_class_at_the_start_is_one(self, octets: bytes) -> None:
        assert Reply(550, octets).enhanced == ""

    def test_the_recipients_address_is_taken_out_so_that_the_same_words_are_one_reason(self) -> None:
        said = [Reply(550, b"<%b>: unknown" % who).words(who.decode()) for who in (b"A.b+c@example.com", b"x@y.zz")]
        assert said == ["<…>: unknown"] * 2
        assert Reply(550, b"<P7@Example.COM> unknown").words("p7@example.com") == "<…> unknown"

    def test_hostile_words_become_one_short_line(self) -> None:
        words = Reply(550, b"a\x1b[2J\x00b\xff\xe2\x80\xae\n\tc" + b"x" * 5000).words()
        assert words.startswith("a [2J b")
        assert words.isprintable()
        assert len(words) == LONGEST_WORDS


class TestEnvelopes:
    def test_content_goes_out_when_all_three_agree(self) -> None:
        for rcpt in (OK, Reply(251, b"will forward"), Reply(252, b"cannot verify")):
            assert read_envelope(OK, rcpt, GO_ON, "a@example.com").step is Step.CONTENT

    def test_a_refused_recipient_is_refused_alone_and_the_transaction_reset(self) -> None:
        verdict = read_envelope(OK, Reply(550, b"5.1.1 no such user"), NO_RECIPIENTS, "a@example.com")
        assert (verdict.step, verdict.outcome) == (Step.RESET, Refused("no such user", "550 5.1.1"))
        assert read_envelope(OK, Reply(550, b"5.1.1 no such user"), None, "a@example.com") == verdict

    def test_354_after_a_refused_recipient_wants_a_lone_dot(self) -> None:
        verdict = read_envelope(OK, Reply(452, b"4.2.2 full"), GO_ON, "a@example.com")
        assert (verdict.step, verdict.outcome) == (Step.LONE_DOT, Busy("452 4.2.2 full"))

    def test_354_after_a_refused_sender_gets_no_dot(self) -> None:
        """The recipient was taken: a dot would send them an empty message."""
        assert read_envelope(Reply(550, b"no"), OK, GO_ON, "a@example.com").step is Step.CLOSE

    @pytest.mark.parametrize(
        ("code", "octets", "blame"),
        [
            (550, b"5.7.1 sender denied", Blame.CONTENT),
            (552, b"5.3.4 message too big", Blame.CONTENT),
            (501, b"syntax", Blame.CONTENT),
            (530, b"5.7.0 log in first", Blame.ACCOUNT),
        ],
    )
    def test_a_refused_sender_stops_everything(self, code: int, octets: bytes, blame: Blame) -> None:
        verdict = read_envelope(Reply(code, octets), NO_RECIPIENTS, NO_RECIPIENTS, "a@example.com")
        assert isinstance(verdict.stop, CallRefused)
        assert (verdict.stop.blame, verdict.stop.code[:3]) == (blame, str(code))

    def test_a_server_without_room_is_busy_for_all(self) -> None:
        verdict = read_envelope(Reply(452, b"4.3.1 no room"), NO_RECIPIENTS, NO_RECIPIENTS, "a@example.com")
        assert verdict.stop == Busy("452 4.3.1 no room")

    @pytest.mark.parametrize(("code", "kind"), [(450, Busy), (554, Refused)])
    def test_an_answer_to_data_is_about_this_message(self, code: int, kind: type) -> None:
        verdict = read_envelope(OK, OK, Reply(code, b"no"), "a@example.com")
        assert (verdict.step, type(verdict.outcome)) == (Step.RESET, kind)

    @pytest.mark.parametrize(
        "replies",
        [
            (Reply(421, b"closing"), None, None),
            (OK, Reply(421, b"closing"), None),
            (OK, OK, Reply(421, b"closing")),
            (OK, OK, OK),
            (OK, GO_ON, OK),
            (Reply(503, b"nested MAIL"), NO_RECIPIENTS, NO_RECIPIENTS),
            (OK, OK, NO_RECIPIENTS),
            (OK, None, None),
            (OK, OK, None),
        ],
    )
    def test_a_server_that_closes_or_is_out_of_step_decides_nothing(
        self, replies: tuple[Reply, Reply | None, Reply | None]
    ) -> None:
        verdict = read_envelope(*replies, "a@example.com")
        assert (verdict.step, verdict.outcome, verdict.stop) == (Step.CLOSE, None, None)
        assert verdict.reason

    @given(
        st.integers(200, 599), st.one_of(st.none(), st.integers(200, 599)), st.one_of(st.none(), st.integers(200, 599))
    )
    def test_content_is_never_sent_without_354_and_a_recipient(
        self, mail: int, rcpt: int | None, data: int | None
    ) -> None:
        rcpt_reply, data_reply = (None if code is None else Reply(code, b"words") for code in (rcpt, data))
        verdict = read_envelope(Reply(mail, b"words"), rcpt_reply, data_reply, "a@example.com")
        agreed = 200 <= mail < 300 and rcpt is not None and 200 <= rcpt < 300 and data == 354
        assert (verdict.step is Step.CONTENT) == agreed
        assert not isinstance(verdict.outcome, Accepted)
        if verdict.step is Step.LONE_DOT:
            assert rcpt is not None
            assert rcpt >= 400


class TestTheFinalDot:
    @pytest.mark.parametrize(
        ("reply", "outcome"),
        [
            (Reply(250, b"2.0.0 Ok: queued as 9F"), Accepted()),
            (Reply(451, b"4.7.1 try later"), Busy("451 4.7.1 try later")),
            (Reply(421, b"4.3.2 closing"), Busy("421 4.3.2 closing")),
            (Reply(554, b"5.7.1 spam"), Refused("spam", "554 5.7.1")),
        ],
    )
    def test_its_answer_decides(self, reply: Reply, outcome: object) -> None:
        assert read_content(reply, "a@example.com") == outcome

    def test_an_answer_that_cannot_stand_there_is_nonsense(self) -> None:
        with pytest.raises(Nonsense):
            read_content(GO_ON, "a@example.com")
