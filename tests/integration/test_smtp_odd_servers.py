"""SMTP servers that are odd, each with the outcome of everybody, and what the server really took.

| a server that | is met in |
|---|---|
| refuses a recipient, and DATA with 503 | `TestRefusals`; test_smtp_sending |
| says 354 though every recipient was refused | `TestAnEnvelopeThatWentAlong`; test_smtp_sending |
| puts DATA off | `TestRefusals`; test_smtp_sending |
| answers any command with 5yz or 4yz, says 421, or closes (`smtp-sink -f`, `-r`, `-Q`, `-q`) | `TestRefusals` |
| says 421 to the dot, the next envelope being on its way | `TestAnEnvelopeThatWentAlong` |
| refuses what went along with the dot | `TestAnEnvelopeThatWentAlong` |
| closes between the dot's answer and those of the envelope | `TestAnEnvelopeThatWentAlong`; test_smtp_every_octet |
| closes after any octet that it read or wrote | test_smtp_every_octet; test_smtp_broken_off, by chance, also with TLS |
| offers no PIPELINING (`smtp-sink -p`), no SIZE, no EHLO | all of this; test_smtp_sending; test_smtp_handshake |
| answers slowly, in pieces, or in several lines | `TestTheWayAnswersCome`; test_smtp_failures |
| stops answering | `TestTheWayAnswersCome`; test_smtp_failures |
| answers before it was asked, or more often | `TestMoreAnswersThanQuestions`; test_smtp_failures |
| closes after so many messages | `TestSoManyMessages` |
| does all of this to several connections at once | `TestManyAtOnce` |
| reads slowly, and not to the end | `TestLargeMessages`; test_smtp_broken_off |
| takes no message of that size | `TestSizes`; test_smtp_sending |
| greets with anything but 220, or is no SMTP server | test_smtp_handshake |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from servers.letters import LETTERHEAD, batch, issue, recipient
from servers.smtp_calls import books_balance, from_a_thread, kinds, outcomes_by_address, provider_to, submit
from servers.smtp_server import Moment, Reaction, Script, SmtpServer, headers_of

from newsletter.delivery.model import Batch, Busy, Outcome, Refused
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.rendering.model import RenderedIssue

React = Callable[[Moment], Reaction | None]

CLOSING = Reaction(b"421 4.3.2 shutting down\r\n", close=True)
#: What smtp-sink does to the commands it is told, by its options.
SINK = {
    "-f": Reaction(b"500 5.3.0 Error: command failed\r\n"),
    "-r": Reaction(b"450 4.3.0 Error: command failed\r\n"),
    "-Q": CLOSING,
    "-q": Reaction(close=True),
}


@pytest.fixture(params=[True, False], ids=["pipelining", "one-at-a-time"])
def server(request: pytest.FixtureRequest) -> Iterator[SmtpServer]:
    with SmtpServer(Script(pipelining=request.param)) as running:
        yield running


@pytest.fixture
def pipelining() -> Iterator[SmtpServer]:
    with SmtpServer(Script()) as running:
        yield running


@pytest.fixture(scope="module")
def large() -> RenderedIssue:
    """Larger than the buffers of both sides, so that a message is written in many steps."""
    return issue(14_000_000)


def at(step: str, before: int, reaction: Reaction) -> React:
    """This reaction, once, at the step that so many of its kind came before."""
    return lambda moment: reaction if (moment.step, moment.before) == (step, before) else None


def each_at_once(*reacts: React) -> React:
    """The first of them that has something to say."""
    return lambda moment: next((said for react in reacts if (said := react(moment)) is not None), None)


def letters_of(server: SmtpServer, mail: Batch | int, *, timeout: float = 5.0, final_timeout: float = 5.0) -> str:
    """One call, and all is compared with what the server took; the outcomes as letters."""
    provider = provider_to(server, timeout=timeout, final_timeout=final_timeout)
    whole = batch(mail) if isinstance(mail, int) else mail
    outcomes = from_a_thread(lambda: outcomes_by_address(provider, whole))
    provider.close()
    server.close()
    books_balance(server, outcomes)
    return kinds(list(outcomes.values()))


def took(server: SmtpServer) -> str:
    """The numbers of those whom it took mail for, in order."""
    return "".join(address.removeprefix("p").partition("@")[0] for address in server.addresses())


class TestRefusals:
    """What smtp-sink's options do to a command, done to the second of its kind, with PIPELINING as well."""

    @pytest.mark.parametrize(
        ("step", "option", "letters"),
        [
            # a sender who is refused would be refused again, and one who is put off, put off
            ("MAIL", "-f", "ABBB"),
            ("MAIL", "-r", "ABBB"),
            ("MAIL", "-Q", "AAAA"),
            ("MAIL", "-q", "AAAA"),
            ("RCPT", "-f", "ARAA"),
            ("RCPT", "-r", "ABAA"),
            ("RCPT", "-Q", "AAAA"),
            ("RCPT", "-q", "AAAA"),
            ("DATA", "-f", "ARAA"),
            ("DATA", "-r", "ABAA"),
            ("DATA", "-Q", "AAAA"),
            ("DATA", "-q", "AAAA"),
            ("content", "-f", "ARAA"),
            ("content", "-r", "ABAA"),
            ("content", "-Q", "ABAA"),
            ("content", "-q", "AUAA"),
        ],
    )
    def test_what_is_done_to_one_command_concerns_one_message(
        self, server: SmtpServer, step: str, option: str, letters: str
    ) -> None:
        server.script.react = at(step, 1, SINK[option])
        assert letters_of(server, 4) == letters
        assert server.connections == (2 if option in {"-Q", "-q"} else 1)
        assert took(server) == "".join(str(at) for at, letter in enumerate(letters, start=1) if letter == "A")

    @pytest.mark.parametrize("option", SINK)
    def test_after_a_refusal_whatever_becomes_of_rset_the_others_get_theirs(
        self, server: SmtpServer, option: str
    ) -> None:
        refused = at("RCPT", 1, Reaction(b"550 5.1.1 no such user\r\n"))
        server.script.react = each_at_once(refused, at("RSET", 0, SINK[option]))
        assert letters_of(server, 4) == "ARAA"
        assert took(server) == "134"

    @pytest.mark.parametrize("option", SINK)
    def test_whatever_is_said_to_quit_changes_nothing(self, server: SmtpServer, option: str) -> None:
        server.script.react = at("QUIT", 0, SINK[option])
        assert letters_of(server, 3) == "AAA"

    @pytest.mark.parametrize(("option", "letters"), [("-f", "AAA"), ("-r", "BBB"), ("-Q", "BBB"), ("-q", "BBB")])
    def test_only_a_server_that_knows_no_ehlo_is_asked_again(
        self, server: SmtpServer, option: str, letters: str
    ) -> None:
        server.script.react = at("EHLO", 0, SINK[option])
        assert letters_of(server, 3) == letters

    def test_everybody_refused_is_everybody_refused_over_one_connection(self, server: SmtpServer) -> None:
        server.script.react = lambda moment: Reaction(b"550 5.1.1 no\r\n") if moment.step == "RCPT" else None
        assert letters_of(server, 5) == "RRRRR"
        assert server.connections == 1

    def test_refused_put_off_and_taken_in_turn(self, server: SmtpServer) -> None:
        """Each decision is that of the recipient it was made for, however many answers are read at once."""
        for number in (2, 5, 8):
            server.script.rcpt[f"p{number}@example.com"] = b"550 5.1.1 no user %d\r\n" % number
        for number in (3, 6, 9):
            server.script.content[f"p{number}@example.com"] = b"452 4.2.2 full %d\r\n" % number
        provider = provider_to(server)
        outcomes = submit(provider, 9)
        provider.close()
        assert kinds(outcomes) == "ARBARBARB"
        for number in (2, 5, 8):
            assert outcomes[number - 1] == Refused(f"no user {number}", "550 5.1.1")
            assert outcomes[number] == Busy(f"452 4.2.2 full {number + 1}")
        assert took(server) == "147"


