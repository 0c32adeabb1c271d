"""Confirmation mails go out beside the web server: once, at once, paced, and again where that is right."""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from public_site import CONFIG, PublicSite, said
from servers.smtp_server import Moment, Reaction, Script, SmtpServer
from signup_sites import SignUpSite, eventually, link_in, message, signup_project, signup_site

from newsletter.audience.signups import Asked, SignUpRequest
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pacing import Limiter
from newsletter.errors import TemplateError
from newsletter.pipeline.confirmation_mail import ConfirmationMails
from newsletter.pipeline.send_confirmations import Became, ConfirmationSender, Told
from newsletter.pipeline.sign_up import network_of
from newsletter.settings.loaded import Loaded
from newsletter.store.tables import signup as signup_table
from newsletter.wiring.confirmations import confirmation_provider, signup_store
from newsletter.wiring.parts import database, signing_keys, template_roots

PAGE = "/subscribe/daily-buzz"
WIDE = 'per_ip = "1000000/h"\nper_domain = "1000000/h"\nin_total = "1000000/h"'
PROXIED = CONFIG.replace("port = 0", 'port = 0\ntrusted_proxies = ["127.0.0.1"]')


def asked(project: Loaded, address: str, *, at: dt.datetime | None = None, **others: str) -> Asked:
    """A request in the database, that nobody typed."""
    request = SignUpRequest("daily-buzz", "daily-buzz", address.lower(), address, **others)
    day = dt.timedelta(days=1)
    now = at or dt.datetime.now(dt.UTC)
    return signup_store(project).ask(request, (), expires_after=7 * day, again_after=day, now=now)


def _waiting(project: Loaded) -> int:
    """How many requests are to be mailed later."""
    later = sa.select(sa.func.count()).where(signup_table.c.due_at > int(time.time()) + 60)
    with database(project).connect() as connection:
        return int(connection.scalar(later) or 0)


class Sending:
    """A sender of its own, on the project's database, without a thread; `told` is what became of each mail."""

    def __init__(self, loaded: Loaded, limiter: Limiter | None = None) -> None:
        self.now = dt.datetime.now(dt.UTC)
        self.told: list[Told] = []
        self.sender = ConfirmationSender(
            signup_store(loaded),
            ConfirmationMails(loaded, template_roots(loaded), signing_keys(loaded)),
            provider_of=lambda name: confirmation_provider(loaded, name),
            limiter_of=lambda _: limiter or Limiter(None, {}, SystemClock()),
            now=lambda: self.now,
        )

    def round(self) -> list[Became]:
        """What became of those that are due now."""
        before = len(self.told)
        self.sender.send_due(threading.Event(), self.told.append)
        return [one.became for one in self.told[before:]]


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory, where the system has such a place: thousands of commits wait for no disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def server() -> SmtpServer:
    return SmtpServer()


