"""The preferences page over real HTTP: what people see of themselves, and what its forms do."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from hostile_names import HOSTILE_NAMES
from public_site import CONFIG, NOW, PublicSite, said

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, Person, SuppressionReason
from newsletter.audience.signups import Quota, SignUpRequest
from newsletter.delivery.links import Purpose
from newsletter.delivery.names import RunName
from newsletter.events.model import Event, EventKind
from newsletter.events.tracking import Hit, HitKind, Verdict
from newsletter.store.audience import SqlAudience
from newsletter.store.events import SqlEvents
from newsletter.store.signups import SqlSignUps
from newsletter.store.tables import metadata
from newsletter.store.tracking import SqlTracking
from newsletter.wiring.parts import database

NOBODY = 4_000_000
#: A day that is ahead whenever the tests run, and not too far.
TODAY = dt.datetime.now(dt.UTC).date()
SOON = TODAY + dt.timedelta(days=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    with PublicSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(served: PublicSite) -> PublicSite:
    """The site with nobody in it."""
    with database(served.loaded).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "setting":
                connection.execute(sa.delete(table))
    return served


def page_of(site: PublicSite, number: int, newsletter: str = "daily-buzz") -> str:
    return f"/preferences/{newsletter}/{site.token(number, newsletter)}"


def gets(person: Person) -> set[str]:
    """The lists they are subscribed to."""
    return {one.list for one in person.memberships if one.state is ConsentState.SUBSCRIBED}


def everything(site: PublicSite) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the database."""
    with database(site.loaded).connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table))]
            for name, table in metadata.tables.items()
        }


class TestThePage:
    def test_it_shows_what_is_kept_in_forms_and_the_address_masked(self, site: PublicSite) -> None:
        number = site.subscribe(name="Anna")
        answer = site.get(page_of(site, number))
        assert answer.status_code == 200
        assert "a…@example.com" in said(answer)
        assert "anna@example.com" not in answer.text
        assert 'name="name" value="Anna"' in answer.text
        assert 'value="daily-buzz" checked' in answer.text
        assert re.search(r'value="weekly">', answer.text)
        assert "inner-circle" not in answer.text  # not public, and not theirs
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        assert "<script" not in answer.text
        assert " style=" not in answer.text

    def test_every_field_has_a_label(self, site: PublicSite) -> None:
        page = site.get(page_of(site, site.subscribe())).text
        fields = re.findall(r'<(?:input|select) (?!type="hidden")(?!type="checkbox")[^>]*\bid="([a-z]+)"', page)
        assert set(fields) == {"name", "language", "timezone", "until"}
        assert all(f'<label for="{one}">' in page for one in fields)
        assert len(re.findall(r'<label class="check"><input type="checkbox"', page)) == page.count('type="checkbox"')

    def test_a_newsletter_that_is_not_public_shows_to_those_who_get_it(self, site: PublicSite) -> None:
        number = site.subscribe("anna@example.com", "inner-circle")
        assert 'value="inner-circle" checked' in site.get(page_of(site, number)).text

    def test_reading_it_changes_nothing(self, site: PublicSite) -> None:
        path = page_of(site, site.subscribe())
        before = everything(site)
        for one in (path, f"{path}/erase"):
            assert site.get(one).status_code == 200
            assert site.client.head(one).status_code == 200
        assert site.get(f"{path}/download").status_code == 405
        assert everything(site) == before

    def test_it_is_in_the_newsletters_language(self, tmp_path: Path) -> None:
        config = CONFIG.replace('title = "Daily Buzz"', 'title = "Daily Buzz"\nlanguage = "de"')
        with PublicSite(tmp_path, config) as site:
            answer = site.get(page_of(site, site.subscribe()))
            assert '<html lang="de"' in answer.text
            assert "Ihre Einstellungen" in said(answer)

    def test_a_newsletter_that_is_no_more_still_has_its_readers(self, site: PublicSite) -> None:
        number = site.subscribe()
        answer = site.get(page_of(site, number, "long-gone"))
        assert answer.status_code == 200
        assert 'value="daily-buzz" checked' in answer.text


