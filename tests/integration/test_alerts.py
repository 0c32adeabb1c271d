"""Operators are told over real HTTP: as plain JSON, through Apprise, and by a heartbeat; and nothing waits for it."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import structlog
from servers.http_listener import Answer, Asked, HttpListener

from newsletter import logs
from newsletter.alerts.channels import channels, pulse
from newsletter.alerts.courier import Courier, NotTold, Patience
from newsletter.alerts.heartbeat import beat_url
from newsletter.alerts.model import Alert, Beat, Occasion
from newsletter.alerts.telling import teller
from newsletter.errors import ConfigError
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Occasion as ConfiguredOccasion

CANARY = "canary-token-0123456789"
HASTE = Patience(first_wait=0.01, longest_wait=0.02, keep_trying=30)
MISSING = Alert(
    Occasion.MISSING_ISSUE,
    "missing_issue:daily-buzz/2026-01-08",
    "daily-buzz/2026-01-08: no issue file yet",
    "Write issues/2026-01-08.txt — “today”.",
    {"run": "daily-buzz/2026-01-08", "planned": 0},
)
DONE = Alert(Occasion.SUMMARY, "finished:daily-buzz/2026-01-07", "daily-buzz/2026-01-07: finished")


def configured(folder: Path, *urls: str, more: str = "") -> Loaded:
    path = folder / "config.toml"
    text = '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n[notifications]\n'
    path.write_text(f"{text}urls = {json.dumps(urls)}\n{more}")
    return load_settings(path, {})


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    monkeypatch.setattr(logs, "_state", {"on": False})
    monkeypatch.setattr(logs, "_secrets", set())
    logs.configure(terminal=False)
    yield Log(capsys)
    # what still tries to reach a server that is gone must not write into the next test's log
    until = time.monotonic() + 20
    for thread in threading.enumerate():
        if thread.name.startswith("telling "):
            thread.join(max(0, until - time.monotonic()))
    structlog.reset_defaults()


class Log:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def of(self, place: str, event: str) -> list[dict[str, object]]:
        return [one for one in self.events(event) if one["to"] == place]

    def events(self, event: str) -> list[dict[str, object]]:
        out, err = self._capsys.readouterr()
        assert out == ""
        self.text += err
        return [one for one in map(json.loads, self.text.splitlines()) if one["event"] == event]


def test_an_alert_is_posted_as_plain_json(tmp_path: Path, log: Log) -> None:
    with HttpListener() as server:
        telling = teller(configured(tmp_path, server.url(f"/hooks/{CANARY}", user=f"ops:{CANARY}")))
        telling.tell(MISSING)
        [asked] = server.wait_for(1)
        telling.close()
    assert (asked.method, asked.path) == ("POST", f"/hooks/{CANARY}")
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"].startswith("Basic ")
    assert json.loads(asked.body) == {
        "occasion": "missing_issue",
        "key": "missing_issue:daily-buzz/2026-01-08",
        "title": "daily-buzz/2026-01-08: no issue file yet",
        "text": "Write issues/2026-01-08.txt — “today”.",
        "facts": {"run": "daily-buzz/2026-01-08", "planned": 0},
    }
    [line] = log.events("alert")
    assert (line["level"], line["key"]) == ("warning", MISSING.key)
    assert log.events("not_told") == []


def test_an_alert_reaches_apprise(tmp_path: Path) -> None:
    with HttpListener() as server:
        telling = teller(configured(tmp_path, server.url(f"/{CANARY}", scheme="json"), server.url("/plain")))
        telling.tell(MISSING)
        telling.tell(DONE)
        asked = server.wait_for(4)
        telling.close()
    by_apprise = [json.loads(one.body) for one in asked if one.path == f"/{CANARY}"]
    assert [(one["title"], one["message"], one["type"]) for one in by_apprise] == [
        (MISSING.title, MISSING.text, "warning"),
        ("", DONE.title, "info"),
    ]
    assert [json.loads(one.body)["key"] for one in asked if one.path == "/plain"] == [MISSING.key, DONE.key]


def test_no_address_and_no_secret_is_told(tmp_path: Path, log: Log) -> None:
    logs.never("geheim-7f3a")
    said = "550 5.1.1 <anna@example.com> unknown, after geheim-7f3a"
    with HttpListener() as server:
        telling = teller(configured(tmp_path, server.url(), server.url(scheme="json")))
        telling.tell(Alert(Occasion.FAILED, "key", said, said, {"said": said, "planned": 3}))
        asked = server.wait_for(2)
        telling.close()
    log.events("alert")
    for text in [log.text, *(one.body.decode() for one in asked)]:
        assert "anna" not in text
        assert "geheim" not in text
        assert "550 5.1.1 <<address>> unknown" in text


def test_only_what_operators_want_to_hear_is_told(tmp_path: Path, log: Log) -> None:
    with HttpListener() as server:
        telling = teller(configured(tmp_path, server.url(), more='on = ["summary"]\n'))
        telling.tell(MISSING)
        telling.tell(DONE)
        telling.close()
        assert [json.loads(one.body)["key"] for one in server.asked] == [DONE.key]
    assert [one["key"] for one in log.events("alert")] == [MISSING.key, DONE.key]


def test_every_occasion_of_the_settings_can_be_told() -> None:
    assert set(get_args(ConfiguredOccasion)) == {occasion.value for occasion in Occasion}


def test_a_beat_is_a_get_of_its_own_url(tmp_path: Path) -> None:
    with HttpListener() as server:
        telling = teller(configured(tmp_path, more=f'heartbeat_url = "{server.url(f"/ping/{CANARY}")}"\n'))
        for beat in (Beat.START, Beat.SUCCESS, Beat.START, Beat.FAIL):
            telling.beat(beat)
        asked = server.wait_for(4)
        telling.close()
    assert {one.method for one in asked} == {"GET"}
    ping = f"/ping/{CANARY}"
    assert [one.path for one in asked] == [f"{ping}/start", ping, f"{ping}/start", f"{ping}/fail"]


@pytest.mark.parametrize(
    ("url", "started", "good"),
    [
        ("https://hc.example/a", "https://hc.example/a/start", "https://hc.example/a"),
        ("https://hc.example/a/", "https://hc.example/a/start", "https://hc.example/a/"),
        ("https://hc.example", "https://hc.example/start", "https://hc.example"),
        ("https://hc.example/a?create=1", "https://hc.example/a/start?create=1", "https://hc.example/a?create=1"),
    ],
)
def test_the_word_of_a_beat_ends_the_path(url: str, started: str, good: str) -> None:
    assert beat_url(url, Beat.START) == started
    assert beat_url(url, Beat.SUCCESS) == good


def test_without_urls_nobody_is_told_and_nothing_fails(tmp_path: Path) -> None:
    threads = threading.active_count()
    telling = teller(configured(tmp_path))
    telling.tell(MISSING)
    telling.beat(Beat.START)
    telling.close()
    assert threading.active_count() == threads


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_fails_for_now_is_tried_until_it_works(tmp_path: Path, log: Log, status: int) -> None:
    with HttpListener(lambda number, _: Answer(status if number < 3 else 204)) as server:
        telling = teller(configured(tmp_path, server.url()), patience=HASTE)
        telling.tell(MISSING)
        telling.tell(DONE)
        asked = server.wait_for(5)
        telling.close()
    keys = [json.loads(one.body)["key"] for one in asked]
    assert keys == [MISSING.key] * 4 + [DONE.key]
    [delayed] = log.events("telling_delayed")
    assert delayed["reason"] == f"it answers {status}"
    [late] = log.events("told_late")
    assert late["tries"] == 4
    assert log.events("not_told") == []


def test_a_retry_after_is_kept_to(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(number: int, _asked: Asked) -> Answer:
        times.append(time.monotonic())
        return Answer(429, {"Retry-After": "1"}) if number == 0 else Answer()

    with HttpListener(answer) as server:
        telling = teller(configured(tmp_path, server.url()), patience=HASTE)
        telling.tell(MISSING)
        server.wait_for(2)
        telling.close()
    assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404), "it answers 404"),
        (Answer(401), "it answers 401"),
        (Answer(302, {"Location": "/elsewhere"}), "it answers 302, a redirect, which is not followed"),
    ],
)
def test_what_will_never_work_is_tried_once_and_logged(tmp_path: Path, log: Log, answer: Answer, reason: str) -> None:
    with HttpListener(lambda *_: answer) as server:
        telling = teller(configured(tmp_path, server.url(f"/{CANARY}")), patience=HASTE)
        telling.tell(MISSING)
        server.wait_for(1)
        telling.close()
        assert len(server.asked) == 1
        [lost] = log.events("not_told")
        assert (lost["level"], lost["reason"], lost["tries"]) == ("error", reason, 1)
        assert lost["to"] == f"notifications.urls[0] (http://127.0.0.1:{server.port}/…)"
        assert MISSING.key in str(lost["what"])


def nobody_listens() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_whoever_cannot_be_reached_is_given_up_in_the_end(tmp_path: Path, log: Log) -> None:
    host = nobody_listens()
    telling = teller(
        configured(tmp_path, f"http://{host}/{CANARY}", f"json://{host}/{CANARY}"),
        patience=Patience(first_wait=0.01, longest_wait=0.01, keep_trying=0.1),
    )
    telling.tell(MISSING)
    until = time.monotonic() + 20
    while len(log.events("not_told")) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    reasons = {str(one["to"]): one["reason"] for one in log.events("not_told")}
    assert reasons == {
        f"notifications.urls[0] (http://{host}/…)": "cannot be reached: Connection refused",
        "notifications.urls[1] (json://…)": "Apprise could not bring it there",
    }
    telling.close()
    assert CANARY not in log.text


def test_one_that_hangs_holds_up_neither_the_teller_nor_the_others(tmp_path: Path, log: Log) -> None:
    with HttpListener(lambda *_: Answer(hang=True)) as silent, HttpListener() as server:
        more = f'heartbeat_url = "{silent.url("/beat")}"\n'
        telling = teller(configured(tmp_path, silent.url(f"/{CANARY}"), server.url(), more=more))
        telling._farewell = 0.2
        began = time.monotonic()
        for _ in range(50):
            telling.tell(MISSING)
            telling.beat(Beat.START)
        told = time.monotonic() - began
        server.wait_for(50)
        silent.wait_for(2)
        began = time.monotonic()
        telling.close()
        telling.close()
        closed = time.monotonic() - began
    assert told < 5  # and not the 10 s that one request may take
    assert closed < 5
    lost = log.events("not_told")
    assert len(lost) == 100
    assert {one["reason"] for one in lost} == {"there was no answer before the program ended"}


def test_a_full_queue_loses_the_latest_and_says_so(log: Log) -> None:
    hold, carried = threading.Event(), []

    def carry(thing: int) -> None:
        hold.wait(20)
        carried.append(thing)

    courier = Courier("a place", carry, str, room=3)
    courier.take(0)
    until = time.monotonic() + 20
    while courier._in_hand is None and time.monotonic() < until:
        time.sleep(0.005)
    for number in range(1, 6):
        courier.take(number)
    hold.set()
    courier.hurry()
    courier.wait(time.monotonic() + 20)
    assert carried == [0, 1, 2, 3]
    assert [(one["what"], one["reason"]) for one in log.of("a place", "not_told")] == [
        ("4", "3 others are waiting"),
        ("5", "3 others are waiting"),
    ]
    courier.take(6)
    assert log.of("a place", "not_told")[-1]["reason"] == "the program is ending"


def test_the_end_of_the_program_cuts_a_wait_short_with_one_last_try(log: Log) -> None:
    tries: list[str] = []
    failed = threading.Event()

    def carry(thing: str) -> None:
        tries.append(thing)
        failed.set()
        raise NotTold("not now")

    courier = Courier("a place", carry, str, patience=Patience(first_wait=600, longest_wait=600, keep_trying=6000))
    courier.take("first")
    courier.take("second")
    assert failed.wait(20)
    courier.hurry()
    courier.wait(time.monotonic() + 20)
    assert tries == ["first", "first", "second"]
    assert [(one["what"], one["tries"]) for one in log.of("a place", "not_told")] == [("first", 2), ("second", 1)]


def test_a_carrier_that_breaks_is_one_that_did_not_tell(log: Log) -> None:
    def carry(_thing: str) -> None:
        raise KeyError(CANARY)

    courier = Courier("a place", carry, str, patience=Patience(0.01, 0.01, 0.0))
    courier.take("it")
    courier.hurry()
    courier.wait(time.monotonic() + 20)
    assert log.of("a place", "not_told")[0]["reason"] == "it failed with KeyError"
    assert CANARY not in log.text


def everything_said(error: ConfigError) -> str:
    said = "".join(traceback.format_exception(error)) + repr(vars(error))
    assert error.__cause__ is None
    assert error.__context__ is None
    return said


@pytest.mark.parametrize(
    "url",
    [f"nonsense://{CANARY}@host/{CANARY}", f"slack://{CANARY}", CANARY, f"https:///{CANARY}", f"http://[{CANARY}/"],
)
def test_a_url_that_nobody_knows_is_an_error_of_its_key(tmp_path: Path, url: str) -> None:
    loaded = configured(tmp_path, "https://fine.example/x", url)
    with pytest.raises(ConfigError) as caught:
        teller(loaded)
    [problem] = caught.value.problems
    assert problem.key == "notifications.urls[1]"
    assert problem.place.line == 5
    assert problem.message.startswith("notifications.urls[1]: ")
    assert "https://HOST/PATH" in problem.suggestion
    assert CANARY not in everything_said(caught.value)


def test_without_apprise_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    loaded = configured(tmp_path, "https://fine.example/x", f"slack://{CANARY}", f"json://{CANARY}")
    with pytest.raises(ConfigError) as caught:
        channels(loaded)
    assert [one.key for one in caught.value.problems] == ["notifications.urls[1]", "notifications.urls[2]"]
    assert "newsletter[alerts]" in caught.value.problems[0].suggestion
    assert CANARY not in everything_said(caught.value)
    assert len(channels(configured(tmp_path, "https://fine.example/x", "HTTP://also.example"))) == 2


def test_a_switch_needs_a_host(tmp_path: Path) -> None:
    loaded = configured(tmp_path, more=f'heartbeat_url = "https:///{CANARY}"\n')
    with pytest.raises(ConfigError, match=r"notifications\.heartbeat_url") as caught:
        pulse(loaded)
    assert CANARY not in everything_said(caught.value)


def test_names_hold_no_secret(tmp_path: Path) -> None:
    urls = (f"https://u:{CANARY}@h.example/{CANARY}?t={CANARY}", f"json://u:{CANARY}@h.example/{CANARY}")
    found = channels(configured(tmp_path, *urls))
    assert CANARY not in repr(found)
    assert "h.example" in found[0].name