class TestAnEnvelopeThatWentAlong:
    """The next envelope goes along with the final dot, and is answered together with it."""

    @pytest.mark.parametrize("closes", [True, False])
    def test_after_421_to_the_dot_what_is_said_to_the_envelope_counts_for_nothing(
        self, pipelining: SmtpServer, closes: bool
    ) -> None:
        """One that does not close waits for the next message's content, and does not get it there."""
        pipelining.script.react = at("content", 1, replace(CLOSING, close=closes))
        assert letters_of(pipelining, 4) == "ABAA"
        assert took(pipelining) == "134"
        assert [taken.connection for taken in pipelining.taken] == [0, 1, 1]

    @pytest.mark.parametrize("answer", [b"550 5.1.1 no such user\r\n", b"450 4.2.1 later\r\n"])
    @pytest.mark.parametrize("despite", [True, False], ids=["354", "503"])
    def test_a_recipient_who_is_refused_then_gets_nothing_and_the_one_after_gets_theirs(
        self, pipelining: SmtpServer, answer: bytes, despite: bool
    ) -> None:
        pipelining.script.rcpt["p2@example.com"] = answer
        pipelining.script.data_despite_refusal = despite
        assert letters_of(pipelining, 4) == f"A{'R' if answer[:1] == b'5' else 'B'}AA"
        assert took(pipelining) == "134"
        assert pipelining.connections == 1
        assert all(len(taken.message) > 1_000 for taken in pipelining.taken)

    @pytest.mark.parametrize("despite", [True, False], ids=["354", "503"])
    def test_several_refused_one_after_the_other(self, pipelining: SmtpServer, despite: bool) -> None:
        for number in (1, 2, 4, 5):
            pipelining.script.rcpt[f"p{number}@example.com"] = b"550 5.1.1 no such user\r\n"
        pipelining.script.data_despite_refusal = despite
        assert letters_of(pipelining, 5) == "RRARR"
        assert took(pipelining) == "3"

    @pytest.mark.parametrize("answer", [b"550 5.7.1 not you\r\n", b"451 4.3.0 not now\r\n"])
    def test_354_though_the_sender_was_refused_gets_no_dot(self, pipelining: SmtpServer, answer: bytes) -> None:
        """The server took the recipient: a lone dot would send them an empty message, and whatever else is written,
        something worse."""
        pipelining.script.data_despite_refusal = True
        pipelining.script.react = at("MAIL", 1, Reaction(answer))
        provider = provider_to(pipelining)
        outcomes = outcomes_by_address(provider, batch(3)) | outcomes_by_address(provider, batch(2, first=4))
        provider.close()
        pipelining.close()
        books_balance(pipelining, outcomes)
        assert all(len(taken.message) > 1_000 for taken in pipelining.taken)
        assert [taken.address for taken in pipelining.taken if taken.connection == 0] == ["p1@example.com"]

    @pytest.mark.parametrize("answer", [b"550 5.7.1 not you\r\n", b"452 4.3.1 no room\r\n"])
    def test_a_sender_who_is_not_wanted_any_more_stops_the_call_and_keeps_what_was_accepted(
        self, pipelining: SmtpServer, answer: bytes
    ) -> None:
        pipelining.script.react = at("MAIL", 2, Reaction(answer))
        assert letters_of(pipelining, 5) == "AABBB"
        assert took(pipelining) == "12"

    @pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
    @pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("said", [b"", b"25", b"250 ok\r\n"])
    def test_a_connection_that_ends_among_its_answers_leaves_the_message_before_accepted(
        self, pipelining: SmtpServer, step: str, said: bytes, reset: bool
    ) -> None:
        """The answer to the dot came whole; no content was begun for the next."""
        if step == "DATA" and said:
            said = b"35"
        pipelining.script.react = at(step, 1, Reaction(said, close=not reset, reset=reset))
        assert letters_of(pipelining, 4) == "AAAA"
        assert took(pipelining) == "1234"
        assert pipelining.connections == 2

    @pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
    def test_a_connection_that_ends_behind_the_dots_answer_with_the_envelope_unread(
        self, pipelining: SmtpServer, reset: bool
    ) -> None:
        pipelining.script.react = at("content", 1, Reaction(b"250 2.0.0 ok\r\n", close=not reset, reset=reset))
        assert letters_of(pipelining, 4) == "AAAA"
        assert took(pipelining) == "1234"

    @pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
    def test_a_connection_that_ends_behind_354_has_not_sent_and_may_have(
        self, pipelining: SmtpServer, reset: bool
    ) -> None:
        """What was written into a connection that ended is for nobody to know."""
        pipelining.script.react = at("DATA", 1, Reaction(b"354 go on\r\n", close=not reset, reset=reset))
        assert letters_of(pipelining, 4) in {"AUAA", "ABAA"}
        assert took(pipelining) == "134"

    def test_a_dot_that_is_refused_together_with_the_next_recipient(self, pipelining: SmtpServer) -> None:
        pipelining.script.content["p1@example.com"] = b"554 5.7.1 spam\r\n"
        pipelining.script.rcpt["p2@example.com"] = b"550 5.1.1 no such user\r\n"
        pipelining.script.react = at("DATA", 2, Reaction(b"451 4.3.0 later\r\n"))
        assert letters_of(pipelining, 4) == "RRBA"
        assert took(pipelining) == "4"
        assert pipelining.connections == 1

    def test_a_dot_that_is_answered_with_nonsense_though_the_envelope_is_taken(self, pipelining: SmtpServer) -> None:
        pipelining.script.react = at("content", 1, Reaction(b"ok, I think\r\n", accept=True))
        assert letters_of(pipelining, 4) == "AUAA"
        assert [taken.connection for taken in pipelining.taken] == [0, 0, 1, 1]


