"""`bounces poll`: mail goes out over SMTP, comes back, and has consequences for whom it was about and nobody else."""

from __future__ import annotations

import base64
import copy
import mailbox
import re
import shutil
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from bounce_examples import complaint, dsn, letter, qmail_bounce
from live_projects import RUN, LiveProject, smtp_server
from projects import SLOT
from servers.imap_server import ImapServer
from servers.smtp_server import SmtpServer, Taken

from newsletter.events.mailboxes import Maildir
from newsletter.store.engine import close_all
from newsletter.store.events import SqlEvents
from newsletter.store.ledger import SqlLedger

VERP = "bounces+{token}@news.example.com"
LEAVE = "leave+{token}@news.example.com"
PEOPLE = 4


class Bouncing(LiveProject):
    """A project whose issue went out, and the mailbox to which it comes back."""

    def __init__(self, folder: Path, server: SmtpServer, *, envelope_from: str = VERP) -> None:
        super().__init__(folder, server.port)
        self.people(PEOPLE)
        self.edit(self.config, 'envelope_from = ""', f'envelope_from = "{envelope_from}"')
        self.edit(self.config, 'unsubscribe_mailto = ""', f'unsubscribe_mailto = "{LEAVE}"')
        self.edit(self.config, 'mailbox = ""', 'mailbox = "maildir:var/bounces"')
        (folder / "var").mkdir(exist_ok=True)
        self.box = mailbox.Maildir(folder / "var" / "bounces")
        ended = self.send(confirm=PEOPLE)
        assert ended.code == 0, ended.err
        self.mail = {_address_of(taken): taken for taken in server.taken}

    def copied(self, folder: Path) -> Bouncing:
        """The same project elsewhere, which goes its own way from here."""
        close_all()
        shutil.copytree(self.folder, folder)
        other = copy.copy(self)
        other.folder, other.box = folder, mailbox.Maildir(folder / "var" / "bounces")
        return other

    def sender(self, number: int) -> str:
        """The envelope sender of this person's mail."""
        return self.mail[person(number)].sender

    def original(self, number: int) -> str:
        """This person's mail as it left."""
        return self.mail[person(number)].message.decode().replace("\r\n", "\n")

    def poll(self, *messages: bytes) -> dict[str, Any]:
        """What the command says of these messages."""
        for one in messages:
            self.box.add(one)
        ended = self.call("bounces", "poll", "--json")
        assert ended.code == 0, ended.err
        document: dict[str, Any] = ended.json
        return document

    def reasons(self, number: int) -> list[tuple[str, str | None]]:
        """Why the person must not be mailed: reasons and lists."""
        shown = self.call("subscribers", "show", person(number), "--json").json
        return [(one["reason"], one["list"]) for one in shown["suppressions"]]

    def untouched(self, *numbers: int) -> bool:
        """Whether nothing stands against these people, and nothing is noted on their deliveries."""
        return all(self.reasons(number) == [] for number in numbers)


def person(number: int) -> str:
    return f"p{number:05}@example.com"


def _address_of(taken: Taken) -> str:
    return str(message_from_bytes(taken.message)["To"]).strip("<>")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Bouncing:
    with smtp_server() as server:
        return Bouncing(tmp_path_factory.mktemp("sent") / "project", server)


@pytest.fixture(scope="module")
def sent_plain(tmp_path_factory: pytest.TempPathFactory) -> Bouncing:
    with smtp_server() as server:
        return Bouncing(tmp_path_factory.mktemp("plain") / "project", server, envelope_from="")


@pytest.fixture
def project(sent: Bouncing, tmp_path: Path) -> Bouncing:
    """One whose issue went out."""
    return sent.copied(tmp_path / "project")


@pytest.fixture
def plain(sent_plain: Bouncing, tmp_path: Path) -> Bouncing:
    """One whose bounces all come to the same address."""
    return sent_plain.copied(tmp_path / "project")