class TestBombing:
    def test_a_thousand_requests_for_one_address_from_everywhere_give_one_mail(self, fast_folder: Path) -> None:
        """Over real HTTP, from many addresses by a trusted proxy, in every spelling, as a form and as JSON."""
        with signup_site(fast_folder, signup=WIDE, config=PROXIED) as site:

            def ask(number: int) -> int:
                address = "Anna@Example.com" if number % 3 else "anna@EXAMPLE.COM"
                headers = {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250}"}
                with_form = number % 2 == 0
                body = {"data": {"email": address}} if with_form else {"json": {"email": address}}
                return clients[number % 8].post(PAGE, headers=headers, **body).status_code  # type: ignore[arg-type]

            clients = [httpx.Client(base_url=site.client.base_url, timeout=30) for _ in range(8)]
            with ThreadPoolExecutor(8) as threads:
                statuses = list(threads.map(ask, range(1000)))
            for client in clients:
                client.close()
            assert set(statuses) == {200, 202}
            eventually(lambda: bool(site.server.taken))
            time.sleep(0.5)
            assert site.server.addresses() == ["Anna@example.com"] or site.server.addresses() == ["anna@example.com"]

    def test_a_sender_at_work_in_between_mails_it_once(self, tmp_path: Path, server: SmtpServer) -> None:
        """Thousands of them over HTTP: benchmarks/sign_ups.py."""
        with server:
            project = signup_project(tmp_path / "site", server)
            sending = Sending(project)
            for number in range(200):
                asked(project, "anna@example.com", ip=f"198.51.100.{number % 250}")
                if number % 10 == 0:
                    sending.round()
            sending.round()
            sending.sender.close()
            assert server.addresses() == ["anna@example.com"]

    def test_several_senders_at_once_mail_nobody_twice(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            for number in range(60):
                asked(project, f"p{number}@example.com")
            senders = [Sending(project) for _ in range(3)]
            with ThreadPoolExecutor(3) as threads:
                counts = list(threads.map(lambda one: len(one.round()), senders))
            for one in senders:
                one.sender.close()
            assert sum(counts) == 60
            assert sorted(server.addresses()) == sorted(f"p{number}@example.com" for number in range(60))


class TestQuotas:
    def test_an_ip_address_has_a_quota_and_the_answer_says_for_how_long(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site", signup='per_ip = "3/h"', config=PROXIED) as site:

            def ask(ip: str, number: int) -> httpx.Response:
                fields = {"email": f"p{number}@example{number}.com", "name": "Eve"}
                return site.client.post(PAGE, data=fields, headers={"X-Forwarded-For": ip})

            assert [ask("198.51.100.7", number).status_code for number in range(4)] == [200, 200, 200, 429]
            over = ask("198.51.100.7", 5)
            assert 0 < int(over.headers["retry-after"]) <= 3600
            assert re_minutes(said(over)) * 60 >= int(over.headers["retry-after"])
            assert 'value="p5@example5.com"' in over.text
            document = site.client.post(PAGE, json={"email": "x@y.com"}, headers={"X-Forwarded-For": "198.51.100.7"})
            assert (document.status_code, list(document.json()["errors"])) == (429, ["form"])
            # of IPv6 a /64 counts
            six = [ask(f"2001:db8:0:1::{number}", 10 + number).status_code for number in range(1, 5)]
            assert six == [200, 200, 200, 429]
            assert ask("2001:db8:0:2::1", 20).status_code == 200
            # an address that cannot be mailed counts for nothing
            for _ in range(5):
                answer = site.client.post(PAGE, data={"email": "x"}, headers={"X-Forwarded-For": "203.0.113.9"})
                assert answer.status_code == 422
            assert ask("203.0.113.9", 30).status_code == 200

    def test_clients_whom_a_proxy_hides_count_as_one(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site", signup='per_ip = "2/h"', config=PROXIED) as site:
            statuses = [
                site.post(
                    PAGE, {"email": f"p{one}@example.com"}, x_forwarded_for=f"198.51.100.{one}, unknown"
                ).status_code
                for one in range(3)
            ]
            assert statuses == [200, 200, 429]

    def test_an_untrusted_header_moves_no_quota(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site", signup='per_ip = "2/h"') as site:
            statuses = [
                site.post(PAGE, {"email": f"p{one}@example.com"}, x_forwarded_for=f"10.0.0.{one}").status_code
                for one in range(3)
            ]
            assert statuses == [200, 200, 429]

    @pytest.mark.parametrize(
        ("line", "taken"), [('per_domain = "2/h"', [200, 200, 429, 200]), ('in_total = "2/h"', [200, 200, 429, 429])]
    )
    def test_domains_and_all_together_have_quotas(self, tmp_path: Path, line: str, taken: list[int]) -> None:
        with signup_site(tmp_path / "site", signup=line) as site:
            addresses = ["a@example.com", "b@Example.com", "c@example.com", "d@example.net"]
            assert [site.asks(one) for one in addresses] == taken

    def test_the_address_itself_shows_no_quota(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site") as site:
            answers = {site.post(PAGE, {"email": "anna@example.com"}).content for _ in range(10)}
            assert len(answers) == 1

    @pytest.mark.parametrize(
        ("ip", "counts_as"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("no address", "no address"),
        ],
    )
    def test_whom_an_address_counts_for(self, ip: str, counts_as: str) -> None:
        assert network_of(ip) == counts_as


class TestOutbox:
    def test_a_mail_goes_out_as_soon_as_it_is_asked_for(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site") as site:
            site.asks("first@example.com")
            site.mail(1)
            time.sleep(0.2)  # it waits again
            began = time.monotonic()
            site.asks("anna@example.com")
            site.mail(2)
            assert time.monotonic() - began < 4, "it looked by itself, and was not woken"

    def test_requests_of_before_the_start_are_mailed(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            asked(signup_project(tmp_path / "site", server), "anna@example.com")
            with SignUpSite(tmp_path / "site", server) as site:
                assert site.mail()["To"] == "anna@example.com"

    def test_a_busy_server_is_asked_again_later_and_a_refusal_is_the_end(
        self, tmp_path: Path, server: SmtpServer
    ) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            server.script.rcpt["anna@example.com"] = b"451 4.7.1 greylisted\r\n"
            server.script.rcpt["ben@example.com"] = b"550 5.1.1 no such user\r\n"
            asked(project, "anna@example.com")
            asked(project, "ben@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.LATER, Became.REFUSED]
            assert sending.round() == []
            sending.now += dt.timedelta(seconds=61)
            assert sending.round() == [Became.LATER]
            del server.script.rcpt["anna@example.com"]
            sending.now += dt.timedelta(minutes=30)
            assert sending.round() == [Became.SENT]
            assert server.addresses() == ["anna@example.com"]
            # each try had the same Message-ID: whichever of them arrived is the same mail
            assert "greylisted" in sending.told[0].reason
            sending.sender.close()

    def test_a_lost_answer_is_not_tried_again(self, tmp_path: Path) -> None:
        def lose(moment: Moment) -> Reaction | None:
            return Reaction(accept=True, reset=True) if moment.step == "content" and moment.before == 0 else None

        with SmtpServer(Script(react=lose)) as server:
            project = signup_project(tmp_path / "site", server)
            asked(project, "anna@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.UNKNOWN]
            sending.now += dt.timedelta(hours=23)
            asked(project, "anna@example.com", at=sending.now)
            assert sending.round() == []
            assert server.addresses() == ["anna@example.com"]
            # a day later the same person may ask again
            sending.now += dt.timedelta(hours=2)
            assert asked(project, "anna@example.com", at=sending.now) is Asked.DUE
            assert sending.round() == [Became.SENT]
            first, second = (message(one.message)["Message-ID"] for one in server.taken)
            assert first != second
            sending.sender.close()

    def test_an_account_that_is_refused_is_left_alone_for_a_while(self, tmp_path: Path) -> None:
        def refuse(moment: Moment) -> Reaction | None:
            return Reaction(b"530 5.7.0 your account was closed\r\n") if moment.step == "MAIL" else None

        with SmtpServer(Script(react=refuse)) as server:
            project = signup_project(tmp_path / "site", server)
            for number in range(5):
                asked(project, f"p{number}@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.LATER] * 5
            assert sum(command.startswith("MAIL") for command in server.commands) == 1
            assert [one.serious for one in sending.told] == [True, False, False, False, False]
            server.script.react = lambda _: None
            sending.now += dt.timedelta(minutes=11)
            assert sending.round() == [Became.SENT] * 5
            sending.sender.close()

    def test_a_broken_template_keeps_the_request(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            own = tmp_path / "site" / "templates" / "confirmation"
            own.mkdir(parents=True)
            (own / "issue.txt.j2").write_text("{{ holes.unsubscribe_url }}")
            asked(project, "anna@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.LATER]
            assert "'unsubscribe_url' is undefined" in sending.told[0].reason
            assert sending.told[0].serious
            (own / "issue.txt.j2").unlink()
            sending.now += dt.timedelta(minutes=11)
            assert Sending(project).sender is not sending.sender
            again = Sending(project)
            again.now = sending.now
            assert again.round() == [Became.SENT]
            again.sender.close()

    def test_it_keeps_the_pace_of_the_provider(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            for number in range(4):
                asked(project, f"p{number}@example.com")
            asked(project, "slow1@example.net")
            asked(project, "slow2@example.net")
            sending = Sending(project, Limiter(50.0, {"example.net": 0.01}, SystemClock()))
            assert sending.round() == [Became.SENT] * 5 + [Became.LATER]
            assert sending.told[-1].signup.request.address == "slow2@example.net"
            sending.sender.close()

    def test_links_over_plain_http_are_not_mailed(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            config = CONFIG.replace("http://127.0.0.1:8000", "http://news.example.com")
            project = signup_project(tmp_path / "site", server, config=config)
            asked(project, "anna@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.LATER]
            assert "not https" in sending.told[0].reason
            assert server.addresses() == []

    def test_expired_requests_are_swept_away(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            asked(project, "old@example.com", at=dt.datetime.now(dt.UTC) - dt.timedelta(days=30))
            with SignUpSite(tmp_path / "site", server):
                eventually(lambda: signup_store(project).of_person("old@example.com") == [])
            assert server.addresses() == []

    def test_a_newsletter_that_is_gone_does_not_stop_the_others(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            project = signup_project(tmp_path / "site", server)
            asked(project, "anna@example.com")
            with database(project).begin() as connection:
                connection.execute(sa.update(signup_table).values(newsletter="former"))
            asked(project, "ben@example.com")
            sending = Sending(project)
            assert sending.round() == [Became.LATER, Became.SENT]
            # nor a command that sends them, which ends where somebody has to mend something
            assert not sending.told[0].serious
            assert sending.told[0].until == sending.now + dt.timedelta(days=1)
            sending.sender.close()

    def test_what_waits_for_the_same_is_said_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []
        monkeypatch.setattr("newsletter.web.outbox.logs.write", lambda _, event, **fields: said.append(event))
        refused = Script(react=lambda moment: Reaction(b"530 5.7.0 closed\r\n") if moment.step == "MAIL" else None)
        with SmtpServer(refused) as closed:
            project = signup_project(tmp_path / "site", closed)
            for number in range(20):
                asked(project, f"p{number}@example.com")
            with SignUpSite(tmp_path / "site", closed):
                eventually(lambda: len(said) > 0 and _waiting(project) == 20)
        assert said.count("confirmation_later") == 1

    def test_a_mail_that_cannot_be_made_is_found_out_at_the_start(self, tmp_path: Path, server: SmtpServer) -> None:
        with server:
            signup_project(tmp_path / "site", server)
            own = tmp_path / "site" / "templates" / "confirmation"
            own.mkdir(parents=True)
            (own / "issue.txt.j2").write_text("{{ holes.unsubscribe_url }}")
            with pytest.raises(TemplateError, match="'unsubscribe_url' is undefined"):
                SignUpSite(tmp_path / "site", server)


class TestDisk:
    def test_a_project_that_sends_nothing_writes_the_mail_into_a_folder(self, tmp_path: Path) -> None:
        """And says so where somebody looks: the link in it works."""
        with PublicSite(tmp_path, CONFIG) as site:
            site.post(PAGE, {"email": "anna@example.com"})
            folder = tmp_path / "out" / "confirmations"
            eventually(lambda: any(folder.glob("*.eml")) and all(one.stat().st_size for one in folder.iterdir()))
            [file] = folder.iterdir()
            assert file.stat().st_mode & 0o777 == 0o600
            mail = message(file.read_bytes())
            assert mail["To"] == "anna@example.com"
            assert "You are subscribed" in said(site.post(link_in(mail)))


def re_minutes(text: str) -> int:
    """The minutes that an answer asks to wait."""
    return int(text.partition("try again in ")[2].partition(" ")[0])
