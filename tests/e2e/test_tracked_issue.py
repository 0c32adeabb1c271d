"""An issue whose links are counted, from the settings to the numbers of `status`: sent, clicked, and what stays out."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from live_projects import RUN, SHIPPED, LiveProject, eventually
from projects import SLOT
from public_sites import PublicSite, public_site

from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.settings.load import load_settings
from newsletter.store.tables import issue_link
from newsletter.store.tracking import SqlTracking
from newsletter.wiring.parts import audience_store, database

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Accept-Language": "en",
}
TARGET = "https://example.com/the-report?part=1&page=2"
TRACKED = (
    ("clicks = false", "clicks = true"),
    ("opens = false", "opens = true"),
    ("per_person = false", "per_person = true"),
    ("utm = {}", 'utm = { source = "daily-buzz" }'),
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PublicSite]:
    with public_site(tmp_path, *TRACKED) as made:
        issue = made.project.folder / "issues" / f"{SLOT}.txt"
        issue.write_text(f"Daily Buzz: 7 January 2026\nTop News\nA Report\nIt says a lot.\n{TARGET}\n", "utf-8")
        yield made


def parsed(message: bytes) -> EmailMessage:
    made = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(made, EmailMessage)
    return made


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def dry_run(project: LiveProject) -> dict[str, bytes]:
    """What it wrote."""
    ended = project.call("send", SLOT, "--dry-run")
    assert ended.code == 0, ended.err
    return {file.relative_to(project.out).as_posix(): file.read_bytes() for file in project.out.rglob("*.*")}


def counted_link(mail: EmailMessage) -> str:
    [link] = re.findall(rf'href="(http://[^"]+/c/daily-buzz/{SLOT}/[^"]+)"', part(mail, "html"))
    return str(link)


def send(project: LiveProject) -> None:
    ended = project.send()
    assert ended.code == 0, ended.err


def test_a_click_in_the_mail_is_counted_and_leads_to_the_report(site: PublicSite) -> None:
    project, server = site.project, site.server
    # a test of the issue, and a dry run: nothing of them counts
    assert project.call("test", SLOT, "--to", "editor@example.com").code == 0
    test = part(site.mail("editor@example.com"), "html")
    assert f"{TARGET.replace('&', '&amp;')}&amp;utm_source=daily-buzz" in test
    assert "/c/" not in test
    assert "/o/" not in test
    dry = [dry_run(project) for _ in range(2)]
    assert dry[0] == dry[1]

    send(project)
    mails = {one.address: parsed(one.message) for one in server.taken if one.address != "editor@example.com"}
    assert len(mails) == SHIPPED
    links = {counted_link(mail) for mail in mails.values()}
    assert len(links) == SHIPPED, "per person, each has a token of their own"
    for mail in mails.values():
        assert "/o/" not in part(mail, "html"), "nobody consented"
        assert TARGET in part(mail, "plain"), "the text part is as it was written"
        assert "/c/" not in part(mail, "plain")
    eml = dry[0]["messages/0001.eml"].decode()
    assert f"/c/daily-buzz/{SLOT}/1" in eml.replace("=\r\n", "")
    assert "/c/" not in dry[0]["issue.html"].decode(), "what is looked at leads straight there"

    answer = httpx.get(links.pop(), headers=BROWSER, timeout=30)  # the machine may be busy
    assert (answer.status_code, answer.headers["location"]) == (302, f"{TARGET}&utm_source=daily-buzz")
    httpx.head(links.pop(), headers=BROWSER, timeout=30)
    eventually(lambda: project.status()["clicks"]["raw"] == 2)
    status = project.status()
    assert status["clicks"] == {
        "raw": 2,
        "human": 1,
        "links": [{"number": 1, "url": f"{TARGET}&utm_source=daily-buzz", "raw": 2, "human": 1}],
    }
    assert status["opens"] == {"raw": 0, "human": 0}
    said = project.call("status", RUN).out
    assert re.search(r"clicks +1 by readers, 2 in all", said)
    assert re.search(r"opens +0 by readers, 0 in all", said)

    # the archive is for everybody, and counts nobody
    archived = httpx.get(f"{site.url}/archive/daily-buzz/{SLOT}").text
    assert TARGET.replace("&", "&amp;") in archived
    assert not [trace for trace in ("/c/", "/o/", "utm_") if trace in archived]

    # switched off, the mail that is out goes on working
    for old, new in TRACKED:
        project.edit(project.config, new, old)
    assert "clicks" in project.status(), "what was counted is shown"


def test_an_interrupted_run_goes_on_with_the_same_links_and_without_other_tracking(site: PublicSite) -> None:
    project, server = site.project, site.server
    assert project.send("--limit", "5").code in {0, 130}
    first = [one.message for one in server.taken]
    assert len(first) == 5
    project.edit(project.config, "clicks = true", "clicks = false")
    refused = project.call("send", SLOT, "--resume")
    assert refused.code == 5, "half of the readers would get another mail"
    project.edit(project.config, "clicks = false", "clicks = true")
    assert project.call("send", SLOT, "--resume").code == 0
    assert len(server.taken) == SHIPPED
    links = {re.sub(r"[^/]+$", "", counted_link(parsed(one.message))) for one in server.taken}
    assert links == {f"{site.url}/c/daily-buzz/{SLOT}/1/"}


def test_where_other_links_are_stored_nothing_is_sent_and_nobody_holds_the_run(site: PublicSite) -> None:
    """Nothing of ours stores others; a database may have been put together from two."""
    project, server = site.project, site.server
    engine = database(load_settings(project.config, {}))
    assert project.call("subscribers", "sync").code == 0
    SqlTracking(engine).keep_links(RunName("daily-buzz", SLOT), ["https://example.com/another"])
    refused = project.send()
    assert refused.code == 5
    assert "lead elsewhere" in refused.err
    assert server.taken == []
    status = project.status()
    assert (status["sender"], status["in_flight"], status["unknown"], status["remaining"]) == ("", 0, 0, SHIPPED)
    with engine.begin() as connection:
        connection.execute(sa.delete(issue_link))
    assert project.call("send", SLOT, "--resume").code == 0
    assert len(server.taken) == SHIPPED


def test_who_consented_and_nobody_else_has_the_image_and_its_request_is_counted(site: PublicSite) -> None:
    project, server = site.project, site.server
    assert project.call("subscribers", "sync").code == 0
    store = audience_store(load_settings(project.config, {}))
    member = next(store.members(store.plan(Selection(("daily-buzz",))).members))
    assert store.measure_opens(member.id, True, wording="yes", ip="", now=dt.datetime.now(dt.UTC))
    with_image = member.address
    send(project)
    found = {}
    for taken in server.taken:
        html = part(parsed(taken.message), "html")
        if "/o/" in html:
            [found[taken.address]] = re.findall(r'<img src="([^"]+)" width="1" height="1" alt=""[^>]*>', html)
    assert found.keys() == {with_image}
    answer = httpx.get(found[with_image], headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    eventually(lambda: project.status()["opens"] == {"raw": 1, "human": 1})