class TestTheWayAnswersCome:
    @pytest.mark.parametrize("piece", [1, 2, 7])
    def test_in_pieces(self, server: SmtpServer, piece: int) -> None:
        server.script.piece, server.script.pause = piece, 0.0005
        server.script.rcpt["p2@example.com"] = b"550-5.1.1 no such\r\n550 5.1.1 user\r\n"
        server.script.content["p3@example.com"] = b"451-4.3.0 come\r\n451 4.3.0 later\r\n"
        assert letters_of(server, 5) == "ARBAA"
        assert server.connections == 1

    def test_in_pieces_and_then_the_server_closes_in_the_middle_of_one(self, server: SmtpServer) -> None:
        server.script.piece, server.script.pause = 1, 0.0005
        server.script.react = at("content", 1, Reaction(b"250-2.0.0 ok\r\n250 2.0.", accept=True, close=True))
        assert letters_of(server, 4) == "AUAA"

    def test_in_several_lines_each(self, server: SmtpServer) -> None:
        said = {
            "connect": b"220-test.example\r\n220-is\r\n220 here\r\n",
            "MAIL": b"250-2.1.0 the\r\n250-2.1.0 sender\r\n250 2.1.0 is ok\r\n",
            "RCPT": b"250-2.1.5 the\r\n250 2.1.5 recipient too\r\n",
            "DATA": b"354-go\r\n354 on\r\n",
            "content": b"250-2.0.0 queued\r\n250 2.0.0 as 4711\r\n",
            "QUIT": b"221-2.0.0 bye\r\n221 2.0.0 bye\r\n",
        }
        server.script.react = lambda moment: Reaction(said[moment.step]) if moment.step in said else None
        assert letters_of(server, 4) == "AAAA"
        assert took(server) == "1234"
        assert server.connections == 1

    def test_without_any_words(self, server: SmtpServer) -> None:
        said = {"MAIL": b"250\r\n", "RCPT": b"250\n", "DATA": b"354 \r\n", "content": b"250 \n"}
        server.script.react = lambda moment: Reaction(said[moment.step]) if moment.step in said else None
        assert letters_of(server, 3) == "AAA"

    def test_late(self, server: SmtpServer) -> None:
        server.script.delay = 0.05
        assert letters_of(server, 4) == "AAAA"
        assert server.connections == 1

    @pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
    def test_never_to_an_envelope(self, server: SmtpServer, step: str) -> None:
        server.script.react = at(step, 1, Reaction(hang=True))
        assert letters_of(server, 3, timeout=0.5) == "AAA"
        assert took(server) == "123"
        assert server.connections == 2

    @pytest.mark.parametrize("said", [b"", b"25", b"250-2.0.0 ok\r\n"])
    def test_never_to_a_dot_behind_which_the_envelope_went_along(self, server: SmtpServer, said: bytes) -> None:
        server.script.react = at("content", 1, Reaction(said, accept=True, hang=True))
        assert letters_of(server, 4, final_timeout=0.5) == "AUBB"
        assert took(server) == "12"


