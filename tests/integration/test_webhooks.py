"""SendGrid's posts over real HTTP: proven, kept before they are answered, and settled beside the server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from public_site import CONFIG, PublicSite
from servers.signed_posts import WebhookSigner, body_of

from newsletter import logs
from newsletter.errors import NewsletterError, OutputError, TemporaryError
from newsletter.pipeline.take_events import Taken
from newsletter.store.events import SqlEvents
from newsletter.web import webhooks
from newsletter.web.event_worker import EventWorker

PROVIDERS = """
[providers.sendgrid]
kind = "sendgrid"
webhook_public_key = { file = "webhook.key" }
[providers.eu]
kind = "sendgrid"
webhook_public_key = { file = "eu.key" }
[providers.closed]
kind = "sendgrid"
webhook_public_key = { file = "there-is-none.key" }
[providers.wrong]
kind = "sendgrid"
webhook_public_key = { file = "wrong.key" }
[providers.relay]
kind = "smtp"
"""
SIGNER, EU = WebhookSigner(), WebhookSigner()
PATH = "/webhooks/sendgrid/sendgrid"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "webhook.key").write_text(SIGNER.public_key + "\n")
    (folder / "eu.key").write_text(f"-----BEGIN PUBLIC KEY-----\n{EU.public_key}\n-----END PUBLIC KEY-----\n")
    (folder / "wrong.key").write_text("this is no key\n")
    with PublicSite(folder, CONFIG + PROVIDERS) as served:
        yield served


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    lines: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(logs, "write", lambda _level, event, **fields: lines.append((event, fields)))
    return lines


def post(
    site: PublicSite, body: bytes, path: str = PATH, signer: WebhookSigner = SIGNER, at: float | None = None
) -> httpx.Response:
    return site.client.post(path, content=body, headers=signer.headers(body, at))


def about(address: str, event: str, **rest: object) -> dict[str, object]:
    return {"email": address, "timestamp": int(time.time()), "event": event, **rest}


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def reasons(site: PublicSite, address: str) -> set[str]:
    person = site.store.person(address)
    return {one.reason.value for one in person.suppressions} if person else set()


def test_a_signed_post_is_kept_and_settled_beside_the_server(site: PublicSite) -> None:
    site.subscribe("ben@example.com")
    answer = post(site, body_of([about("ben@example.com", "spamreport"), about("zoe@example.com", "spamreport")]))
    assert (answer.status_code, answer.content) == (204, b"")
    eventually(lambda: reasons(site, "ben@example.com") == {"complaint"})
    assert reasons(site, "zoe@example.com") == set(), "nobody here"


def test_each_account_has_a_key_of_its_own(site: PublicSite) -> None:
    body = body_of([about("cid@example.com", "spamreport")])
    assert post(site, body, "/webhooks/sendgrid/eu", EU).status_code == 204
    assert post(site, body, "/webhooks/sendgrid/eu", SIGNER).status_code == 403
    assert post(site, body, PATH, EU).status_code == 403


def test_whoever_has_no_valid_signature_changes_nothing_and_learns_nothing(
    site: PublicSite, said: list[tuple[str, dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    monkeypatch.setattr(SqlEvents, "keep", lambda *_a, **_k: kept.append(1))
    site.subscribe("dan@example.com")
    body = body_of([about("dan@example.com", "spamreport")])
    good = SIGNER.headers(body)
    signature, timestamp = list(good)[:2]
    tries: list[tuple[str, bytes, dict[str, str]]] = [
        (PATH, body, {}),
        (PATH, body, {signature: good[signature]}),
        (PATH, body, {timestamp: good[timestamp]}),
        (PATH, body + b" ", good),
        (PATH, b"", good),
        (PATH, b"{", good),
        (PATH, body, good | {timestamp: str(int(good[timestamp]) + 1)}),
        (PATH, body, SIGNER.headers(body, time.time() - 3600)),
        (PATH, body, SIGNER.headers(body, time.time() + 3600)),
        (PATH, body, EU.headers(body)),
        ("/webhooks/sendgrid/closed", body, good),
        ("/webhooks/sendgrid/wrong", body, good),
    ]
    answers = [site.client.post(path, content=content, headers=fields) for path, content, fields in tries]
    assert {one.status_code for one in answers} == {403}
    assert len({one.content for one in answers}) == 1
    assert kept == []
    assert {event for event, _ in said} >= {"webhook_refused", "webhook_closed"}
    closed = {str(fields["provider"]): str(fields["reason"]) for event, fields in said if event == "webhook_closed"}
    assert "providers.closed.webhook_public_key" in closed["closed"]
    assert "there-is-none.key" in closed["closed"]
    assert "providers.wrong.webhook_public_key" in closed["wrong"]
    assert "this is no key" not in closed["wrong"]


def test_a_post_of_an_hour_ago_is_no_post(site: PublicSite) -> None:
    """What was overheard once cannot be played again."""
    body = body_of([about("eve@example.com", "spamreport")])
    fields = SIGNER.headers(body, time.time() - 5)
    assert site.client.post(PATH, content=body, headers=fields).status_code == 204
    assert post(site, body, at=time.time() - 3600).status_code == 403


@pytest.mark.parametrize("name", ["nobody", "relay", "disk", "..%2F..%2Fetc", "%00", "a" * 3000])
def test_only_sendgrid_accounts_have_one(site: PublicSite, name: str) -> None:
    body = body_of([])
    assert post(site, body, f"/webhooks/sendgrid/{name}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_it_is_there_for_posts_alone(site: PublicSite, method: str) -> None:
    assert site.client.request(method, PATH).status_code == 405


@pytest.mark.parametrize("body", [b"", b"x", b"null", b"7", b"[" * 5000, b"\x00" * 50, b'["' + b"\xff" * 100])
def test_signed_nonsense_is_told_and_no_error_of_ours(
    site: PublicSite, body: bytes, said: list[tuple[str, dict[str, object]]]
) -> None:
    assert post(site, body).status_code == 400
    told = [event for event, _ in said if event != "events_settled"]  # of a test before, and of a thread of its own
    assert told == ["post_unreadable"]


def test_the_good_ones_of_an_odd_post_are_kept(site: PublicSite, said: list[tuple[str, dict[str, object]]]) -> None:
    site.subscribe("fay@example.com")
    poison = "\x00\u202e<script>alert(1)</script>" + "x" * 1_000_000
    events: list[Any] = [
        None,
        {"event": "spamreport"},
        about("fay@example.com", "open"),
        about("fay@example.com", poison),
        about("fay@example.com", "bounce", type=poison, status=poison, reason="550 5.1.1 " + poison),
    ]
    assert post(site, body_of(events)).status_code == 204
    eventually(lambda: reasons(site, "fay@example.com") == {"hard_bounce"})
    [suppression] = site.person("fay@example.com").suppressions
    assert "\x00" not in suppression.note
    assert len(suppression.note) < 400
    unusable = {str(fields["reason"]): fields["events"] for event, fields in said if event == "events_unusable"}
    assert unusable == {"no object": 1, "no time": 1}


def test_a_post_over_10_mb_is_refused(site: PublicSite) -> None:
    body = json.dumps([about("gus@example.com", "spamreport", reason="x" * 10 * 1024 * 1024)]).encode()
    assert post(site, body).status_code == 413


@pytest.mark.parametrize("error", [TemporaryError("locked"), OutputError("the disk is full")])
def test_what_cannot_be_kept_is_to_be_posted_again(
    site: PublicSite, monkeypatch: pytest.MonkeyPatch, error: NewsletterError
) -> None:
    address = f"{type(error).__name__.lower()}@example.com"
    body = body_of([about(address, "spamreport")])
    site.subscribe(address)

    def fail(*_: object, **__: object) -> int:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SqlEvents, "keep", fail)
        answer = post(site, body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert post(site, body).status_code == 204
    eventually(lambda: reasons(site, address) == {"complaint"})


def test_a_database_that_hangs_is_not_waited_for_without_end(site: PublicSite, monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of([about("ida@example.com", "spamreport")])
    go_on = threading.Event()
    keep = SqlEvents.keep

    def slowly(*arguments: Any, **named: Any) -> int:
        go_on.wait(30)
        return keep(*arguments, **named)

    monkeypatch.setattr(webhooks, "_PATIENCE", 0.2)
    monkeypatch.setattr(SqlEvents, "keep", slowly)
    try:
        assert post(site, body).status_code == 503
    finally:
        go_on.set()
    assert post(site, body).status_code == 204


def test_events_are_counted_by_kind(site: PublicSite) -> None:
    def count() -> float:
        found = [line for line in site.get("/metrics").text.splitlines() if 'kind="unsubscribed"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in found if line.startswith("newsletter_events_total"))

    before = count()
    post(site, body_of([about("joe@example.com", "unsubscribe"), about("kim@example.com", "group_unsubscribe")]))
    assert count() == before + 2


class TestWorker:
    def test_it_looks_when_something_came_and_once_a_while_in_any_case(self) -> None:
        looks, pruned = threading.Semaphore(0), []

        def take(_: Callable[[], bool]) -> Taken:
            looks.release()
            return Taken()

        arrived = threading.Event()
        worker = EventWorker(take, lambda: pruned.append(1) or 0, arrived, rest=0.05)  # type: ignore[func-returns-value]  # a line
        worker.start()
        try:
            assert all(looks.acquire(timeout=10) for _ in range(3))
        finally:
            worker.stop()
        assert pruned == [1], "once a day"

    def test_nothing_that_goes_wrong_ends_it(self, said: list[tuple[str, dict[str, object]]]) -> None:
        errors: list[Exception] = [TemporaryError("locked"), RuntimeError("what nobody thought of")]
        looked = threading.Event()

        def take(_: Callable[[], bool]) -> Taken:
            if errors:
                raise errors.pop(0)
            looked.set()
            return Taken(failures={"ValueError: x": 2})

        worker = EventWorker(take, lambda: 0, threading.Event(), rest=0.01)
        worker.start()
        try:
            assert looked.wait(10)
        finally:
            worker.stop()
        assert [event for event, _ in said][:3] == ["events_wait", "events_wait", "events_not_settled"]

    def test_it_ends_after_the_step_under_way(self) -> None:
        begun, steps = threading.Event(), []

        def take(stop: Callable[[], bool]) -> Taken:
            while not stop():
                steps.append(1)
                begun.set()
            return Taken()

        worker = EventWorker(take, lambda: 0, threading.Event())
        worker.start()
        assert begun.wait(10)
        worker.stop()
        made = len(steps)
        time.sleep(0.1)
        assert len(steps) == made
