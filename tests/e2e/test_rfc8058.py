"""RFC 8058, requirement by requirement, with mail that was really sent: the table in docs/reference/web.md names these
tests.

The site is at https://news.example.com; its server listens on this machine, and is asked for the paths of the links.
"""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from live_projects import LiveProject, smtp_server
from projects import SLOT
from servers.dkim_verifying import pem, valid
from servers.smtp_server import SmtpServer, Taken

from newsletter.audience.model import ConsentState
from newsletter.audience.people import SuppressionReason
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.metrics import Metrics
from newsletter.store.audience import SqlAudience
from newsletter.web.serving import web_server
from newsletter.wiring import parts

ROOT = Path(__file__).parents[2]
SITE = "https://news.example.com"
KEY = rsa.generate_private_key(65537, 2048)
#: Each test takes some of their mails.
PEOPLE = 25
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Sent:
    """An issue that went out to the shipped list, and the server of its links."""

    project: LiveProject
    server: SmtpServer
    store: SqlAudience
    client: httpx.Client
    keys: list[str]
    unused: Iterator[Taken] = field(init=False)

    def __post_init__(self) -> None:
        self.unused = iter(list(self.server.taken))

    def mail(self) -> tuple[str, EmailMessage]:
        """A mail that no other test has used, and whom it was sent to."""
        taken = next(self.unused)
        return taken.address, parsed(taken)

    def link(self) -> tuple[str, str]:
        """The address of somebody, and the path of the link in their mail."""
        address, mail = self.mail()
        return address, path_of(mail)

    def left(self, address: str) -> bool:
        """Whether they are on the newsletter's list no more."""
        person = self.store.person(address.lower())
        assert person is not None
        [membership] = person.memberships
        stands = any(one.reason is SuppressionReason.UNSUBSCRIBE and one.stands() for one in person.suppressions)
        assert stands == (membership.state is ConsentState.UNSUBSCRIBED)
        return stands

    def post(self, path: str, **headers: str) -> httpx.Response:
        """What a mailbox provider posts."""
        return self.client.post(path, data=ONE_CLICK, headers=headers)


def parsed(taken: Taken) -> EmailMessage:
    message = email.message_from_bytes(taken.message, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def path_of(mail: EmailMessage) -> str:
    """The path of the https URI in List-Unsubscribe, as a mailbox provider reads it (RFC 2369)."""
    [url] = [one for one in re.findall(r"<([^>]*)>", str(mail["List-Unsubscribe"])) if one.startswith("https:")]
    assert url.startswith(f"{SITE}/")
    assert not urlsplit(url).query
    return str(urlsplit(url).path)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("rfc8058") / "project"
    with smtp_server() as server:
        project = LiveProject(folder, server.port)
        (folder / "dkim.pem").write_text(pem(KEY))
        project.edit(project.config, "http://localhost:8000", SITE)
        signing = '{ selector = "s1", domain = "news.example.com", key = { file = "dkim.pem" } }'
        project.edit(project.config, "dkim = {}", f"dkim = {signing}")
        mailto = "unsubscribe+{token}@news.example.com"
        project.edit(project.config, 'unsubscribe_mailto = ""', f'unsubscribe_mailto = "{mailto}"')
        project.people(PEOPLE)
        assert project.send(confirm=PEOPLE).code == 0
        assert len(server.taken) == PEOPLE
        loaded = parts.settings(project.config)
        with (
            web_server(loaded, Metrics(), host="127.0.0.1", port=0) as web,
            httpx.Client(base_url=web.url, timeout=30) as client,
        ):
            yield Sent(project, server, parts.audience_store(loaded), client, list(parts.signing_keys(loaded)))


# the mail


def test_each_mail_has_one_field_of_each_kind(sent: Sent) -> None:
    for taken in sent.server.taken:
        head = taken.message.partition(b"\r\n\r\n")[0].lower()
        assert len(re.findall(rb"^list-unsubscribe:", head, re.MULTILINE)) == 1
        assert len(re.findall(rb"^list-unsubscribe-post:", head, re.MULTILINE)) == 1


def test_the_field_has_one_https_uri_and_at_most_a_mailto_beside_it(sent: Sent) -> None:
    for taken in sent.server.taken:
        uris = re.findall(r"<([^>]*)>", str(parsed(taken)["List-Unsubscribe"]))
        assert [urlsplit(uri).scheme for uri in uris] == ["https", "mailto"]


def test_the_post_field_has_the_one_pair(sent: Sent) -> None:
    for taken in sent.server.taken:
        assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in taken.message


def test_our_dkim_signature_covers_both_fields(sent: Sent) -> None:
    for taken in sent.server.taken:
        assert valid(taken.message, KEY)
        signed = re.sub(rb"\s", b"", taken.message.partition(b"h=")[2].partition(b";")[0]).lower().split(b":")
        assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(signed)
        assert not valid(taken.message.replace(b"/unsubscribe/", b"/unsubscribed/", 1), KEY)


def test_the_uri_names_recipient_and_list_by_itself(sent: Sent) -> None:
    address, path = sent.link()
    others = [taken.address for taken in sent.server.taken if taken.address != address]
    before = {other: sent.store.person(other.lower()) for other in others}
    assert sent.post(path).status_code == 200
    assert sent.left(address)
    assert {other: sent.store.person(other.lower()) for other in others} == before
    paths = {path_of(parsed(taken)) for taken in sent.server.taken}
    assert len(paths) == PEOPLE


def test_the_dry_run_makes_the_same_field(sent: Sent) -> None:
    live = {taken.address: str(parsed(taken)["List-Unsubscribe"]) for taken in sent.server.taken}
    assert sent.project.call("send", SLOT, "--dry-run", "--eml", "all").code == 0
    # that of everybody who has not left since
    files = sorted((sent.project.out / "messages").glob("*.eml"))
    assert files
    for file in files:
        mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        assert str(mail["List-Unsubscribe"]) == live[str(mail["To"].addresses[0].addr_spec)]


def test_the_token_is_opaque_and_cannot_be_guessed_or_moved(sent: Sent) -> None:
    address, path = sent.link()
    person = sent.store.person(address.lower())
    assert person is not None
    assert person.id is not None
    *_, newsletter, token = path.split("/")
    assert address.partition("@")[0] not in path
    links = LinkMaker(SITE, newsletter, sent.keys)
    foreign = LinkMaker(SITE, newsletter, ["another key that nobody here knows"])
    wrong = [
        token[:-1],
        token + "A",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.swapcase(),
        token[::-1],
        "A" * 32,
        "%00" * 32,
        str(person.id),
        links.token(Purpose.PREFERENCES, person.id),
        links.token(Purpose.CONFIRM, person.id),
        links.token(Purpose.TRACK, person.id),
        LinkMaker(SITE, "weekly", sent.keys).token(Purpose.UNSUBSCRIBE, person.id),
        foreign.token(Purpose.UNSUBSCRIBE, person.id),
    ]
    answers = [sent.post(f"/unsubscribe/{newsletter}/{one}") for one in wrong]
    answers += [sent.post(f"/unsubscribe/nothing/{token}"), sent.client.get(f"/unsubscribe/{newsletter}/{wrong[0]}")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(_steady(answer).items())) for answer in answers}) == 1
    assert not sent.left(address)
    # and the right one is right
    assert sent.post(path).status_code == 200
    assert sent.left(address)