#: The server's first or second answer to each, before which nobody or only the first was decided.
_AS_USUAL = {
    "connect": (0, b"220 test.example ESMTP\r\n"),
    "EHLO": (0, b"250-test.example\r\n250 PIPELINING\r\n"),
    "MAIL": (1, b"250 2.1.0 ok\r\n"),
    "RCPT": (1, b"250 2.1.5 ok\r\n"),
    "DATA": (1, b"354 go on\r\n"),
    "content": (1, b"250 2.0.0 ok\r\n"),
}


class TestMoreAnswersThanQuestions:
    @pytest.mark.parametrize("more", [b"250 2.0.0 ok\r\n", b"354 go on\r\n", b"550 5.1.1 no\r\n", b"250-and", b"2"])
    @pytest.mark.parametrize("step", _AS_USUAL)
    def test_one_answer_too_many_may_cost_the_connection_and_is_nobodys_acceptance(
        self, server: SmtpServer, step: str, more: bytes
    ) -> None:
        before, usual = _AS_USUAL[step]
        server.script.react = at(step, before, Reaction(usual + more))
        server.script.content["p2@example.com"] = b"554 5.7.1 not wanted\r\n"
        letters = letters_of(server, 4, timeout=0.5, final_timeout=0.5)
        if step == "content":
            assert letters[:2] == "AA"
        else:
            assert letters[0] in ("A" if before else "AB")
            assert letters[1] in "RBU"
        assert "R" not in letters[2:]

    def test_a_message_is_not_accepted_by_an_answer_that_was_there_before_it_was_sent(self, server: SmtpServer) -> None:
        server.script.react = at("DATA", 1, Reaction(b"354 go on\r\n250 2.0.0 ok, queued already\r\n"))
        server.script.content["p2@example.com"] = b"554 5.7.1 spam\r\n"
        letters = letters_of(server, 3)
        assert (letters[0], letters[2]) == ("A", "A")
        assert letters[1] != "A"
        assert took(server) == "13"

    def test_what_is_said_between_two_calls_is_not_taken_for_an_answer(self, server: SmtpServer) -> None:
        """A server that says why it will close, a moment after the last message, and closes or does not."""
        for closes in (True, False):
            late = Reaction(b"250 2.0.0 ok\r\n421 4.4.2 idle for too long\r\n", close=closes)
            server.script.react = lambda moment, late=late: (  # type: ignore[misc]
                late if moment.step == "content" and moment.address == "p2@example.com" else None
            )
            provider = provider_to(server)
            before = len(server.taken)
            assert kinds(submit(provider, 2)) == "AA"
            assert kinds(submit(provider, batch(2, first=3))) == "AA"
            provider.close()
            assert len(server.taken) - before == 4