class TestTokens:
    def test_whatever_is_wrong_with_one_the_answer_is_the_same(self, site: PublicSite) -> None:
        number = site.subscribe()
        good = site.token(number)
        wrong = {
            good[:-1] + ("A" if good[-1] != "A" else "B"),
            good[:-1],
            good + "A",
            "x",
            site.token(number, purpose=Purpose.UNSUBSCRIBE),
            site.token(number, "weekly"),
            "A" * 32,
            "%00" * 32,
            "Ä" * 16,
        }
        answers = {
            (answer.status_code, answer.text)
            for token in wrong
            for end in ("", "/erase")
            for answer in (
                site.get(f"/preferences/daily-buzz/{token}{end}"),
                site.post(f"/preferences/daily-buzz/{token}{end}"),
                site.post(f"/preferences/daily-buzz/{token}/download"),
                site.get(f"/preferences/no-such/{token}"),
            )
        }
        assert len(answers) == 1
        assert answers.pop()[0] == 404

    @pytest.mark.parametrize(
        "charset", ["utf-8", "utf-7", "undefined", "punycode", "unicode_escape", "raw_unicode_escape", "zlib", "utf-16"]
    )
    def test_a_form_in_any_charset_is_no_error_of_ours(self, site: PublicSite, charset: str) -> None:
        path = f"/preferences/daily-buzz/{site.token(site.subscribe())}"
        fields = {"action": "save", "name": "+2AA-\\ud800", "language": "+2AA-\\ud800"}
        body = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items())
        kind = f"multipart/form-data; boundary=x; charset={charset}"
        for where in (path, "/subscribe/daily-buzz"):
            answer = site.client.post(where, content=f"{body}--x--\r\n".encode(), headers={"Content-Type": kind})
            assert answer.status_code in {200, 400, 422}

    def test_a_form_of_another_site_is_refused(self, site: PublicSite) -> None:
        path = page_of(site, site.subscribe())
        before = everything(site)
        for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            for end in ("", "/erase", "/download"):
                assert site.post(path + end, {"action": "resume"}, **headers).status_code == 403
        assert everything(site) == before

    @pytest.mark.parametrize("number", [0, NOBODY])
    def test_nobodys_page_is_the_same_for_all_and_does_nothing(self, site: PublicSite, number: int) -> None:
        site.subscribe("ben@example.com", "weekly")
        path = page_of(site, number)
        before = everything(site)
        pages = [site.get(path), site.post(path, {"action": "save", "newsletter": "weekly", "name": "X"})]
        pages += [site.post(path, {"action": "pause", "until": SOON.isoformat()}), site.post(f"{path}/download")]
        assert {answer.status_code for answer in pages} == {200}
        assert len({answer.text for answer in pages}) == 1
        assert "belongs to nobody" in said(pages[0])
        assert site.get(f"{path}/erase").status_code == site.post(f"{path}/erase").status_code == 200
        assert everything(site) == before

    def test_an_erased_person_and_nobody_see_the_same(self, site: PublicSite) -> None:
        number = site.subscribe()
        assert site.store.erase("anna@example.com", source="test", now=NOW)
        pages = [site.get(page_of(site, one)).text.replace(site.token(one), "TOKEN") for one in (number, NOBODY, 0)]
        assert len(set(pages)) == 1