@settings(max_examples=60)
@given(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=40))
def test_no_text_is_a_token(text: str) -> None:
    links = LinkMaker(SITE, "daily-buzz", ["k" * 40])
    assert links.subscriber_id(Purpose.UNSUBSCRIBE, text) is None


def test_an_old_key_still_unsubscribes_and_a_key_that_was_dropped_does_not(sent: Sent, tmp_path: Path) -> None:
    address, path = sent.link()
    person = sent.store.person(address.lower())
    assert person is not None
    assert person.id is not None
    for name in ("new", "old", "dropped"):
        (tmp_path / name).write_text(name * 20)
    config = sent.project.config.read_text("utf-8")
    for old, new in (
        ('secret_key = { env = "NEWSLETTER_SECRET_KEY" }', f'secret_key = {{ file = "{tmp_path}/new" }}'),
        ("secret_key_fallbacks = []", f'secret_key_fallbacks = [{{ file = "{tmp_path}/old" }}]'),
    ):
        assert old in config
        config = config.replace(old, new)
    rotated = sent.project.folder / "rotated.toml"
    rotated.write_text(config, "utf-8")
    tokens = {
        name: LinkMaker(SITE, "daily-buzz", [name * 20]).token(Purpose.UNSUBSCRIBE, person.id)
        for name in ("new", "old", "dropped")
    }
    with (
        web_server(parts.settings(rotated), Metrics(), host="127.0.0.1", port=0) as web,
        httpx.Client(base_url=web.url) as client,
    ):
        assert client.post(f"/unsubscribe/daily-buzz/{tokens['dropped']}", data=ONE_CLICK).status_code == 404
        assert not sent.left(address)
        assert client.post(f"/unsubscribe/daily-buzz/{tokens['old']}", data=ONE_CLICK).status_code == 200
        assert sent.left(address)
        assert client.post(f"/unsubscribe/daily-buzz/{tokens['new']}", data=ONE_CLICK).status_code == 200
        # the links of the mail that went out, signed with the generated key
        assert client.post(path, data=ONE_CLICK).status_code == 200


# the request and its answer


