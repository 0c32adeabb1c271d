"""Somebody leaves while an issue goes out: they get no mail that was not on its way yet."""

from __future__ import annotations

from pathlib import Path

import httpx
from live_projects import RUN, Gate, LiveProject, smtp_server
from projects import SLOT
from servers.smtp_server import Script

from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.metrics import Metrics
from newsletter.web.serving import web_server
from newsletter.wiring import parts

PEOPLE = 30


def test_from_the_next_claim_on_nothing_is_sent_to_them(tmp_path: Path) -> None:
    gate = Gate(after=5)
    with smtp_server(Script(react=gate)) as server:
        project = LiveProject(tmp_path / "project", server.port)
        project.people(PEOPLE)
        project.delivery("window", "2")
        project.delivery("concurrency", "1")
        assert project.run("subscribers", "sync").code == 0
        loaded = parts.settings(project.config)
        store = parts.audience_store(loaded)
        with (
            web_server(loaded, Metrics(), host="127.0.0.1", port=0) as web,
            project.start("send", SLOT, "--confirm", str(PEOPLE)) as sending,
        ):
            try:
                assert gate.reached.wait(60)
                # none of them is among those of the claim that is out: the last ones of the batch
                leaving = [f"p{number:05}@example.com" for number in (PEOPLE - 1, PEOPLE - 7)]
                links = LinkMaker("http://localhost:8000", "daily-buzz", parts.signing_keys(loaded))
                for address in leaving:
                    person = store.person(address)
                    assert person is not None
                    assert person.id is not None
                    path = f"unsubscribe/daily-buzz/{links.token(Purpose.UNSUBSCRIBE, person.id)}"
                    answer = httpx.post(web.url + path, data={"List-Unsubscribe": "One-Click"}, timeout=30)
                    assert answer.status_code == 200
            finally:
                gate.open()
            _, err = sending.communicate(timeout=60)
            assert sending.returncode == 0, err
        got = sorted(taken.address for taken in server.taken)
    assert got == sorted({f"p{number:05}@example.com" for number in range(PEOPLE)} - set(leaving))
    status = project.status()
    assert (status["run"], status["state"]) == (RUN, "finished")
    assert (status["accepted"], status["suppressed"]) == (PEOPLE - 2, 2)