class TestNewsletters:
    def test_ticking_joins_with_a_consent_and_unticking_leaves_all_its_lists(self, site: PublicSite) -> None:
        number = site.subscribe("anna@example.com", "weekly-old")
        path = page_of(site, number)
        assert 'value="weekly" checked' in site.get(path).text
        answer = site.post(path, {"action": "save", "was": ["weekly"], "newsletter": ["daily-buzz"]})
        assert answer.status_code == 200
        assert 'role="status"' in answer.text
        assert "You get Daily Buzz" in said(answer)
        assert "You do not get The Weekly any more" in said(answer)
        person = site.person()
        assert gets(person) == {"daily-buzz"}
        [consent] = [one for one in person.consents if one.list == "daily-buzz"]
        assert (consent.source, consent.ip) == ("preferences", "127.0.0.1")
        assert consent.wording in ("Daily Buzz: " + text for text in [words(answer)])
        left = {one.list for one in person.suppressions if one.reason is SuppressionReason.UNSUBSCRIBE}
        assert left == {"weekly", "weekly-old"}
        assert 'value="weekly">' in answer.text
        assert 'value="daily-buzz" checked' in answer.text

    def test_whoever_left_comes_back_by_a_tick(self, site: PublicSite) -> None:
        number = site.subscribe()
        assert site.store.unsubscribe("anna@example.com", None, source="test", now=NOW)
        answer = site.post(page_of(site, number), {"action": "save", "newsletter": ["daily-buzz"]})
        assert 'value="daily-buzz" checked' in answer.text
        assert not any(one.stands("daily-buzz") for one in site.person().suppressions)

    @pytest.mark.parametrize(
        "reason", [SuppressionReason.HARD_BOUNCE, SuppressionReason.COMPLAINT, SuppressionReason.MANUAL]
    )
    def test_what_no_tick_ends_is_told_with_whom_to_write_to(self, site: PublicSite, reason: SuppressionReason) -> None:
        number = site.subscribe()
        assert site.store.suppress("anna@example.com", reason, None, source="test", now=NOW)
        page = site.get(page_of(site, number)).text
        assert 'value="daily-buzz">' in page  # not ticked: they do not get it
        answer = site.post(page_of(site, number), {"action": "save", "newsletter": ["daily-buzz"], "name": "Anna"})
        assert answer.status_code == 200
        assert "cannot be sent to your address" in said(answer)
        assert "editor@example.com" in said(answer)
        assert 'role="alert"' in answer.text
        assert 'value="daily-buzz">' in answer.text
        assert any(one.stands("daily-buzz") for one in site.person().suppressions)
        assert site.person().name == "Anna"  # the rest of the form counts

    def test_nobody_gets_into_a_newsletter_that_is_not_public(self, site: PublicSite) -> None:
        number = site.subscribe()
        site.post(page_of(site, number), {"action": "save", "newsletter": ["daily-buzz", "inner-circle", "no-such"]})
        assert gets(site.person()) == {"daily-buzz"}

    def test_a_page_that_was_open_for_long_changes_only_what_was_changed_in_it(self, site: PublicSite) -> None:
        number = site.subscribe()
        path = page_of(site, number)
        site.post(path, {"action": "save", "was": ["daily-buzz"], "newsletter": ["daily-buzz", "weekly"]})
        # an older page, without the weekly
        site.post(path, {"action": "save", "was": ["daily-buzz"], "newsletter": ["daily-buzz"], "name": "Anna"})
        assert gets(site.person()) == {"daily-buzz", "weekly"}

    @pytest.mark.parametrize("fields", [{}, {"action": "save"}, {"action": "nonsense", "newsletter": "weekly"}])
    def test_a_form_that_says_nothing_changes_nothing(self, site: PublicSite, fields: dict[str, str]) -> None:
        number = site.subscribe(name="Anna")
        before = everything(site)
        assert site.post(page_of(site, number), fields).status_code == 200
        assert everything(site) == before

    def test_saying_it_twice_is_saying_it_once(self, site: PublicSite) -> None:
        number = site.subscribe()
        fields: dict[str, str | list[str]] = {"action": "save", "was": ["daily-buzz"], "newsletter": ["weekly"]}
        site.post(page_of(site, number), fields)
        before = site.person()
        site.post(page_of(site, number), fields)
        after = site.person()
        assert gets(after) == gets(before) == {"weekly"}
        assert len(after.suppressions) == len(before.suppressions)


def words(answer: httpx.Response) -> str:
    """The sentence beside the newsletters."""
    found = re.search(r'<p class="note">([^<]*)</p>\n</fieldset>', answer.text)
    assert found is not None
    return found[1]


