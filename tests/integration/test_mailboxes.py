"""Mailboxes as they are: folders, files, and an IMAP server with TLS."""

from __future__ import annotations

import datetime as dt
import mailbox
import os
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bounce_examples import dsn, letter
from servers.certificates import TestAuthority
from servers.imap_server import ImapServer

from newsletter.errors import NothingToDo, OutputError, TemporaryError
from newsletter.events.bounce_message import MOST_BYTES
from newsletter.events.mailboxes import Mailbox, WrongMailbox, open_mailbox
from newsletter.pipeline.poll_bounces import poll_bounces

FIRST, SECOND = dsn("first@news.example.com"), letter("second@news.example.com")


def maildir(path: Path, *messages: bytes) -> Path:
    box = mailbox.Maildir(path)
    for one in messages:
        box.add(one)
    return path


def mbox(path: Path, *messages: bytes) -> Path:
    box = mailbox.mbox(path)
    for one in messages:
        box.add(one)
    box.close()
    return path


def kept(path: Path) -> list[bytes]:
    with closing(mailbox.mbox(path)) as box:
        return [box.get_bytes(key) for key in box.keys()]  # noqa: SIM118 - iterating over it gives messages


def drained(open_again: Callable[[], Mailbox]) -> list[bytes]:
    """Every message, each of which is done then."""
    with closing(open_again()) as box:
        found = []
        for name in list(box.waiting()):
            found.append(box.read(name))
            box.done(name)
        return found


class TestMaildir:
    def test_what_was_taken_is_seen_and_not_taken_again(self, tmp_path: Path) -> None:
        path = maildir(tmp_path / "box", FIRST, SECOND)

        def again() -> Mailbox:
            return open_mailbox("maildir:box", tmp_path)

        assert sorted(drained(again)) == sorted([FIRST, SECOND])
        assert drained(again) == []
        assert list((path / "new").iterdir()) == []
        assert [file.name.partition(":2,")[2] for file in (path / "cur").iterdir()] == ["S", "S"]

    def test_a_mail_reader_may_have_moved_it_unseen_and_set_flags(self, tmp_path: Path) -> None:
        path = maildir(tmp_path / "box", FIRST)
        [file] = (path / "new").iterdir()
        file.rename(path / "cur" / f"{file.name}:2,FR")
        assert drained(lambda: open_mailbox(f"maildir:{path}", Path("/"))) == [FIRST]
        assert [file.name.partition(":2,")[2] for file in (path / "cur").iterdir()] == ["FRS"]

    def test_what_was_not_marked_is_there_again(self, tmp_path: Path) -> None:
        maildir(tmp_path / "box", FIRST)
        with closing(open_mailbox("maildir:box", tmp_path)) as box:
            assert [box.read(name) for name in box.waiting()] == [FIRST]
        assert drained(lambda: open_mailbox("maildir:box", tmp_path)) == [FIRST]

    def test_two_processes_may_mark_the_same_one(self, tmp_path: Path) -> None:
        maildir(tmp_path / "box", FIRST)
        one, two = open_mailbox("maildir:box", tmp_path), open_mailbox("maildir:box", tmp_path)
        [name] = one.waiting()
        one.done(name)
        two.done(name)
        with pytest.raises(FileNotFoundError):
            two.read(name)

    def test_one_that_another_process_took_is_no_failure(self, tmp_path: Path) -> None:
        maildir(tmp_path / "box", FIRST)
        mine, other = open_mailbox("maildir:box", tmp_path), open_mailbox("maildir:box", tmp_path)

        class Slow:
            def waiting(self) -> Iterator[str]:
                for name in list(mine.waiting()):
                    other.done(name)
                    yield name

            read, done, close = staticmethod(mine.read), staticmethod(mine.done), staticmethod(mine.close)

        nobody: Any = None
        polled = poll_bounces(Slow(), nobody, nobody, now=lambda: dt.datetime.now(dt.UTC), dry_run=True)
        assert (polled.messages, polled.unreadable, polled.failures) == (0, 0, {})

    def test_only_the_beginning_of_a_large_one_is_read_and_no_link_is_followed(self, tmp_path: Path) -> None:
        path = maildir(tmp_path / "box", b"To: a@b.example\n\n" + b"x" * (3 * MOST_BYTES))
        (tmp_path / "other").write_bytes(SECOND)
        (path / "new" / "0.link").symlink_to(tmp_path / "other")
        [data] = drained(lambda: open_mailbox("maildir:box", tmp_path))
        assert len(data) == MOST_BYTES

    def test_what_is_no_maildir_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WrongMailbox, match="no folders `new` and `cur`"):
            open_mailbox("maildir:box", tmp_path)

    def test_one_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        maildir(tmp_path / "box", FIRST)
        box = open_mailbox("maildir:box", tmp_path)
        [name] = box.waiting()
        for one in (tmp_path / "box" / "cur").iterdir():
            one.unlink()
        (tmp_path / "box" / "cur").rmdir()
        (tmp_path / "box" / "cur").write_text("no folder")
        with pytest.raises(OutputError, match="cannot be marked as seen"):
            box.done(name)