class TestRoundTrip:
    def test_a_mail_that_comes_back_is_noted_and_its_address_suppressed(self, project: Bouncing) -> None:
        assert len({project.sender(number) for number in range(PEOPLE)}) == PEOPLE
        said = project.poll(dsn(project.sender(2), recipient=person(2)))
        assert said["messages"] == said["new"] == said["suppressed"] == 1
        assert said["bounces"] == {"hard": 1, "soft": 0, "blocked": 0}
        assert project.status()["bounced"] == 1
        assert project.reasons(2) == [("hard_bounce", None)]
        assert project.untouched(0, 1, 3)
        shown = project.call("subscribers", "show", person(2), "--json").json
        assert "User unknown" in shown["suppressions"][0]["note"]
        again = project.call("bounces", "poll")
        assert (again.code, again.out) == (4, "")
        assert "no new mail in maildir:var/bounces" in again.err

    def test_it_says_what_it_found(self, project: Bouncing) -> None:
        for one in (
            dsn(project.sender(0), status="5.2.2", words="smtp; 552 5.2.2 over quota"),
            dsn(
                project.sender(1).upper(), status="5.7.1", words="smtp; 550 5.7.1 spam"
            ),  # some servers change the case
            dsn(project.sender(1), action="delayed", status="4.4.1"),
            dsn("news@news.example.com", recipient=person(3)),
            letter(project.sender(3), header="Auto-Submitted: auto-replied\n", subject="Out of office"),
            letter(project.sender(3), body="Who are you?\n"),
        ):
            project.box.add(one)
        dry = project.call("bounces", "poll", "--dry-run")
        ended = project.call("bounces", "poll")
        assert ended.code == dry.code == 0
        first, unproven, last = ended.out.splitlines()
        assert first == (
            "6 messages: bounces 0 hard, 1 soft, 1 blocked, 1 delayed, 1 unproven, 1 automatic reply, 1 not understood"
        )
        assert unproven.startswith(f"  not counted, no token of ours in it: {person(3)}  5.1.1  unproven hard bounce:")
        assert last == "4 new, 0 addresses suppressed"
        assert dry.out.splitlines()[:2] == [first, unproven]
        assert dry.out.endswith("Nothing was kept, marked or suppressed.\n")
        assert project.status()["bounced"] == 2
        assert project.untouched(0, 1, 2, 3)

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize(
        ("where", "step"), [(SqlEvents, "keep"), (Maildir, "done"), (SqlLedger, "witness"), (SqlEvents, "settled")]
    )
    def test_a_poll_that_is_killed_anywhere_is_made_good_by_the_next(
        self, project: Bouncing, monkeypatch: pytest.MonkeyPatch, where: type, step: str, after: bool
    ) -> None:
        real = getattr(where, step)

        def killed(*given: Any, **named: Any) -> None:
            if after:
                real(*given, **named)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(where, step, killed)
            for number in (1, 2):
                project.box.add(dsn(project.sender(number), recipient=person(number)))
            assert project.call("bounces", "poll").code != 0
        project.poll(letter("bounces@news.example.com"))
        assert project.status()["bounced"] == 2
        assert [project.reasons(number) for number in (1, 2)] == [[("hard_bounce", None)]] * 2
        assert project.untouched(0, 3)

    def test_the_same_message_again_changes_nothing(self, project: Bouncing) -> None:
        """As after a process that died before it could mark it."""
        project.box.add(dsn(project.sender(2)))
        shutil.copytree(project.folder / "var" / "bounces", project.folder / "before")
        assert project.call("bounces", "poll", "--json").json["new"] == 1
        ended = project.call("bounces", "poll", "--json", "--mailbox", "maildir:before")
        assert (ended.json["messages"], ended.json["new"], ended.json["suppressed"]) == (1, 0, 0)
        assert project.reasons(2) == [("hard_bounce", None)]

    def test_a_complaint_is_found_by_the_sender_it_names(self, project: Bouncing) -> None:
        said = project.poll(complaint("fbl@news.example.com", sender=project.sender(1), recipient=""))
        assert (said["complaints"], said["suppressed"]) == (1, 1)
        assert project.reasons(1) == [("complaint", None)]
        assert project.status()["complained"] == 1
        assert project.untouched(0, 2, 3)

    def test_a_complaint_that_is_none_does_nothing(self, project: Bouncing) -> None:
        said = project.poll(complaint("fbl@news.example.com", kind="not-spam", sender=project.sender(1)))
        assert (said["complaints"], said["other"], said["suppressed"]) == (0, 1, 0)
        assert project.untouched(0, 1, 2, 3)

    def test_a_mail_that_was_sent_on_to_two_addresses_reached_one(self, project: Bouncing) -> None:
        failed = dsn(project.sender(2), recipient="old@example.net")
        both = failed.replace(
            b"\n--BOUNDARY\nContent-Type: message/rfc822",
            b"\nFinal-Recipient: rfc822; new@example.net\nAction: delivered\nStatus: 2.0.0\n"
            b"\n--BOUNDARY\nContent-Type: message/rfc822",
        )
        assert both != failed
        assert project.poll(both)["delivered"] == 1
        assert project.untouched(2)
        assert (project.status()["delivered"], project.status()["bounced"]) == (1, 0)

    def test_a_test_of_the_issue_that_bounces_suppresses_nobody(self, project: Bouncing, tmp_path: Path) -> None:
        with smtp_server() as server:
            project.edit(project.config, "port = ", f"port = {server.port} #")
            ended = project.call("test", SLOT, "--to", person(3))
            assert ended.code == 0, ended.err
            said = project.poll(dsn(server.taken[0].sender, recipient=person(3)))
        assert (said["tests"], said["unproven"], said["suppressed"]) == (1, 0, 0)
        assert project.untouched(3)

    def test_an_edition_is_a_run_of_its_own(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = Bouncing(tmp_path / "project", server)
            evening = project.folder / "issues" / f"{SLOT}.evening.txt"
            evening.write_text(
                f"Evening Buzz: 7 January 2026\nTop News\nA Quiet Evening\n{'Nothing happened. ' * 20}\n"
            )
            ended = project.call("send", f"{SLOT}.evening", "--confirm", str(PEOPLE))
            assert ended.code == 0, ended.err
            latest = {_address_of(taken): taken.sender for taken in server.taken[PEOPLE:]}
            project.poll(dsn(latest[person(2)]))
            assert project.status()["bounced"] == 0
            assert project.call("status", f"{RUN}.evening", "--json").json["bounced"] == 1


class TestWithoutTokensInTheSender:
    @pytest.mark.parametrize("way", ["as a part", "in base64", "quoted-printable", "within the text"])
    def test_the_mail_that_is_returned_tells_whose_it_was(self, plain: Bouncing, way: str) -> None:
        original = plain.original(2)
        assert plain.sender(2) == "buzz@news.example.com"
        encoded = base64.encodebytes(original.encode()).decode()
        messages = {
            "as a part": dsn("buzz@news.example.com", original=original),
            "in base64": dsn("buzz@news.example.com", original="").replace(
                b"Content-Type: message/rfc822\n", b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n"
            ).replace(b"\n\n\nGood morning.", b"\n\n" + encoded.encode()),
            "quoted-printable": dsn(
                "buzz@news.example.com", original=re.sub(r"(/unsubscribe/daily-buzz/.{9})", "\\1=\n", original)
            ),
            "within the text": qmail_bounce("buzz@news.example.com", original),
        }  # fmt: skip
        said = plain.poll(messages[way])
        assert (said["bounces"]["hard"], said["suppressed"]) == (1, 1), said
        assert plain.reasons(2) == [("hard_bounce", None)]
        assert plain.untouched(0, 1, 3)
        if way != "in base64":  # of that one the Message-ID is read, too
            assert plain.status()["bounced"] == 1

    def test_a_complaint_is_found_by_the_mail_it_is_about(self, plain: Bouncing) -> None:
        said = plain.poll(complaint("fbl@news.example.com", recipient="", original=plain.original(1)))
        assert (said["complaints"], said["suppressed"]) == (1, 1)
        assert plain.reasons(1) == [("complaint", None)]


class TestForgeries:
    """Anybody may write to the mailbox. Nobody may end another one's mail."""

    def forged(self, project: Bouncing) -> dict[str, bytes]:
        victim, mine = person(2), project.sender(0)
        invented = re.sub(r"\+\w+@", f"+{'a' * 40}@", mine)
        names = f"To: {victim}\nMessage-ID: <{'0' * 32}@news.example.com>\n"
        real_id = re.findall(r"Message-ID: (\S+)", project.original(2))[0]
        both = project.original(0) + project.original(1)
        return {
            "an address alone": dsn("buzz@news.example.com", recipient=victim),
            "an old format": qmail_bounce("buzz@news.example.com").replace(b"ben@example.com", victim.encode()),
            "an invented token": dsn(invented, recipient=victim),
            "a token that was changed": dsn(re.sub(r"\+.", "+b" if "+a" in mine else "+a", mine), recipient=victim),
            "a Message-ID of our domain": dsn("buzz@news.example.com", recipient=victim, original=names),
            # it is a hash of run and number: whoever counts can make it
            "the very Message-ID": dsn(
                "buzz@news.example.com", recipient=victim, original=f"To: {victim}\nMessage-ID: {real_id}\n"
            ),
            "mail of several people": dsn("buzz@news.example.com", recipient=victim, original=both),
            "a complaint": complaint("buzz@news.example.com", recipient=victim),
        }

    @pytest.mark.parametrize("what", [
        "an address alone", "an old format", "an invented token", "a token that was changed",
        "a Message-ID of our domain", "the very Message-ID", "mail of several people", "a complaint",
    ])  # fmt: skip
    def test_a_forged_one_is_listed_and_suppresses_nobody(self, project: Bouncing, what: str) -> None:
        said = project.poll(self.forged(project)[what])
        assert (said["unproven"], said["new"], said["suppressed"]) == (1, 1, 0), said
        assert [one["key"] for one in said["unproven_shown"]] == [person(2)]
        assert said["unproven_shown"][0]["reason"].startswith("unproven ")
        assert project.untouched(0, 1, 2, 3)
        assert project.status()["bounced"] == 0

    def test_who_has_a_token_ends_their_own_mail_only(self, project: Bouncing) -> None:
        project.poll(
            dsn(project.sender(0), recipient=person(2)),
            complaint("fbl@news.example.com", sender=project.sender(0), recipient=person(3)),
        )
        assert {reason for reason, _ in project.reasons(0)} == {"hard_bounce", "complaint"}
        assert project.untouched(1, 2, 3)

    def test_a_token_of_another_project_is_none(self, project: Bouncing, tmp_path: Path) -> None:
        with smtp_server() as server:
            other = Bouncing(tmp_path / "other", server)
        assert project.poll(dsn(other.sender(2), recipient=person(2)))["unproven"] == 1
        assert project.untouched(0, 1, 2, 3)


class TestLeavingByMail:
    def leave(self, project: Bouncing, number: int) -> str:
        """The address in the person's List-Unsubscribe."""
        field = message_from_bytes(project.mail[person(number)].message)["List-Unsubscribe"]
        # the https URI first, for those that read one only (RFC 8058)
        [found] = re.findall(r"^<http://[^<>]+>, <mailto:([^<>?]+)\?subject=unsubscribe>$", field)
        return str(found)

    def test_who_writes_to_the_address_leaves_the_newsletters_lists(self, project: Bouncing) -> None:
        to = self.leave(project, 1)
        assert to.partition("+")[2] == project.sender(1).partition("+")[2]
        said = project.poll(letter(f"Leave <{to}>"))
        assert (said["unsubscribes"], said["suppressed"]) == (1, 1)
        assert project.reasons(1) == [("unsubscribe", "daily-buzz")]
        assert project.untouched(0, 2, 3)
        assert project.poll(letter(to.upper(), subject="Stop"))["suppressed"] == 0

    def test_a_program_that_writes_for_somebody_counts_and_an_answering_machine_does_not(
        self, project: Bouncing
    ) -> None:
        said = project.poll(letter(self.leave(project, 0), header="Auto-Submitted: auto-replied\n"))
        assert (said["unsubscribes"], said["auto_replies"]) == (0, 1)
        said = project.poll(letter(self.leave(project, 1), header="Auto-Submitted: auto-generated\n"))
        assert (said["unsubscribes"], said["auto_replies"]) == (1, 0)
        assert project.untouched(0, 2, 3)

    def test_a_letter_to_the_bounces_address_is_no_leaving(self, project: Bouncing) -> None:
        said = project.poll(letter(project.sender(1)))
        assert (said["unsubscribes"], said["not_understood"]) == (0, 1)
        assert project.untouched(1)

    def test_a_forged_address_is_nobodys(self, project: Bouncing) -> None:
        said = project.poll(letter(LEAVE.format(token="a" * 40)))
        assert (said["unsubscribes"], said["not_understood"]) == (0, 1)


class TestMailboxes:
    def test_an_imap_server_is_read_and_what_it_does_not_give_stays(self, project: Bouncing) -> None:
        with ImapServer() as server:
            bad, good = server.deliver(b"unreadable"), server.deliver(dsn(project.sender(2)))
            server.unreadable = {bad.uid}
            project.edit(project.config, "maildir:var/bounces", f"imap://bounces@127.0.0.1:{server.port}/INBOX")
            ended = project.call("bounces", "poll", "--json", BOUNCES_PASSWORD="secret")
            assert ended.code == 0, ended.err
            assert (ended.json["messages"], ended.json["unreadable"], ended.json["suppressed"]) == (2, 1, 1)
            assert "It stays" in ended.err or "They stay for the next time." in ended.err
            assert (bad.flags, good.flags) == (set(), {"\\Seen"})
            wrong = project.call("bounces", "poll", BOUNCES_PASSWORD="hunter2hunter2")
            assert wrong.code == 3
            assert "bounces.mailbox" in wrong.err
            assert "hunter2" not in wrong.err
            missing = project.call("bounces", "poll")
            assert missing.code == 3
            assert "BOUNCES_PASSWORD" in missing.err

    def test_no_mailbox_a_wrong_one_and_one_that_is_away_are_told_apart(self, project: Bouncing) -> None:
        typed = project.call("bounces", "poll", "--mailbox", "pop3://bounces@mail.example.com")
        assert typed.code == 2
        assert 'expected "maildir:PATH"' in typed.err
        assert project.call("bounces", "poll", "--mailbox", "maildir:nowhere").code == 2
        assert project.call("bounces", "poll", "--mailbox", "mbox:nowhere").code == 4
        assert project.call("bounces", "poll", "--mailbox", "imap://b@127.0.0.1:1/x", BOUNCES_PASSWORD="x").code == 75
        project.edit(project.config, "maildir:var/bounces", "maildir:nowhere")
        wrong = project.call("bounces", "poll")
        assert wrong.code == 3
        assert re.search(r"config\.toml:\d+", wrong.err)
        project.edit(project.config, 'mailbox = "maildir:nowhere"', 'mailbox = ""')
        none = project.call("bounces", "poll")
        assert none.code == 3
        assert "no mailbox for bounces is set" in none.err