class TestOneself:
    def test_name_language_and_zone_are_kept_cleaned(self, site: PublicSite) -> None:
        number = site.subscribe(name="A")
        fields = {"action": "save", "name": " Anna\u202e  Maria\x00 ", "language": "de", "timezone": "warsaw"}
        answer = site.post(page_of(site, number), fields)
        assert "Saved." in said(answer)
        person = site.person()
        assert (person.name, person.language, person.timezone) == ("Anna Maria", "de", "Europe/Warsaw")
        site.post(page_of(site, number), {"action": "save", "name": "", "language": "", "timezone": ""})
        person = site.person()
        assert (person.name, person.language, person.timezone) == ("", "", "")

    def test_a_mistake_stands_beside_its_field_and_what_was_typed_is_kept(self, site: PublicSite) -> None:
        number = site.subscribe(name="Anna")
        fields: dict[str, str | list[str]] = {
            **{"action": "save", "name": "Berta", "language": "de", "timezone": "Mars <i>"},
            **{"was": ["daily-buzz"], "newsletter": ["weekly"]},
        }
        before = everything(site)
        answer = site.post(page_of(site, number), fields)
        assert answer.status_code == 422
        assert 'value="Mars &lt;i&gt;"' in answer.text
        assert 'aria-describedby="timezone-hint timezone-error" aria-invalid="true"' in answer.text
        assert re.search(r'id="timezone-error" role="alert">We do not know this time zone', answer.text)
        assert 'name="name" value="Berta"' in answer.text
        assert '<option value="de" lang="de" selected>' in answer.text
        assert 'value="weekly" checked' in answer.text
        assert 'value="daily-buzz">' in answer.text
        assert re.search(r'name="was" value="daily-buzz"', answer.text)
        assert everything(site) == before

    def test_a_language_that_is_on_no_list_is_a_mistake_unless_it_is_theirs(self, site: PublicSite) -> None:
        site.store.subscribe(
            Subscriber(key="pl@example.com", address="pl@example.com", language="pl"),
            "daily-buzz",
            consent=Consent("daily-buzz", NOW),
            now=NOW,
        )
        path = page_of(site, site.number("pl@example.com"))
        assert '<option value="pl" lang="pl" selected>' in site.get(path).text
        assert site.post(path, {"action": "save", "language": "pl"}).status_code == 200
        answer = site.post(path, {"action": "save", "language": "xx"})
        assert answer.status_code == 422
        assert 'id="language-error" role="alert"' in answer.text
        assert site.person("pl@example.com").language == "pl"

    @pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
    def test_no_name_becomes_markup(self, site: PublicSite, name: str) -> None:
        number = site.subscribe()
        text = name.encode("utf-8", "replace").decode()
        answer = site.post(page_of(site, number), {"action": "save", "name": text})
        assert answer.status_code == 200
        kept = site.person().name
        assert f'name="name" value="{escape_attribute(kept)}"' in answer.text
        assert "<script" not in answer.text.lower()
        assert "onerror=" not in re.sub(r'value="[^"]*"', "", answer.text)
        assert "49" not in re.findall(r'name="name" value="([^"]*)"', answer.text)

    def test_other_fields_of_the_form_are_no_door(self, site: PublicSite) -> None:
        """Files, thousands of fields, and bodies that are no form."""
        path = page_of(site, site.subscribe())
        before = everything(site)
        sent = site.client.post(path, data={"action": "save"}, files={"name": ("x", b"y")})
        assert sent.status_code == 400
        assert site.post(path, {f"f{one}": "x" for one in range(600)}).status_code == 400
        assert site.client.post(path, json={"action": "save", "name": "X"}).status_code == 200
        assert site.client.post(path, content=b"\xff\xfe").status_code in {200, 400}
        assert everything(site) == before


def escape_attribute(text: str) -> str:
    return escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


class TestABreak:
    def test_until_a_day_by_the_newsletters_clock_and_then_by_their_own(self, site: PublicSite) -> None:
        number = site.subscribe("anna@example.com", "inner-circle")
        path = page_of(site, number, "inner-circle")  # in Hong Kong
        answer = site.post(path, {"action": "pause", "until": SOON.isoformat()})
        assert "no mail until" in said(answer)
        start = dt.datetime.combine(SOON, dt.time(), dt.UTC)
        assert site.person().paused_until == start - dt.timedelta(hours=8)
        site.post(path, {"action": "save", "timezone": "Asia/Tokyo"})
        site.post(path, {"action": "pause", "until": SOON.isoformat()})
        assert site.person().paused_until == start - dt.timedelta(hours=9)
        answer = site.post(path, {"action": "resume"})
        assert "You get mail again" in said(answer)
        assert site.person().paused_until is None

    def test_who_pauses_is_told_until_when_and_can_end_it(self, site: PublicSite) -> None:
        path = page_of(site, site.subscribe())
        assert "Send me mail again now" not in said(site.get(path))
        site.post(path, {"action": "pause", "until": SOON.isoformat()})
        page = site.get(path)
        assert "Send me mail again now" in said(page)
        assert f'value="{SOON.isoformat()}"' in page.text

    @pytest.mark.parametrize("typed", ["", "soon", "2020-01-01", TODAY.isoformat(), "9999-12-31", "2026-13-01"])
    def test_a_day_that_cannot_be_is_told_beside_its_field(self, site: PublicSite, typed: str) -> None:
        path = page_of(site, site.subscribe())
        answer = site.post(path, {"action": "pause", "until": typed})
        assert answer.status_code == 422
        assert 'id="until-error" role="alert"' in answer.text
        assert f'value="{typed}"' in answer.text
        assert site.person().paused_until is None


