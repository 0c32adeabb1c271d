"""The API key goes to the one host it is for, and is printed nowhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest
from provider_examples import RENDERED, batch, recipient
from sendgrid_examples import KEY, wired
from servers.sendgrid_server import SAYINGS, Say, SendgridServer, error

from newsletter.delivery.model import Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.providers.sendgrid import SendgridProvider

SENT = batch(recipient(1, "Ada"))


@pytest.fixture
def server() -> Iterator[SendgridServer]:
    made = SendgridServer(key=KEY).start()
    yield made
    made.close()


@pytest.fixture
def elsewhere() -> Iterator[SendgridServer]:
    """A second host, which would take anything."""
    made = SendgridServer().start()
    yield made
    made.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server: SendgridServer, elsewhere: SendgridServer, status: int) -> None:
    server.answer_next(Say(status, False, headers={"Location": f"{elsewhere.url}/v3/mail/send"}))
    with pytest.raises(CallRefused, match=r"redirected to 127\.0\.0\.1") as raised:
        wired(server).submit(SENT, RENDERED)
    assert (raised.value.blame, raised.value.code) == (Blame.ACCOUNT, str(status))
    assert elsewhere.requests == []
    assert len(server.requests) == 1


def test_a_proxy_of_the_environment_is_not_used(
    server: SendgridServer, elsewhere: SendgridServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert wired(server).submit(SENT, RENDERED).accepted == 1
    assert elsewhere.requests == []


def test_the_debug_log_of_the_package_stays_shut(server: SendgridServer, caplog: pytest.LogCaptureFixture) -> None:
    """It would print the key and every address, whatever level somebody sets for the root or for the package."""
    provider = wired(server)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="python_http_client")
    caplog.set_level(logging.DEBUG, logger="python_http_client.client")
    provider.submit(SENT, RENDERED)
    for name in ("500-after", "reset-after", "truncated"):
        server.answer_next(SAYINGS[name]())
        provider.submit(SENT, RENDERED)
    server.answer_next(SAYINGS["401"]())
    with pytest.raises(CallRefused):
        provider.submit(SENT, RENDERED)
    provider.check()
    assert KEY not in caplog.text
    assert "p1@example.com" not in caplog.text


def printed(error_met: BaseException) -> str:
    """All that anybody prints of an exception: the values of its frames' variables too."""
    whole = traceback.TracebackException.from_exception(error_met, capture_locals=True)
    return "".join([str(error_met), repr(error_met), *whole.format()])


def test_no_exception_holds_the_key_in_its_words_or_its_frames(server: SendgridServer) -> None:
    # a server that says everything back, as proxies in front of one do
    server.answer_next(error(401, f"Authorization: Bearer {KEY} is wrong"), error(400, KEY, KEY), Say(302, False))
    provider = wired(server)
    for _ in range(3):
        with pytest.raises(CallRefused) as raised:
            provider.submit(SENT, RENDERED)
        # the frames from the adapter inwards: this test has the key in its hands
        inner = raised.value.with_traceback(raised.tb.tb_next if raised.tb else None)
        assert KEY not in printed(inner)
        assert "***" in str(inner) or "redirected" in str(inner)
    server.close()
    with pytest.raises(OSError, match="refused") as away:
        provider.check()
    assert KEY not in printed(away.value.with_traceback(away.tb.tb_next if away.tb else None))


def test_no_outcome_holds_the_key(server: SendgridServer) -> None:
    server.answer_next(Say(500, False, f'{{"errors": [{{"message": "{KEY}"}}]}}'.encode()))
    (outcome,) = wired(server).submit(SENT, RENDERED).outcomes.values()
    assert outcome == Unknown("***")
    assert KEY not in repr(wired(server))


@pytest.mark.parametrize("key", ["", "SG.secret-part\nX-Evil: 1", "SG.secret-part two", "SG.secret-pärt"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_said(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        SendgridProvider("sendgrid", key)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", ["http://api.sendgrid.com", "http://10.0.0.1:8000", "http://localhost.evil.example"])
def test_the_key_goes_nowhere_unencrypted(host: str) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        SendgridProvider("sendgrid", KEY, host=host)
