"""Subscribing over real HTTP: the form, its JSON twin, and the page behind the link of the confirmation mail."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hostile_names import HOSTILE_NAMES
from public_site import CONFIG, said
from signup_sites import SignUpSite, eventually, link_in, signup_site, text_of

from newsletter.audience.model import ConsentState
from newsletter.audience.people import LiftedBy, SuppressionReason
from newsletter.audience.signups import SignUp
from newsletter.delivery.links import Purpose
from newsletter.store.tables import metadata
from newsletter.store.tables import signup as signup_table
from newsletter.wiring.confirmations import signup_store
from newsletter.wiring.parts import database

PAGE = "/subscribe/daily-buzz"
OURS = "http://127.0.0.1:8000"
THEIRS = "https://www.example.com"
#: The header fields of a confirmation mail.
FIELDS = [
    *("Auto-Submitted", "Content-Type", "Date", "Feedback-ID", "From"),
    *("MIME-Version", "Message-ID", "Reply-To", "Subject", "To"),
]
SIGNUP = f'allowed_origins = ["{THEIRS}"]\nper_ip = "100000/h"\nper_domain = "100000/h"\nin_total = "100000/h"'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignUpSite]:
    with signup_site(tmp_path_factory.mktemp("site"), signup=SIGNUP) as site:
        yield site


@pytest.fixture
def site(served: SignUpSite) -> SignUpSite:
    """The site with nobody in it, and no mail on its way."""
    eventually(lambda: not due(served))
    with database(served.loaded).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "setting":
                connection.execute(sa.delete(table))
    served.server.taken.clear()
    return served


def due(site: SignUpSite) -> int:
    with database(site.loaded).connect() as connection:
        rows = sa.select(sa.func.count()).where(signup_table.c.due_at.is_not(None), signup_table.c.mailed_at.is_(None))
        return int(connection.execute(rows.select_from(signup_table)).scalar_one())


def request_of(site: SignUpSite, address: str = "anna@example.com") -> SignUp:
    [found] = signup_store(site.loaded).of_person(address)
    return found


def state(site: SignUpSite, address: str = "anna@example.com") -> ConsentState | None:
    person = site.store.person(address)
    return person.memberships[0].state if person and person.memberships else None


@contextmanager
def statements() -> Iterator[list[str]]:
    """What the threads that answer requests ask of the database within the block."""
    heard: list[str] = []

    def hear(*said: Any) -> None:
        if threading.current_thread().name.startswith("AnyIO"):
            heard.append(said[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


def bytes_of(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, headers, answer.content


class TestForm:
    def test_somebody_asks_confirms_and_is_subscribed_with_all_of_it_on_record(self, site: SignUpSite) -> None:
        form = site.get(PAGE)
        assert form.status_code == 200
        wording = re.search(r'<p class="note">(By pressing[^<]+)</p>', form.text)
        assert wording
        assert "Check your inbox" in said(site.post(PAGE, {"email": " Anna@Example.com ", "name": "Anna"}, origin=OURS))
        mail = site.mail()
        assert mail["To"].addresses[0].addr_spec == "Anna@example.com"
        link = link_in(mail)
        assert state(site) is None

        question = site.get(link)
        assert "Press the button, and Daily Buzz comes to A…@example.com" in said(question)
        assert "anna@" not in question.text.lower()
        done = site.post(link)
        assert (done.status_code, "You are subscribed" in said(done)) == (200, True)
        person = site.person()
        assert (person.name, state(site)) == ("Anna", ConsentState.SUBSCRIBED)
        [consent] = person.consents
        assert consent.wording == wording[1]
        assert consent.ip == "127.0.0.1"
        assert re.fullmatch(
            rf"web {OURS}/subscribe/daily-buzz, asked for on \d{{4}}-\d\d-\d\d \d\d:\d\d UTC from 127\.0\.0\.1, "
            "confirmed by mail",
            consent.source,
        )
        settings = re.search(r'href="(/preferences/[^"]+)"', done.text)
        assert settings
        assert site.get(settings[1]).status_code == 200
        assert 'href="/archive/daily-buzz"' in done.text

    def test_the_answer_is_the_same_whoever_it_is(self, site: SignUpSite) -> None:
        """Bytes, status and header fields; and a form that only a program fills in gets it, too."""
        site.subscribe("known@example.com")
        site.subscribe("erased@example.com")
        site.store.erase("erased@example.com", source="test", now=dt.datetime.now(dt.UTC))
        for reason in (SuppressionReason.COMPLAINT, SuppressionReason.HARD_BOUNCE, SuppressionReason.UNSUBSCRIBE):
            site.store.suppress(f"{reason}@example.com", reason, None, source="test", now=dt.datetime.now(dt.UTC))
        who = ["new", "new", "known", "erased", "complaint", "hard_bounce", "unsubscribe"]
        pages = [bytes_of(site.post(PAGE, {"email": f"{one}@example.com"})) for one in who]
        pages.append(bytes_of(site.post(PAGE, {"email": "robot@example.com", "topic": "pills"})))
        assert pages == [pages[0]] * len(pages)
        assert pages[0][0] == 200
        documents = [bytes_of(site.client.post(PAGE, json={"email": f"{one}@example.com"})) for one in who]
        documents.append(bytes_of(site.client.post(PAGE, json={"email": "robot@example.com", "topic": "pills"})))
        assert documents == [documents[0]] * len(documents)
        assert (documents[0][0], json.loads(documents[0][2])) == (202, {"status": "check_your_inbox"})

        eventually(lambda: not due(site) and len(site.server.taken) >= 4)
        mailed = sorted(one.address for one in site.server.taken)
        assert mailed == [f"{one}@example.com" for one in ("erased", "known", "new", "unsubscribe")]
        assert signup_store(site.loaded).of_person("robot@example.com") == []

    def test_the_work_is_the_same_whoever_it_is(self, site: SignUpSite) -> None:
        """Time is no oracle: the same number of statements, and none that looks at people."""
        site.subscribe("known@example.com")
        for reason in (SuppressionReason.COMPLAINT, SuppressionReason.UNSUBSCRIBE):
            site.store.suppress(f"{reason}@example.com", reason, None, source="test", now=dt.datetime.now(dt.UTC))
        site.asks("again@example.com")
        site.asks("confirmed@example.com")
        site.mail(2)
        [link] = [link_in(mail) for mail in site.mails if mail["To"] == "confirmed@example.com"]
        site.post(link)
        done = {}
        for who in ("new", "known", "complaint", "unsubscribe", "again", "confirmed"):
            with statements() as heard:
                site.asks(f"{who}@example.com")
            done[who] = heard
        assert {len(heard) for heard in done.values()} == {len(done["new"])}
        assert done["new"] == done["known"] == done["complaint"] == done["unsubscribe"]
        tables = {
            one for heard in done.values() for text in heard for one in re.findall(r"(?:FROM|INTO|UPDATE) (\w+)", text)
        }
        assert tables - {"SET"} == {"signup", "signup_count"}

    @pytest.mark.parametrize("typed", ["anna@", "anna", "a b@example.com", "anna@example.com\r\nBcc: x@example.net"])
    def test_what_cannot_be_mailed_is_said_beside_its_field_and_what_was_typed_is_kept(
        self, site: SignUpSite, typed: str
    ) -> None:
        answer = site.post(PAGE, {"email": typed, "name": 'A"nna <b>'})
        assert answer.status_code == 422
        assert 'aria-describedby="email-error"' in answer.text
        assert re.search(r'id="email-error" role="alert">That is no address', answer.text)
        assert 'value="A&#34;nna &lt;b&gt;"' in answer.text
        refused = site.client.post(PAGE, json={"email": typed})
        assert (refused.status_code, list(refused.json()["errors"])) == (422, ["email"])
        assert due(site) == 0

    def test_an_empty_form_says_what_is_missing(self, site: SignUpSite) -> None:
        assert "Please type your email address" in said(site.post(PAGE))
        assert site.client.post(PAGE, json={"name": "Anna"}).json()["errors"]["email"].startswith("Please type")

    @pytest.mark.parametrize(
        "body",
        [b"{", b"[]", b'"x"', b"\xff", b"[" * 50_000, b'{"email": {"$ne": 1}}', b'{"email": "\\ud800@x.example"}'],
    )
    def test_json_that_is_none_is_refused_in_words(self, site: SignUpSite, body: bytes) -> None:
        answer = site.client.post(PAGE, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}
        assert answer.json()

    def test_a_form_of_any_shape_is_no_error_of_ours(self, site: SignUpSite) -> None:
        multipart = site.client.post(PAGE, files={"email": (None, "eve@example.com"), "name": (None, "Eve")})
        assert multipart.status_code == 200
        assert request_of(site, "eve@example.com").request.name == "Eve"
        upload = site.client.post(PAGE, files={"email": ("list.csv", b"eve@example.com")})
        assert upload.status_code == 400
        broken = site.client.post(PAGE, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"})
        assert broken.status_code in {400, 422}
        assert (
            site.client.post(PAGE, content=b"email=a%40b.example", headers={"Content-Type": "text/plain"}).status_code
            == 422
        )

    @pytest.mark.parametrize("newsletter", ["inner-circle", "nothing", "daily-buzz%2F", "..%2Fdaily-buzz"])
    @pytest.mark.parametrize("rest", ["", "/snippet"])
    def test_what_nobody_may_subscribe_to_is_not_there(self, site: SignUpSite, newsletter: str, rest: str) -> None:
        same = site.get("/subscribe/no-such-newsletter").content
        answer = site.get(f"/subscribe/{newsletter}{rest}")
        assert (answer.status_code, answer.content) == (404, same)
        if not rest:
            assert site.asks("anna@example.com", newsletter) == 404
            assert site.client.options(f"/subscribe/{newsletter}", headers={"Origin": THEIRS}).status_code == 404

    def test_get_and_head_change_nothing(self, site: SignUpSite) -> None:
        for path in (PAGE, f"{PAGE}/snippet", f"{PAGE}?email=anna@example.com"):
            assert site.get(path).status_code == site.client.head(path).status_code == 200
        assert signup_store(site.loaded).of_person("anna@example.com") == []

    def test_there_is_no_script_unless_work_is_to_be_proven(self, site: SignUpSite) -> None:
        page = site.get(PAGE)
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert site.get("/assets/proof-of-work.js").status_code == 404
        assert site.get(f"{PAGE}/challenge").status_code == 404


class TestNames:
    @pytest.mark.parametrize("kind", HOSTILE_NAMES)
    def test_a_name_is_kept_as_text_and_no_mail_repeats_it(self, site: SignUpSite, kind: str) -> None:
        """A stranger's name field must not become a stranger's mail."""
        body = json.dumps({"email": "anna@example.com", "name": HOSTILE_NAMES[kind]})
        answer = site.client.post(PAGE, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 202
        mail = site.mail()
        assert mail["To"].addresses[0].display_name == ""
        assert sorted(mail.keys()) == FIELDS
        whole = text_of(mail) + text_of(mail, "html")
        assert "victim" not in whole
        assert "alert(1)" not in whole
        link = link_in(mail)
        page = site.get(link).text + site.post(link).text
        assert "<script" not in page
        assert "onerror" not in page
        kept = site.person().name
        assert kept.isprintable() or not kept.isascii()
        assert "\n" not in kept
        assert "\r" not in kept

    def test_an_address_cannot_bring_header_fields_along(self, site: SignUpSite) -> None:
        for address in ("a@example.com\nBcc: v@example.net", "=?utf-8?q?a?=@example.com", '"a\r\nX: y"@example.com'):
            site.asks(address)
        eventually(lambda: not due(site))
        for mail in site.mails:
            assert mail["Bcc"] is None
            assert mail["X"] is None
            assert len(mail["To"].addresses) == 1


class TestConfirmation:
    def link(self, site: SignUpSite, address: str = "anna@example.com") -> str:
        before = len(site.server.taken)
        assert site.asks(address) == 200
        return link_in(site.mail(before + 1))

    def test_looking_at_the_link_confirms_nothing(self, site: SignUpSite) -> None:
        link = self.link(site)
        for _ in range(3):
            assert site.get(link).status_code == site.client.head(link).status_code == 200
        assert state(site) is None
        assert request_of(site).confirmed_at is None

    def test_who_left_since_is_not_brought_back_by_the_old_link(self, site: SignUpSite) -> None:
        link = self.link(site)
        site.post(link)
        assert "confirmed already" in said(site.post(link))
        site.store.unsubscribe("anna@example.com", None, source="test", now=dt.datetime.now(dt.UTC))
        answer = site.post(link)
        assert (answer.status_code, "confirmed already" in said(answer)) == (200, True)
        assert "confirmed already" in said(site.get(link))
        assert state(site) is ConsentState.UNSUBSCRIBED
        assert len(site.person().consents) == 1

    def test_who_left_before_comes_back_by_their_own_confirmation(self, site: SignUpSite) -> None:
        site.subscribe()
        site.store.unsubscribe("anna@example.com", None, source="test", now=dt.datetime.now(dt.UTC))
        site.post(self.link(site))
        assert state(site) is ConsentState.SUBSCRIBED

    @pytest.mark.parametrize("reason", ["hard_bounce", "complaint", "manual"])
    def test_who_must_not_be_mailed_is_told_whom_to_write_to_and_not_why(self, site: SignUpSite, reason: str) -> None:
        link = self.link(site)
        site.store.suppress(
            "anna@example.com", SuppressionReason(reason), None, source="test", now=dt.datetime.now(dt.UTC)
        )
        answer = site.post(link)
        assert "editor@example.com" in said(answer)
        for word in ("bounce", "complain", "manual", "spam"):
            assert word not in answer.text.lower()
        assert state(site) is None
        site.store.lift("anna@example.com", None, by=LiftedBy.OPERATOR, note="", now=dt.datetime.now(dt.UTC))
        assert "You are subscribed" in said(site.post(link))

    def test_a_link_that_is_too_old_leads_to_the_form(self, site: SignUpSite) -> None:
        link = self.link(site)
        with database(site.loaded).begin() as connection:
            connection.execute(sa.update(signup_table).values(expires_at=1))
        for answer in (site.get(link), site.post(link)):
            assert answer.status_code == 410
            assert f'href="{PAGE}"' in answer.text
        with database(site.loaded).begin() as connection:
            connection.execute(sa.delete(signup_table))
        assert site.post(link).content == site.get(link).content
        assert site.get(link).status_code == 410
        assert state(site) is None

    def test_a_wrong_token_is_the_same_page_whatever_is_wrong_with_it(self, site: SignUpSite) -> None:
        link = self.link(site)
        token = link.rpartition("/")[2]
        flipped = ("A" if token[0] != "A" else "B") + token[1:]
        wrong = [
            f"/confirm/daily-buzz/{flipped}",
            f"/confirm/weekly/{token}",
            f"/confirm/nothing/{token}",
            f"/confirm/daily-buzz/{token[:-1]}",
            f"/confirm/daily-buzz/{site.token(1)}",
            f"/confirm/daily-buzz/{site.token(1, purpose=Purpose.UNSUBSCRIBE)}",
        ]
        answers = {(one.status_code, one.content) for path in wrong for one in (site.get(path), site.post(path))}
        assert answers == {(404, site.get("/nothing").content)}
        nobody = site.post(f"/confirm/daily-buzz/{site.token(0, purpose=Purpose.CONFIRM)}")
        assert nobody.status_code == 410

    def test_another_site_cannot_press_the_button(self, site: SignUpSite) -> None:
        link = self.link(site)
        assert site.post(link, sec_fetch_site="cross-site", origin=THEIRS).status_code == 403
        assert site.post(link, origin="https://evil.example").status_code == 403
        assert state(site) is None

    def test_requests_of_before_can_be_confirmed_where_nobody_may_ask_any_more(self, tmp_path: Path) -> None:
        with signup_site(tmp_path / "site") as open_site:
            link = self.link(open_site)
        with signup_site(tmp_path / "site", signup="enabled = false") as closed:
            assert closed.get(PAGE).status_code == 404
            assert closed.asks("ben@example.com") == 404
            assert closed.get("/confirm/daily-buzz/x").status_code == 404
            assert "You are subscribed" in said(closed.post(link))
            assert f'href="{PAGE}"' not in closed.post(link).text


class TestOtherSites:
    def test_only_named_sites_may_post_and_read_the_answer(self, site: SignUpSite) -> None:
        json_body = {"email": "anna@example.com"}
        cross = {"Origin": THEIRS, "Sec-Fetch-Site": "cross-site"}
        answer = site.client.post(PAGE, json=json_body, headers=cross)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, THEIRS)
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
        assert request_of(site).request.source == f"web {THEIRS}"
        for origin in ("https://evil.example", "null", f"{THEIRS}.evil.example", "http://www.example.com"):
            for given in ({}, {"Sec-Fetch-Site": "cross-site"}):
                refused = site.client.post(PAGE, json=json_body, headers={"Origin": origin, **given})
                assert refused.status_code == 403
                assert "access-control-allow-origin" not in refused.headers

    def test_a_browser_may_ask_first(self, site: SignUpSite) -> None:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        answer = site.client.options(PAGE, headers={"Origin": THEIRS, **asked})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == THEIRS
        assert "content-type" in answer.headers["access-control-allow-headers"].lower()
        refused = site.client.options(PAGE, headers={"Origin": "https://evil.example", **asked})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers

    def test_an_error_can_be_read_by_the_site_that_caused_it(self, site: SignUpSite) -> None:
        answer = site.client.post(PAGE, json={"email": "x"}, headers={"Origin": THEIRS})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (422, THEIRS)

    def test_a_program_may_say_what_it_showed(self, site: SignUpSite) -> None:
        site.client.post(PAGE, json={"email": "anna@example.com", "wording": "Yes,\n\x00send it"})
        request = request_of(site).request
        assert (request.source, request.wording) == ("api", "Yes, send it")


class TestLanguages:
    def test_pages_and_mail_are_in_the_newsletters_language(self, tmp_path: Path) -> None:
        german = CONFIG.replace('title = "Daily Buzz"', 'title = "Daily Buzz"\nlanguage = "de"')
        with signup_site(tmp_path / "site", config=german) as site:
            page = site.get(PAGE)
            assert '<html lang="de"' in page.text
            assert "Ihre E-Mail-Adresse" in said(page)
            assert "Sehen Sie in Ihr Postfach" in said(site.post(PAGE, {"email": "anna@example.com"}))
            mail = site.mail()
            assert mail["Subject"] == "Bitte bestätigen: Daily Buzz"
            assert "Bitte bestätigen Sie" in text_of(mail)
            assert "Ihr Abo ist bestellt" in said(site.post(link_in(mail)))
            assert site.person().language == "de"
            assert "Your email address" in said(site.get("/subscribe/weekly"))