class TestOpens:
    CONFIG = CONFIG + "[newsletters.weekly.tracking]\nopens = true\n"

    def test_consent_is_asked_of_those_who_get_what_is_measured_and_recorded_both_ways(self, tmp_path: Path) -> None:
        with PublicSite(tmp_path, self.CONFIG) as site:
            assert 'name="opens"' not in site.get(page_of(site, site.subscribe("ben@example.com"))).text
            path = page_of(site, site.subscribe("anna@example.com", "weekly"))
            page = site.get(path).text
            assert '<input type="checkbox" name="opens" value="yes">' in page  # not ticked
            answer = site.post(path, {"action": "save", "opens": "yes", "opens_were": "no"})
            person = site.person()
            assert person.measures_opens
            [record] = person.opens_consents
            assert (record.given, record.ip) == (True, "127.0.0.1")
            assert record.wording in answer.text.replace("&#39;", "'")
            assert "The Weekly" in record.wording
            assert 'name="opens" value="yes" checked' in answer.text
            site.post(path, {"action": "save", "opens_were": "yes"})
            person = site.person()
            assert not person.measures_opens
            assert [one.given for one in person.opens_consents] == [True, False]

    def test_nothing_is_recorded_where_nothing_was_said_or_asked(self, tmp_path: Path) -> None:
        with PublicSite(tmp_path, self.CONFIG) as site:
            path = page_of(site, site.subscribe("anna@example.com", "weekly"))
            site.post(path, {"action": "save", "name": "Anna"})
            site.post(path, {"action": "save", "opens": "yes"})  # a form without the question
            assert site.person().opens_consents == ()
            other = page_of(site, site.subscribe("ben@example.com"))
            site.post(other, {"action": "save", "opens": "yes", "opens_were": "no"})
            assert site.person("ben@example.com").opens_consents == ()

    def test_who_consented_can_take_it_back_whatever_they_get_by_then(self, tmp_path: Path) -> None:
        with PublicSite(tmp_path, self.CONFIG) as site:
            number = site.subscribe("anna@example.com", "weekly")
            site.store.measure_opens(number, True, wording="yes", ip="", now=NOW)
            site.store.unsubscribe("anna@example.com", "weekly", source="test", now=NOW)
            path = page_of(site, number)
            assert 'name="opens" value="yes" checked' in site.get(path).text
            site.post(path, {"action": "save", "opens_were": "yes"})
            assert not site.person().measures_opens