class TestSoManyMessages:
    @pytest.mark.parametrize(
        "ends",
        [
            ("MAIL", CLOSING),
            ("MAIL", Reaction(close=True)),
            ("MAIL", Reaction(reset=True)),
            ("content", Reaction(b"250 2.0.0 ok\r\n", close=True)),
            ("content", Reaction(b"250 2.0.0 ok\r\n421 4.7.0 too many\r\n", close=True)),
        ],
        ids=["421", "closed", "reset", "closed-behind-the-last", "421-behind-the-last"],
    )
    @pytest.mark.parametrize("messages", [1, 2, 3])
    def test_a_server_that_takes_so_many_on_a_connection_gets_them_all_on_several(
        self, server: SmtpServer, messages: int, ends: tuple[str, Reaction]
    ) -> None:
        step, reaction = ends
        on_connection: dict[int, int] = {}

        def react(moment: Moment) -> Reaction | None:
            if moment.step == "content":
                on_connection[moment.connection] = on_connection.get(moment.connection, 0) + 1
            full = on_connection.get(moment.connection, 0) >= messages
            return reaction if moment.step == step and full else None

        server.script.react = react
        assert letters_of(server, 7) == "A" * 7
        assert took(server) == "1234567"
        # one more where it closes only when it is asked for more than it takes
        assert server.connections in {-(-7 // messages), -(-7 // messages) + 1}


class TestManyAtOnce:
    def test_each_thread_has_its_own_trouble_and_the_outcomes_of_its_own_messages(self, server: SmtpServer) -> None:
        """Every connection ends sooner or later, each in another way, while the others go on."""
        troubles = [
            ("MAIL", CLOSING),
            ("RCPT", Reaction(reset=True)),
            ("RCPT", Reaction(b"550 5.1.1 no such user\r\n")),
            ("DATA", Reaction(b"451 4.3.0 later\r\n")),
            ("DATA", Reaction(b"354 go on\r\n", reset=True)),
            ("content", Reaction(accept=True, close=True)),
            ("content", Reaction(accept=False, reset=True)),
            ("content", Reaction(b"250 2.0.", accept=True, close=True)),
            ("content", Reaction(b"554 5.7.1 spam\r\n")),
            ("content", Reaction(b"what?\r\n", accept=True)),
        ]

        def react(moment: Moment) -> Reaction | None:
            step, reaction = troubles[moment.before // 7 % len(troubles)]
            return reaction if moment.step == step and moment.before % 7 == 3 else None

        server.script.react = react
        provider = provider_to(server)
        outcomes: dict[str, Outcome] = {}

        def call(number: int) -> dict[str, Outcome]:
            return outcomes_by_address(provider, batch(6, first=10 * number))

        with ThreadPoolExecutor(6) as threads:
            for found in threads.map(call, range(1, 61)):
                outcomes |= found
        provider.close()
        server.close()
        books_balance(server, outcomes)
        letters = kinds(list(outcomes.values()))
        assert len(letters) == 360
        assert set(letters) == set("ARBU")
        assert letters.count("A") > 240


class TestLargeMessages:
    def test_they_arrive_whole_side_by_side(self, server: SmtpServer, large: RenderedIssue) -> None:
        provider = provider_to(server)
        with ThreadPoolExecutor(2) as threads:
            both = threads.map(lambda first: outcomes_by_address(provider, batch(2, first=first), large), (1, 3))
            outcomes = {address: outcome for found in both for address, outcome in found.items()}
        provider.close()
        server.close()
        books_balance(server, outcomes)
        assert kinds(list(outcomes.values())) == "AAAA"
        for taken in server.taken:
            assert len(taken.message) > 14_000_000
            assert taken.message.endswith(b"--\r\n")
            assert headers_of(taken.message[:4096])["to"] == taken.address

    @pytest.mark.parametrize("by_reset", [True, False], ids=["reset", "closed"])
    def test_one_that_is_cut_off_was_not_sent(self, server: SmtpServer, large: RenderedIssue, by_reset: bool) -> None:
        server.script.cut_in, server.script.cut_by_reset = {0: 3_000_000}, by_reset
        provider = provider_to(server)
        outcomes = from_a_thread(lambda: outcomes_by_address(provider, batch(2), large))
        provider.close()
        server.close()
        books_balance(server, outcomes)
        assert kinds(list(outcomes.values())) == "BA"


class TestSizes:
    def test_a_message_that_is_too_large_does_not_go_along_with_the_dot_before(self, server: SmtpServer) -> None:
        provider = provider_to(server)
        assert kinds(submit(provider, batch(1, first=9))) == "A"
        provider.close()
        server.script.size = len(server.taken.pop().message) + 100
        large = recipient(2, name="long " * 40)
        mail = Batch("r", 1, LETTERHEAD, (recipient(1), large, recipient(3)))
        assert letters_of(server, mail) == "ABB"
        assert took(server) == "1"
        assert not any("p2@" in command for command in server.commands)

    @pytest.mark.parametrize("step", ["RCPT", "DATA", "content"])
    def test_a_server_that_finds_it_too_large_for_one_refuses_it_to_them_alone(
        self, server: SmtpServer, step: str
    ) -> None:
        server.script.react = at(step, 1, Reaction(b"552 5.2.3 too large for this mailbox\r\n"))
        provider = provider_to(server)
        outcomes = submit(provider, 3)
        provider.close()
        assert kinds(outcomes) == "ARA"
        assert outcomes[1] == Refused("too large for this mailbox", "552 5.2.3")
        assert took(server) == "13"

    def test_a_server_that_finds_it_too_large_for_all_stops_the_run(self, server: SmtpServer) -> None:
        server.script.react = lambda moment: (
            Reaction(b"552 5.3.4 message too big\r\n") if moment.step == "MAIL" else None
        )
        provider = provider_to(server)
        with pytest.raises(CallRefused) as caught:
            submit(provider, 3, issue(300_000))
        provider.close()
        assert (caught.value.blame, caught.value.code) == (Blame.CONTENT, "552 5.3.4")
        assert took(server) == ""