def test_the_answer_is_no_redirect(sent: Sent) -> None:
    _, path = sent.link()
    answer = sent.post(path)
    assert (answer.status_code, answer.history) == (200, [])
    assert "location" not in answer.headers
    assert answer.text == "You have left Daily Buzz\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_multipart_and_urlencoded_bodies_are_both_taken(sent: Sent) -> None:
    address, path = sent.link()
    multipart = sent.client.post(path, files={"List-Unsubscribe": (None, b"One-Click")})
    assert multipart.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert multipart.status_code == 200
    assert sent.left(address)
    address, path = sent.link()
    urlencoded = sent.client.post(path, content=b"List-Unsubscribe=One-Click", headers=URLENCODED)
    assert urlencoded.status_code == 200
    assert sent.left(address)
    assert multipart.content == urlencoded.content


def test_neither_cookies_nor_a_login_nor_anything_else_is_needed_or_given(sent: Sent) -> None:
    address, path = sent.link()
    bare = httpx.Request(
        "POST", sent.client.base_url.join(path), content=b"List-Unsubscribe=One-Click", headers=URLENCODED
    )
    assert set(bare.headers) == {"host", "content-length", "content-type"}
    answer = sent.client.send(bare)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert sent.left(address)
    # and what comes along changes nothing: a provider's own site is no attacker
    crossing = {"Origin": "https://mail.example", "Sec-Fetch-Site": "cross-site", "Cookie": "a=b"}
    assert sent.post(path, **crossing).content == answer.content


def test_get_and_head_change_nothing_and_show_one_button(sent: Sent) -> None:
    address, path = sent.link()
    before = sent.store.person(address.lower())
    for method in ("GET", "HEAD", "OPTIONS"):
        sent.client.request(method, path)
    page = sent.client.get(path, headers={"Accept": "text/html"})
    assert sent.store.person(address.lower()) == before
    assert page.status_code == 200
    assert page.text.count("<button") == 1
    assert '<form method="post">' in page.text  # to the same address
    assert address not in page.text
    local, _, domain = address.partition("@")
    assert f"{local[0]}…@{domain}" in page.text
    assert (page.headers["cache-control"], page.headers["x-robots-tag"]) == ("no-store", "noindex")
    # the button
    pressed = sent.client.post(path, data={"by": "page"}, headers={"Accept": "text/html"})
    assert pressed.status_code == 200
    assert "You have left Daily Buzz" in pressed.text
    assert 'href="/subscribe/daily-buzz"' in pressed.text
    assert sent.left(address)


def test_once_more_and_in_any_state_it_is_200(sent: Sent) -> None:
    address, path = sent.link()
    first = sent.post(path)
    once = sent.store.person(address.lower())
    again = sent.post(path)
    assert sent.store.person(address.lower()) == once
    links = LinkMaker(SITE, "daily-buzz", sent.keys)
    nobody = [f"/unsubscribe/daily-buzz/{links.token(Purpose.UNSUBSCRIBE, number)}" for number in (0, 987_654)]
    answers = [first, again, *(sent.post(one) for one in nobody)]

    key, now = address.lower(), dt.datetime.now(dt.UTC)
    person = sent.store.person(key)
    assert person is not None
    assert person.id is not None
    assert sent.store.pause(person.id, now + dt.timedelta(days=30))
    answers.append(sent.post(path))
    assert sent.store.suppress(key, SuppressionReason.COMPLAINT, None, source="test", now=now)
    answers.append(sent.post(path))
    assert sent.store.erase(key, source="test", now=now)
    answers.append(sent.post(path))
    assert sent.store.person_of(person.id) is None
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(_steady(answer).items())) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ""),
        (b"", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe=Two-Clicks", "application/x-www-form-urlencoded"),
        (b'{"List-Unsubscribe": "One-Click"}', "application/json"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"\xff\xfe\x00", "multipart/form-data"),
        (b"a=" + b"x" * 60_000, "application/x-www-form-urlencoded"),
    ],
)
def test_whatever_the_body_says_a_post_unsubscribes(sent: Sent, body: bytes, kind: str) -> None:
    """The RFC wants the pair there; whoever has the link and posts to it means it all the same."""
    address, path = sent.link()
    answer = sent.client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.text) == (200, "You have left Daily Buzz\n")
    assert sent.left(address)


# the table


def test_the_table_in_the_documentation_names_these_tests() -> None:
    text = (ROOT / "docs/reference/web.md").read_text("utf-8")
    section = text.partition("\n## Unsubscribe\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.* \| `(test_[a-z0-9_]+)` \|$", section, re.MULTILINE)
    ours = {name for name, one in globals().items() if name.startswith("test_") and callable(one)}
    assert sorted(rows) == sorted(ours - {"test_the_table_in_the_documentation_names_these_tests"})


def _steady(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