class TestTheirData:
    def test_the_file_holds_everything_that_is_held(self, site: PublicSite) -> None:
        number = site.subscribe(name="Anna")
        engine, run = database(site.loaded), RunName("daily-buzz", "2026-01-07")
        SqlEvents(engine).keep(
            [Event(EventKind.SOFT_BOUNCE, NOW, "test", b"f" * 16, run, number, reason="mailbox full")], now=NOW
        )
        SqlTracking(engine).record([Hit(run, HitKind.CLICK, 3, Verdict.HUMAN, NOW, number)])
        asked = SignUpRequest("weekly", "weekly", "anna@example.com", "anna@example.com", ip="192.0.2.7", wording="Yes")
        SqlSignUps(engine, b"k" * 32).ask(
            asked,
            [Quota("all", "", 10)],
            expires_after=dt.timedelta(days=7),
            again_after=dt.timedelta(days=1),
            now=NOW,
        )
        site.store.measure_opens(number, True, wording="I agree", ip="192.0.2.8", now=NOW)
        site.store.pause(number, NOW + dt.timedelta(days=9))
        answer = site.post(f"{page_of(site, number)}/download")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-disposition"] == 'attachment; filename="newsletter-data.json"'
        assert answer.headers["cache-control"] == "no-store"
        document = json.loads(answer.text)
        assert document["email"] == "anna@example.com"
        assert document["name"] == "Anna"
        assert document["consents"][0]["source"] == "test"
        assert document["events"][0]["reason"] == "mailbox full"
        assert document["clicks_and_opens"][0]["link"] == 3
        assert document["sign_ups"][0]["ip"] == "192.0.2.7"
        assert document["opens_consents"][0]["wording"] == "I agree"
        assert document["paused_until"] == "2026-01-16T06:30:00+00:00"
        assert document["deliveries"] == []
        assert document["suppressions"] == []

    def test_it_is_theirs_alone(self, site: PublicSite) -> None:
        number = site.subscribe()
        site.subscribe("ben@example.com", name="Ben")
        assert "ben" not in site.post(f"{page_of(site, number)}/download").text.lower()

    def test_no_table_with_a_person_in_it_is_forgotten(self) -> None:
        """Whoever adds a table with people in it: the file must have it, and then name it here."""
        known = {"subscriber", "membership", "consent", "suppression", "suppression_lift", "delivery_note", "batch"}
        known |= {"signup", "event", "personal_hit", "tracking_consent"}
        personal = {
            name
            for name, table in metadata.tables.items()
            if {"subscriber_id", "key", "address", "members"} & set(table.columns.keys())
        }
        # members of an attempt are places in its batch; the key of a notice is the cause of an alert
        assert personal - known == {"attempt", "notice"}


class TestErasing:
    def test_one_page_with_one_button_then_all_is_gone_but_a_hash(self, site: PublicSite) -> None:
        number = site.subscribe("anna@example.com", "daily-buzz", name="Anna Sinclair")
        path = f"{page_of(site, number)}/erase"
        page = site.get(path)
        assert page.text.count("<button") == 1
        assert "a…@example.com" in said(page)
        answer = site.post(path)
        assert answer.status_code == 200
        assert "keyed hash" in said(answer)
        left = everything(site)
        assert "anna" not in repr(left).lower()
        [kept] = left["suppression"]
        assert "hmac:" in repr(kept)
        assert "preferences" in repr(kept)
        again = site.post(path)
        assert (again.status_code, again.text) == (200, answer.text)
        assert everything(site) == left

    @pytest.mark.parametrize(
        "fields",
        [
            {"action": "save", "newsletter": ["daily-buzz", "weekly"], "name": "Anna", "opens": "yes"},
            {"action": "pause", "until": "2099-01-01"},
            {"action": "resume"},
        ],
    )
    def test_who_is_erased_while_another_page_is_sent_stays_erased(
        self, site: PublicSite, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str | list[str]]
    ) -> None:
        number = site.subscribe("anna@example.com", "daily-buzz", name="Anna Sinclair")
        look = SqlAudience.person_of

        def person_of(store: SqlAudience, asked: int) -> Person | None:
            found = look(store, asked)
            store.erase("anna@example.com", source="another page", now=NOW - dt.timedelta(days=1))
            return found

        day = (dt.datetime.now(dt.UTC) + dt.timedelta(days=9)).date().isoformat()
        with monkeypatch.context() as patched:
            patched.setattr(SqlAudience, "person_of", person_of)
            answer = site.post(page_of(site, number), fields | ({"until": day} if "until" in fields else {}))
        assert answer.status_code == 200
        assert "Nothing was changed" in said(answer)
        assert "anna" not in repr(everything(site)).lower()

    def test_nothing_is_left_in_the_files_either(self, tmp_path: Path) -> None:
        with PublicSite(tmp_path) as site:
            number = site.subscribe("unmistakable-anna@example.com", name="Unmistakable")
            assert site.post(f"{page_of(site, number)}/erase").status_code == 200
            files = [file for file in (tmp_path / "var").rglob("*") if file.is_file()]
            assert files
            assert not any(b"nmistakable" in file.read_bytes() for file in files)
