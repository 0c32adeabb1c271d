"""Connecting to SMTP servers: TLS with certificates verified, logins, and servers that do not want us."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers.certificates import TestAuthority
from servers.smtp_calls import kinds, provider_to, submit
from servers.smtp_server import Reaction, Script, SmtpServer

from newsletter.delivery.model import Busy
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address

AUTHORITY = TestAuthority()
TRUSTED = AUTHORITY.server("127.0.0.1", "localhost")
CLIENT = AUTHORITY.client()
PASSWORD = "pä$$ wörd canary"
SECURITY = pytest.mark.parametrize("security", ["starttls", "tls"])


@contextmanager
def server_with(security: str, certificate: Any = TRUSTED, **script: Any) -> Iterator[SmtpServer]:
    with SmtpServer(Script(tls=certificate, tls_from_start=security == "tls", **script)) as server:
        yield server


def refusal_of(provider: SmtpProvider) -> CallRefused:
    """The refusal of a call, which is the same for a check."""
    with pytest.raises(CallRefused) as caught:
        submit(provider, 2)
    with pytest.raises(CallRefused) as again:
        provider.check()
    provider.close()
    assert str(again.value) == str(caught.value)
    return caught.value


@SECURITY
class TestTls:
    def test_mail_goes_out_encrypted_to_a_server_that_is_who_it_says(self, security: str) -> None:
        with server_with(security) as server:
            provider = provider_to(server, security=security, tls=CLIENT)
            assert kinds(submit(provider, 3)) == "AAA"
            assert kinds(submit(provider, 1)) == "A"
            assert server.connections == 1
            assert provider.check() == (
                f"127.0.0.1:{server.port}: TLSv1.3, no login, PIPELINING, messages up to 50,000,000 bytes"
            )
            provider.close()
        assert len(server.addresses()) == 4

    def test_a_name_goes_as_well_as_an_address(self, security: str) -> None:
        with server_with(security) as server:
            provider = provider_to(server, host="localhost", security=security, tls=CLIENT)
            assert kinds(submit(provider, 1)) == "A"
            provider.close()

    @pytest.mark.parametrize("fault", ["another name", "run out", "a stranger's"])
    def test_a_certificate_that_does_not_hold_stops_the_run_before_anything_is_said(
        self, security: str, fault: str
    ) -> None:
        certificate = {
            "another name": lambda: AUTHORITY.server("mail.example.com"),
            "run out": lambda: AUTHORITY.server("127.0.0.1", days=-1),
            "a stranger's": lambda: TestAuthority().server("127.0.0.1"),
        }[fault]()
        with server_with(security, certificate, logins={"user": PASSWORD}) as server:
            refused = refusal_of(provider_to(server, security=security, tls=CLIENT, username="user", password=PASSWORD))
        assert refused.blame is Blame.ACCOUNT
        assert f"the certificate of 127.0.0.1:{server.port} does not hold: " in refused.reason
        assert "`host` must be a name" in refused.reason
        assert not any(command.startswith(("AUTH", "MAIL")) for command in server.commands)

    def test_by_default_only_authorities_of_this_machine_are_trusted(self, security: str) -> None:
        with server_with(security) as server:
            assert refusal_of(provider_to(server, security=security)).blame is Blame.ACCOUNT


class TestNoTls:
    def test_a_server_without_starttls_is_never_spoken_to_in_the_clear(self) -> None:
        with SmtpServer(Script(logins={"user": PASSWORD})) as server:
            refused = refusal_of(
                provider_to(server, security="starttls", tls=CLIENT, username="user", password=PASSWORD)
            )
        assert refused.blame is Blame.ACCOUNT
        assert "does not offer STARTTLS" in refused.reason
        assert {command[:4] for command in server.commands} <= {"ehlo"}

    def test_tls_to_a_port_that_speaks_none_is_busy_and_says_what_may_be_meant(self) -> None:
        with SmtpServer(Script()) as server:
            provider = provider_to(server, security="tls", tls=CLIENT)
            (outcome, _) = submit(provider, 2)
            provider.close()
        assert isinstance(outcome, Busy)
        assert 'security = "starttls"' in outcome.reason

    def test_starttls_that_is_refused_for_now_is_busy(self) -> None:
        reaction = Reaction(b"454 4.7.0 TLS not available\r\n")
        with SmtpServer(
            Script(tls=TRUSTED, react=lambda moment: reaction if moment.step == "STARTTLS" else None)
        ) as server:
            provider = provider_to(server, security="starttls", tls=CLIENT)
            assert submit(provider, 1) == [Busy(f"127.0.0.1:{server.port}: 454 4.7.0 TLS not available", away=True)]
            provider.close()

    def test_what_is_smuggled_in_behind_starttls_is_not_taken_for_an_answer(self) -> None:
        reaction = Reaction(b"220 go ahead\r\n250-evil.example\r\n250 AUTH PLAIN\r\n")
        with SmtpServer(
            Script(tls=TRUSTED, react=lambda moment: reaction if moment.step == "STARTTLS" else None)
        ) as server:
            provider = provider_to(server, security="starttls", tls=CLIENT)
            (outcome,) = submit(provider, 1)
            provider.close()
        assert isinstance(outcome, Busy)
        assert "more than an answer to STARTTLS" in outcome.reason
        assert server.addresses() == []


class TestLogins:
    @pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",), ("GSSAPI", "LOGIN", "PLAIN")])
    def test_plain_and_login_work_with_any_letters(self, mechanisms: tuple[str, ...]) -> None:
        with server_with("starttls", logins={"üser": PASSWORD}, mechanisms=mechanisms, login_needs_tls=True) as server:
            provider = provider_to(server, security="starttls", tls=CLIENT, username="üser", password=PASSWORD)
            assert kinds(submit(provider, 2)) == "AA"
            assert f"login by {'PLAIN' if 'PLAIN' in mechanisms else 'LOGIN'}," in provider.check()
            provider.close()

    def test_a_login_in_the_clear_says_so_when_it_is_checked(self) -> None:
        with SmtpServer(Script(logins={"user": PASSWORD})) as server:
            provider = provider_to(server, username="user", password=PASSWORD)
            assert "no TLS, login by PLAIN, the password not encrypted" in provider.check()

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_a_wrong_password_stops_the_run_and_is_shown_to_nobody(self, mechanism: str) -> None:
        with SmtpServer(Script(logins={"user": "another"}, mechanisms=(mechanism,))) as server:
            provider = provider_to(server, username="user", password=PASSWORD)
            refused = refusal_of(provider)
        assert (refused.blame, refused.code) == (Blame.ACCOUNT, "535 5.7.8")
        assert "refused the login (`username`, `password`): no such user or password (***)" in refused.reason
        shown = "".join(
            str(part) for part in (refused, refused.__cause__, refused.__context__, provider, Address("h", 1))
        )
        assert "canary" not in shown
        assert "canary" not in repr(Address("h", 1, password=PASSWORD))

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_a_server_that_writes_back_what_it_is_told_is_not_repeated(self, mechanism: str) -> None:
        said = b"AUTH PLAIN " + base64.b64encode(b"\0user\0canary") + b" canary\r\n"
        script = Script(
            logins={"user": "canary"},
            mechanisms=(mechanism,),
            react=lambda moment: Reaction(said) if moment.step == "AUTH" else None,
        )
        with SmtpServer(script) as server:
            provider = provider_to(server, username="user", password="canary")
            (outcome,) = submit(provider, 1)
            assert outcome == Busy(f"127.0.0.1:{server.port}: the server answers the login with nonsense", away=True)
            with pytest.raises(OSError, match=r"answers the login with nonsense$"):
                provider.check()
            provider.close()

    def test_a_mechanism_that_is_offered_and_does_not_work_is_followed_by_the_other(self) -> None:
        reaction = Reaction(b"504 5.5.4 not this one\r\n")
        script = Script(
            logins={"user": PASSWORD},
            react=lambda moment: reaction if (moment.step, moment.before) == ("AUTH", 0) else None,
        )
        with SmtpServer(script) as server:
            provider = provider_to(server, username="user", password=PASSWORD)
            assert kinds(submit(provider, 1)) == "A"
            provider.close()

    def test_a_login_that_is_put_off_is_busy(self) -> None:
        reaction = Reaction(b"454 4.7.0 temporary failure\r\n")
        script = Script(logins={"user": PASSWORD}, react=lambda moment: reaction if moment.step == "AUTH" else None)
        with SmtpServer(script) as server:
            provider = provider_to(server, username="user", password=PASSWORD)
            assert submit(provider, 1) == [Busy(f"127.0.0.1:{server.port}: 454 4.7.0 temporary failure", away=True)]
            with pytest.raises(OSError, match="temporary failure"):
                provider.check()

    @pytest.mark.parametrize("mechanisms", [("CRAM-MD5",), ()])
    def test_a_server_without_a_login_that_we_know_stops_the_run(self, mechanisms: tuple[str, ...]) -> None:
        logins = {"user": PASSWORD} if mechanisms else {}
        with SmtpServer(Script(logins=logins, mechanisms=mechanisms)) as server:
            refused = refusal_of(provider_to(server, username="user", password=PASSWORD))
        assert refused.blame is Blame.ACCOUNT
        assert 'security = "starttls"' in refused.reason

    def test_a_server_that_wants_a_login_we_do_not_have_stops_the_run(self) -> None:
        with SmtpServer(Script(logins={"user": PASSWORD})) as server:
            provider = provider_to(server)
            with pytest.raises(CallRefused) as caught:
                submit(provider, 1)
            provider.close()
        assert (caught.value.blame, caught.value.code) == (Blame.ACCOUNT, "530 5.7.0")


class TestGreetings:
    def test_a_server_that_wants_nothing_of_us_stops_the_run(self) -> None:
        with SmtpServer(Script(react=lambda _: Reaction(b"554 5.7.1 your network is blocked\r\n"))) as server:
            refused = refusal_of(provider_to(server))
        assert (refused.blame, refused.code) == (Blame.ACCOUNT, "554 5.7.1")
        assert "your network is blocked" in refused.reason

    def test_a_server_that_is_overloaded_is_busy(self) -> None:
        with SmtpServer(Script(react=lambda _: Reaction(b"450 4.3.2 overloaded\r\n"))) as server:
            provider = provider_to(server)
            assert submit(provider, 1) == [Busy(f"127.0.0.1:{server.port}: 450 4.3.2 overloaded", away=True)]

    def test_a_server_that_knows_no_ehlo_is_greeted_with_helo(self) -> None:
        reaction = Reaction(b"502 5.5.1 what?\r\n")
        with SmtpServer(Script(react=lambda moment: reaction if moment.step == "EHLO" else None)) as server:
            provider = provider_to(server)
            assert kinds(submit(provider, 2)) == "AA"
            assert "no PIPELINING, no limit of size" in provider.check()
            provider.close()

    @pytest.mark.parametrize(
        "greeting",
        [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"220-hello\r\n" * 1_000, b"220 " + b"x" * 70_000, b"\x15\x03\x01"],
    )
    def test_whatever_is_no_smtp_server_is_busy_within_the_timeout(self, greeting: bytes) -> None:
        stop = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                sock, _ = listener.accept()
                with sock:
                    sock.sendall(greeting)
                    stop.wait(10)

            thread = threading.Thread(target=serve)
            thread.start()
            provider = SmtpProvider("smtp", Address("127.0.0.1", listener.getsockname()[1], timeout=0.3))
            assert kinds(submit(provider, 1)) == "B"
            stop.set()
            thread.join()

    def test_a_host_that_is_no_name_stops_the_run(self) -> None:
        refused = refusal_of(SmtpProvider("smtp", Address("x" * 70 + ".example", 25)))
        assert refused.blame is Blame.ACCOUNT
        assert "no name of a server" in refused.reason

    def test_a_check_that_fails_after_the_greeting_is_an_error_of_the_connection(self) -> None:
        with SmtpServer(Script(react=lambda moment: Reaction(close=True) if moment.step == "NOOP" else None)) as server:
            provider = provider_to(server)
            with pytest.raises(OSError, match="the server closed the connection"):
                provider.check()