class TestMbox:
    def test_what_was_taken_moves_into_the_file_beside_it(self, tmp_path: Path) -> None:
        path = mbox(tmp_path / "box", FIRST, SECOND)
        inode = path.stat().st_ino

        def again() -> Mailbox:
            return open_mailbox("mbox:box", tmp_path)

        assert drained(again) == [FIRST, SECOND]
        assert drained(again) == []
        beside = tmp_path / "box.read"
        assert kept(beside) == [FIRST, SECOND]
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600
        # a server that waits for the lock adds to the same file
        assert (path.stat().st_ino, path.stat().st_size) == (inode, 0)
        mbox(path, SECOND)
        assert drained(again) == [SECOND]
        assert kept(beside) == [FIRST, SECOND, SECOND]

    def test_as_long_as_one_is_not_done_all_of_it_stays(self, tmp_path: Path) -> None:
        path = mbox(tmp_path / "box", FIRST, SECOND)
        before = path.read_bytes()
        with closing(open_mailbox("mbox:box", tmp_path)) as box:
            box.done(next(box.waiting()))
        assert path.read_bytes() == before
        assert not (tmp_path / "box.read").exists()

    def test_what_came_without_a_lock_in_between_stays(self, tmp_path: Path) -> None:
        path = mbox(tmp_path / "box", FIRST)
        with closing(open_mailbox("mbox:box", tmp_path)) as box:
            box.done(next(box.waiting()))
            with path.open("ab") as file:
                file.write(b"From x\nTo: b@x.example\n\nlate\n\n")
        assert len(drained(lambda: open_mailbox("mbox:box", tmp_path))) == 2

    def test_what_comes_while_it_is_opened_or_moved_is_neither_lost_nor_taken_for_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program that does not lock adds to the file at the worst moments."""
        path = mbox(tmp_path / "box", FIRST)
        late = b"From x\nTo: b@x.example\n\nlate\n\n"
        found = mailbox.mbox.keys

        def add() -> None:
            with path.open("ab") as file:
                file.write(late)

        def keys(box: mailbox.mbox) -> list[str]:
            there = list(found(box))
            add()
            return there

        with monkeypatch.context() as patched:
            patched.setattr(mailbox.mbox, "keys", keys)
            assert drained(lambda: open_mailbox("mbox:box", tmp_path)) == [FIRST]
        assert path.read_bytes().count(b"late") == 1

        with closing(open_mailbox("mbox:box", tmp_path)) as box:
            for name in list(box.waiting()):
                box.done(name)
            state = os.fstat

            def fstat(number: int) -> os.stat_result:
                monkeypatch.undo()
                found = state(number)
                add()
                return found

            monkeypatch.setattr(os, "fstat", fstat)
        assert path.read_bytes().count(b"late") == 2
        assert not (tmp_path / "box.read").read_bytes()
        assert len(drained(lambda: open_mailbox("mbox:box", tmp_path))) == 3
        assert len(kept(tmp_path / "box.read")) == 3

    def test_it_is_locked_meanwhile_and_a_locked_one_is_for_later(self, tmp_path: Path) -> None:
        path = mbox(tmp_path / "box", FIRST)
        with closing(open_mailbox("mbox:box", tmp_path)):
            assert (tmp_path / "box.lock").exists()
            with pytest.raises(TemporaryError, match="locked by another program") as caught:
                open_mailbox("mbox:box", tmp_path)
            assert f"{path}.lock" in caught.value.hint
        assert not (tmp_path / "box.lock").exists()

    def test_where_nothing_may_be_written_all_of_it_stays(self, tmp_path: Path) -> None:
        path = mbox(tmp_path / "box", FIRST)
        before = path.read_bytes()
        (tmp_path / "box.read").mkdir()
        box = open_mailbox("mbox:box", tmp_path)
        box.done(next(box.waiting()))
        with pytest.raises(OutputError, match="cannot be moved"):
            box.close()
        assert path.read_bytes() == before
        assert not (tmp_path / "box.lock").exists()

    def test_one_that_is_not_there_yet_holds_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(NothingToDo, match="no mail has come yet"):
            open_mailbox("mbox:box", tmp_path)
        with pytest.raises(WrongMailbox, match="cannot be opened"):
            open_mailbox("mbox:.", tmp_path)


AUTHORITY = TestAuthority()


def imap(server: ImapServer, folder: str = "", password: str = "secret", tls: ssl.SSLContext | None = None) -> Mailbox:
    url = f"imaps://bounces@localhost:{server.port}/{folder}"
    return open_mailbox(url, Path("/"), password, tls=tls or AUTHORITY.client())


def server(**options: object) -> ImapServer:
    return ImapServer(tls=AUTHORITY.server("localhost"), **options)  # type: ignore[arg-type]


class TestImap:
    def test_what_was_taken_is_seen_and_not_taken_again(self) -> None:
        with server() as running:
            messages = [running.deliver(one) for one in (FIRST, SECOND)]
            assert drained(lambda: imap(running)) == [FIRST, SECOND]
            assert all(one.flags == {"\\Seen"} for one in messages)
            assert drained(lambda: imap(running)) == []
            assert running.folders["INBOX"] == messages
            assert running.commands[-1] == "LOGOUT"

    def test_reading_alone_leaves_it_unseen(self) -> None:
        with server() as running:
            message = running.deliver(FIRST)
            with closing(imap(running)) as box:
                assert [box.read(name) for name in box.waiting()] == [FIRST]
            assert message.flags == set()

    @pytest.mark.parametrize(("can_move", "left"), [(True, 0), (False, 1)])
    def test_it_goes_to_the_folder_processed_if_there_is_one_and_the_server_can(
        self, can_move: bool, left: int
    ) -> None:
        with server(folders=("INBOX", "Processed", "Bounced mail"), can_move=can_move) as running:
            message = running.deliver(FIRST, "Bounced mail")
            assert drained(lambda: imap(running, "Bounced%20mail")) == [FIRST]
            assert (len(running.folders["Bounced mail"]), message.flags) == (left, {"\\Seen"})
            assert len(running.folders["Processed"]) == 1 - left

    def test_only_the_beginning_of_a_large_one_is_asked_for(self) -> None:
        with server() as running:
            running.deliver(b"x" * (2 * MOST_BYTES))
            [data] = drained(lambda: imap(running))
            assert len(data) == MOST_BYTES

    def test_one_that_cannot_be_read_leaves_the_others(self) -> None:
        with server() as running:
            for one in (FIRST, SECOND):
                running.deliver(one)
            running.unreadable = {1}
            with closing(imap(running)) as box:
                first, second = box.waiting()
                with pytest.raises(OSError, match="it cannot be read"):
                    box.read(first)
                assert box.read(second) == SECOND

    def test_a_wrong_password_is_refused_and_not_repeated(self) -> None:
        with server() as running, pytest.raises(WrongMailbox, match="refuses") as caught:
            imap(running, password="hunter2hunter2")
        assert "hunter2" not in str(caught.value)

    def test_a_folder_that_is_not_there_is_refused(self) -> None:
        with server() as running, pytest.raises(WrongMailbox, match="has no folder 'nowhere'"):
            imap(running, "nowhere")

    def test_a_certificate_that_does_not_hold_is_refused_before_anything_is_said(self) -> None:
        with server() as running, pytest.raises(WrongMailbox, match="certificate of localhost does not hold"):
            imap(running, tls=ssl.create_default_context())
        assert running.commands == []
        other = ImapServer(tls=AUTHORITY.server("imap.example.net"))
        with other, pytest.raises(WrongMailbox, match="certificate of localhost does not hold"):
            imap(other)
        assert other.commands == []

    @pytest.mark.parametrize("step", ["LOGIN", "SELECT", "SEARCH", "FETCH", "STORE"])
    def test_a_server_that_breaks_off_is_for_later(self, step: str) -> None:
        with server() as running:
            message = running.deliver(FIRST)
            running.drop_at = step
            with pytest.raises(TemporaryError):
                drained(lambda: imap(running))
            assert message.flags == set()
            running.drop_at = ""
            assert drained(lambda: imap(running)) == [FIRST]

    def test_a_server_that_is_away_is_for_later(self) -> None:
        with server() as running:
            port = running.port
        with pytest.raises(TemporaryError, match="cannot be reached"):
            open_mailbox(f"imaps://bounces@localhost:{port}/", Path("/"), "secret", tls=AUTHORITY.client())


class Liar(ImapServer):
    """Answers one command with bytes of its own, whatever they are."""

    def __init__(self, command: str, answer: list[bytes], said: str = "OK done") -> None:
        super().__init__(tls=AUTHORITY.server("localhost"))
        self._lie = (command, answer, said)

    def _answer(self, verb: str, arguments: str, folder: str) -> tuple[list[bytes], str]:
        command, answer, said = self._lie
        return (answer, said) if verb == command else super()._answer(verb, arguments, folder)


class TestAnImapServerThatLies:
    @pytest.mark.parametrize(
        ("command", "answer", "said"),
        [
            ("SEARCH", [], "NO not today"),
            ("SEARCH", [b"SEARCH {99999999999999999999999}\r\n"], "OK done"),
            ("FETCH", [b"1 FETCH (UID 1 BODY[]<0> {999999999999}\r\nx)"], "OK done"),
            ("FETCH", [b"1 FETCH (UID 1 BODY[]<0> {" + b"9" * 5000 + b"}\r\nx)"], "OK done"),
            ("CAPABILITY", [b"CAPABILITY \xff\xfe"], "OK done"),
            ("LOGIN", [], "BAD \x1b[2J\x9b"),
            ("SELECT", [], "NO \x1b]0;owned\x07 secret"),
            ("STORE", [], "NO \x1b[2J"),
            ("FETCH", [], "BAD \x1b[2J"),
        ],
    )
    def test_it_is_told_in_words_that_a_terminal_can_show(self, command: str, answer: list[bytes], said: str) -> None:
        with Liar(command, answer, said) as running:
            running.deliver(FIRST)
            with pytest.raises((TemporaryError, WrongMailbox, OSError)) as caught:
                drained(lambda: imap(running))
        # what concerns one message alone is an OSError
        assert command in {"FETCH", "STORE"} or not isinstance(caught.value, OSError)
        assert str(caught.value).isprintable()
        assert "secret" not in str(caught.value)

    def test_numbers_that_are_none_are_no_messages_and_each_counts_once(self) -> None:
        lies = b"SEARCH 0 " + b"9" * 5000 + b" 1 1 1 -2 x \xd9\xa1"
        with Liar("SEARCH", [lies]) as running:
            running.deliver(FIRST)
            assert drained(lambda: imap(running)) == [FIRST]
