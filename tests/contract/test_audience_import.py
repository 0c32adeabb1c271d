"""Imports: what they add, what they leave alone, and that they can be repeated, on both databases."""

from __future__ import annotations

import csv
import datetime as dt
import errno
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from audience_tables import LATER, NOW, contents, import_text, many_people
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.audience.model import Subscriber
from newsletter.audience.people import (
    Consent,
    ImportSummary,
    ImportTerms,
    LiftedBy,
    Person,
    Selection,
    SuppressionReason,
)
from newsletter.errors import AudienceError, GuardRefused, OutputError
from newsletter.pipeline.import_subscribers import Claims, import_subscribers
from newsletter.store.audience import SqlAudience
from newsletter.store.suppressions import erased_key

HOSTILE = (
    b"\xef\xbb\xbfEmail,Name,Tags,Timezone,Consent_at,City\r\n"
    b"good@example.com,Good,vip,Europe/Lisbon,2025-11-03T08:00:00Z,Porto\r\n"
    b"control@example.com,Con\x07\x1b[31mtrol,,,,\r\n"
    b'crlf@example.com,"Ann\r\nBcc: victim@example.com",,,,\r\n'
    b'formula@example.com,"=HYPERLINK(""http://evil.example"",""x"")",,,,+1234\r\n'
    b"long@example.com," + b"L" * 5000 + b",,,,\r\n"
    b"GOOD@Example.COM,Again,press,,,\r\n"
    b'"quoted@example.com","two\nlines, and a ""quote""",,,,\r\n'
    b"nul@example.com,Nu\x00l,,,,\r\n"
    b"nul\x00@example.com,Nul,,,,\r\n"
    b"latin@example.com,Jos\xe9,,,,K\xc3\xb6ln\r\n"
    b"j\xfcrg@example.com,J\xfcrg,,,,\r\n"
    b"short@example.com\r\n"
    b"wide@example.com,Wide,,,,,too,wide\r\n"
    b",Nobody,,,,\r\n"
    b"not an address,Nobody,,,,\r\n"
    b"\r\n"
    b"mars@example.com,Mars,,Mars/Olympus,never,\r\n"
    b"rtl@example.com,\xe2\x80\xaeevil,,,,\r\n"
    b"=cmd@example.com,Formula,,,,\r\n"
    b'open@example.com,"never closed,,,,\r\n'
    b"last@example.com,Last,,,,\r\n"
)


def known(store: SqlAudience, key: str) -> Person:
    person = store.person(key)
    assert person is not None
    return person


def states(store: SqlAudience, key: str) -> dict[str, str]:
    return {one.list: one.state.value for one in known(store, key).memberships}


def planned(store: SqlAudience, name: str = "buzz") -> int:
    return store.count(Selection((name,))).get("planned", 0)


def sums(done: ImportSummary) -> dict[str, int]:
    names = ("rows", "new", "updated", "unchanged", "suppressed", "invalid", "duplicate", "pending")
    return {name: getattr(done, name) for name in names if getattr(done, name)}


def at(day: str) -> dt.datetime:
    return dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)


class FailingDisk(io.BytesIO):
    """A file whose end the disk cannot give."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or self._fail()

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(size) or self._fail()

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(size) or self._fail()

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(buffer) or len(self._fail())

    def _fail(self) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


class TestHostileFile:
    def test_every_row_ends_in_the_table_or_in_the_rejects_and_again_changes_nothing(
        self, audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
    ) -> None:
        rejects = tmp_path / "people.rejects.csv"
        done = import_text(audience_store, HOSTILE, rejects)
        expected = {"rows": 20, "new": 13, "pending": 12, "duplicate": 1, "invalid": 6}
        assert sums(done.summary) == expected
        assert done.rejects == rejects
        with rejects.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [(row["row"], row["Email"]) for row in rows] == [
            ("12", "nul @example.com"),
            ("14", "jürg@example.com"),
            ("16", "wide@example.com"),
            ("17", ""),
            ("18", "not an address"),
            ("23", "open@example.com"),
        ]
        assert all(row["reason"] for row in rows)
        names = {key: known(audience_store, f"{key}@example.com").name for key in ("control", "crlf", "long", "nul")}
        assert names == {
            "control": "Con [31mtrol",
            "crlf": "Ann Bcc: victim@example.com",
            "long": "L" * 200,
            "nul": "Nu l",
        }
        assert known(audience_store, "quoted@example.com").name == 'two lines, and a "quote"'
        assert known(audience_store, "latin@example.com").name == "José"
        assert known(audience_store, "latin@example.com").attributes == {"city": "Köln"}
        assert known(audience_store, "mars@example.com").timezone == ""
        assert known(audience_store, "good@example.com").tags == ("press", "vip")
        before = contents(database)
        again = import_text(audience_store, HOSTILE, rejects, now=LATER).summary
        assert sums(again) == {"rows": 20, "unchanged": 13, "duplicate": 1, "invalid": 6}
        assert contents(database) == before

    def test_the_rejects_can_be_mended_and_imported(self, audience_store: SqlAudience, tmp_path: Path) -> None:
        rejects = tmp_path / "people.rejects.csv"
        import_text(audience_store, "email,name,city\nana(at)example.com,=Ana,Porto\n", rejects)
        assert rejects.stat().st_mode & 0o777 == 0o600
        text = rejects.read_text(encoding="utf-8")
        assert "'=Ana" in text
        done = import_text(audience_store, text.replace("(at)", "@"), tmp_path / "none.csv")
        assert sums(done.summary) == {"rows": 1, "new": 1, "pending": 1}
        assert done.rejects is None
        assert (known(audience_store, "ana@example.com").name, known(audience_store, "ana@example.com").attributes) == (
            "=Ana",
            {"city": "Porto"},
        )
        assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["people.rejects.csv"]

    def test_a_file_that_cannot_be_read_to_its_end_changes_nothing(
        self, audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
    ) -> None:
        before = contents(database)
        file = FailingDisk((many_people(200) + "bad\n").encode())
        with pytest.raises(AudienceError, match="Input/output error"):
            import_subscribers(
                audience_store,
                file,
                "people.csv",
                tmp_path / "rejects.csv",
                choose_list=lambda: "buzz",
                now=NOW,
            )
        assert contents(database) == before
        assert not list(tmp_path.glob("*.csv"))
        assert not list(tmp_path.glob(".*partial"))

    def test_rejects_that_cannot_be_written_stop_the_import(
        self, audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
    ) -> None:
        with pytest.raises(OutputError, match="No such file or directory"):
            import_text(audience_store, "email\na@example.com\nbad\n", tmp_path / "nowhere" / "rejects.csv")
        assert contents(database)["subscriber"] == []


class TestValues:
    def test_a_file_replaces_what_it_says_otherwise_and_adds_tags_and_attributes(
        self, audience_store: SqlAudience
    ) -> None:
        first = "email,name,tags,timezone,language,city,age\nAna@example.com,Ana,vip,Europe/Lisbon,pt,Porto,7\n"
        second = "email,name,tags,timezone,language,city,dog\nana@EXAMPLE.com,Ana Sá,press;a b,,,Faro,Rex\n"
        import_text(audience_store, first)
        assert sums(import_text(audience_store, second, now=LATER).summary) == {"rows": 1, "updated": 1}
        ana = known(audience_store, "ana@example.com")
        assert (ana.address, ana.name, ana.timezone, ana.language) == (
            "Ana@example.com",
            "Ana Sá",
            "Europe/Lisbon",
            "pt",
        )
        assert ana.tags == ("a-b", "press", "vip")
        assert ana.attributes == {"city": "Faro", "age": "7", "dog": "Rex"}
        assert ana.created_at == NOW
        assert sums(import_text(audience_store, second).summary) == {"rows": 1, "unchanged": 1}

    def test_rows_of_one_person_are_merged_the_first_that_says_something_wins(
        self, audience_store: SqlAudience
    ) -> None:
        text = (
            "email,list,name,tags,language,city,consent_at\n"
            "b@example.com,buzz,,x,,Rome,\nB@example.com,weekly,Bo,y,it,Paris,2025-01-01\nb@example.com,buzz,Bob,z,fr,,2025-02-02\n"
        )
        assert sums(import_text(audience_store, text).summary) == {"rows": 3, "new": 2, "duplicate": 1}
        bo = known(audience_store, "b@example.com")
        assert (bo.name, bo.language, bo.tags, bo.attributes) == ("Bo", "it", ("x", "y", "z"), {"city": "Rome"})
        assert states(audience_store, bo.key) == {"buzz": "subscribed", "weekly": "subscribed"}
        assert sums(import_text(audience_store, text).summary) == {"rows": 3, "unchanged": 2, "duplicate": 1}

    def test_a_row_for_several_lists_counts_once(self, audience_store: SqlAudience) -> None:
        text = "email,list\na@example.com,buzz;weekly\n"
        assert sums(import_text(audience_store, text).summary) == {"rows": 1, "new": 1, "pending": 1}
        more = "email,list\na@example.com,buzz;weekly;extra\na@example.com,weekly\n"
        assert sums(import_text(audience_store, more).summary) == {"rows": 2, "new": 1, "pending": 1, "duplicate": 1}
        assert states(audience_store, "a@example.com") == dict.fromkeys(("buzz", "weekly", "extra"), "pending")

    def test_a_dry_run_says_what_would_be_and_changes_nothing(
        self, audience_store: SqlAudience, database: sa.Engine
    ) -> None:
        audience_store.suppress("r7@mail7.example.com", SuppressionReason.COMPLAINT, None, source="provider", now=NOW)
        before = contents(database)
        told = import_text(audience_store, many_people(100), dry_run=True).summary
        assert contents(database) == before
        assert told == import_text(audience_store, many_people(100)).summary
        assert told.suppressed == 1

    def test_an_empty_file_is_no_error(self, audience_store: SqlAudience) -> None:
        assert sums(import_text(audience_store, "email\n").summary) == {}


class TestConsent:
    def test_consent_is_recorded_once_and_moves_pending_to_subscribed(self, audience_store: SqlAudience) -> None:
        import_text(audience_store, "email\na@example.com\n")
        said = (
            "email,consent_at,consent_source,consent_wording,consent_ip\na@example.com,2025-03-04,fair,Yes!,192.0.2.1\n"
        )
        assert sums(import_text(audience_store, said, now=LATER).summary) == {"rows": 1, "updated": 1}
        assert sums(import_text(audience_store, said, now=LATER).summary) == {"rows": 1, "unchanged": 1}
        ana = known(audience_store, "a@example.com")
        assert states(audience_store, ana.key) == {"buzz": "subscribed"}
        (consent,) = ana.consents
        assert (consent.at, consent.source, consent.wording, consent.ip) == (
            at("2025-03-04"),
            "fair",
            "Yes!",
            "192.0.2.1",
        )
        assert sums(import_text(audience_store, "email\na@example.com\n").summary) == {"rows": 1, "unchanged": 1}
        assert states(audience_store, ana.key) == {"buzz": "subscribed"}

    def test_a_consent_of_the_future_is_none_no_claim_covers_it_and_a_note_tells(
        self, audience_store: SqlAudience, database: sa.Engine
    ) -> None:
        # NOW is the 7th, 6:30; a time without a zone may be that of a place where it is a day later
        text = "email,consent_at\na@example.com,2026-01-08T06:31\nb@example.com,2036-01-07\nc@example.com,2026-01-08\n"
        done = import_text(audience_store, text, claims=Claims("the fair"))
        assert sums(done.summary) == {"rows": 3, "new": 3, "pending": 2}
        assert (done.rejects, done.notes) == (
            None,
            ["line 2: '2026-01-08T06:31' is in the future, so no consent is recorded (2 rows)"],
        )
        assert known(audience_store, "a@example.com").consents == ()
        assert states(audience_store, "a@example.com") == {"buzz": "pending"}
        assert [one.at for one in known(audience_store, "c@example.com").consents] == [at("2026-01-08")]
        before = contents(database)
        assert sums(import_text(audience_store, text).summary) == {"rows": 3, "unchanged": 3}
        assert contents(database) == before

    def test_an_operators_claim_is_recorded_with_its_source_for_rows_without_a_consent(
        self, audience_store: SqlAudience
    ) -> None:
        text = "email,consent_at,consent_source\na@example.com,,\nb@example.com,2025-01-01,form\nc@example.com,no,\n"
        done = import_text(audience_store, text, claims=Claims(confirmed_by="sheets of the fair"))
        assert sums(done.summary) == {"rows": 3, "new": 3, "pending": 1}
        (claim,) = known(audience_store, "a@example.com").consents
        assert (claim.at, claim.source, claim.wording) == (NOW, "operator: sheets of the fair", "import of people.csv")
        (own,) = known(audience_store, "b@example.com").consents
        assert (own.at, own.source) == (at("2025-01-01"), "form")
        assert states(audience_store, "c@example.com") == {"buzz": "pending"}
        again = import_text(audience_store, text, claims=Claims(confirmed_by="other words"), now=LATER)
        assert sums(again.summary) == {"rows": 3, "unchanged": 3}
        assert len(known(audience_store, "a@example.com").consents) == 1


class TestSuppression:
    @pytest.mark.parametrize("reason", [one for one in SuppressionReason if one is not SuppressionReason.ERASED])
    def test_no_consent_column_and_no_claim_brings_somebody_back(
        self, audience_store: SqlAudience, database: sa.Engine, reason: SuppressionReason
    ) -> None:
        import_text(audience_store, "email,name,consent_at\na@example.com,Ana,2025-01-01\n")
        audience_store.suppress("a@example.com", reason, "buzz", source="provider", now=NOW)
        audience_store.suppress("new@example.com", reason, None, source="provider", now=NOW)
        before = contents(database)
        text = "email,name,consent_at\nA@example.com,Other,2026-01-06\nnew@example.com,New,2026-01-06\n"
        done = import_text(audience_store, text, claims=Claims(confirmed_by="everybody"), now=LATER)
        assert sums(done.summary) == {"rows": 2, "suppressed": 2}
        assert contents(database) == before
        assert planned(audience_store) == 0

    def test_somebody_suppressed_for_one_list_may_join_another(self, audience_store: SqlAudience) -> None:
        audience_store.suppress("a@example.com", SuppressionReason.MANUAL, "buzz", source="cli", now=NOW)
        text = "email,list,consent_at\na@example.com,buzz;weekly,2025-01-01\n"
        assert sums(import_text(audience_store, text).summary) == {"rows": 1, "new": 1}
        assert states(audience_store, "a@example.com") == {"weekly": "subscribed"}

    def test_somebody_erased_stays_away(self, audience_store: SqlAudience, database: sa.Engine) -> None:
        import_text(audience_store, "email,consent_at\na@example.com,2025-01-01\n")
        audience_store.erase("a@example.com", source="letter", now=NOW)
        before = contents(database)
        text = "email,consent_at,list\nA@EXAMPLE.com,2026-01-06,buzz\na@example.com,,weekly\n"
        assert sums(import_text(audience_store, text, now=LATER).summary) == {"rows": 2, "suppressed": 2}
        before["mailing_list"] = contents(database)["mailing_list"]
        assert contents(database) == before

    def test_what_a_file_says_of_somebody_erased_is_kept_under_the_hash_and_brings_nobody_back(
        self, audience_store: SqlAudience, database: sa.Engine
    ) -> None:
        import_text(audience_store, "email,consent_at\na@example.com,2025-01-01\n")
        audience_store.erase("a@example.com", source="letter", now=NOW)
        text = (
            "email,list,status,consent_at\nA@EXAMPLE.com,buzz,complained,2025-01-01\na@example.com,buzz,bounced,\n"
            "a@example.com,buzz,unsubscribed,\na@example.com,weekly,unsubscribed,\na@example.com,weekly,subscribed,2025-01-01\n"
        )
        before = contents(database)
        import_text(audience_store, text, dry_run=True)
        assert contents(database) == before
        assert sums(import_text(audience_store, text, now=LATER).summary) == {"rows": 5, "suppressed": 5}
        found = [(one.key, one.reason.value, one.list) for one in audience_store.suppressions()]
        hashed = erased_key(ERASURE_KEY, "a@example.com")
        reasons = ("complaint", "erased", "hard_bounce", "unsubscribe")
        assert sorted(found) == [(hashed, reason, None) for reason in reasons]
        after = contents(database)
        assert not any(after[name] for name in ("subscriber", "membership", "consent"))
        assert "a@example.com" not in repr(after).casefold()
        assert sums(import_text(audience_store, text, now=LATER).summary) == {"rows": 5, "suppressed": 5}
        assert contents(database) == after
        # being erased is no way around a complaint
        with pytest.raises(GuardRefused, match="complaint, hard_bounce"):
            audience_store.lift("a@example.com", "buzz", by=LiftedBy.CONFIRMATION, note="", now=LATER)

    def test_the_same_old_file_does_not_undo_the_return_of_somebody_erased(self, audience_store: SqlAudience) -> None:
        audience_store.erase("a@example.com", source="letter", now=NOW)
        left = "email,status\na@example.com,complained\na@example.com,unsubscribed\n"
        import_text(audience_store, left)
        import_text(audience_store, "email\na@example.com\n", claims=Claims(reconsent="wrote to us"), now=LATER)
        assert planned(audience_store) == 1
        import_text(audience_store, left, now=LATER + dt.timedelta(days=1))
        assert planned(audience_store) == 1

    def test_reconsent_lifts_subscribes_and_is_recorded(self, audience_store: SqlAudience) -> None:
        import_text(audience_store, "email,consent_at\na@example.com,2025-01-01\n")
        audience_store.unsubscribe("a@example.com", None, source="one-click", now=NOW)
        audience_store.erase("gone@example.com", source="letter", now=NOW)
        text = "email\na@example.com\ngone@example.com\n"
        done = import_text(audience_store, text, claims=Claims(reconsent="wrote to us"), now=LATER)
        assert sums(done.summary) == {"rows": 2, "new": 1, "updated": 1}
        assert planned(audience_store) == 2
        ana = known(audience_store, "a@example.com")
        assert ana.consents[-1].source == "operator: wrote to us"
        (suppression, *_) = ana.suppressions
        assert [(one.list, one.by, one.note) for one in suppression.lifted_for] == [("buzz", "operator", "wrote to us")]
        again = import_text(audience_store, text, claims=Claims(reconsent="wrote to us"), now=LATER)
        assert sums(again.summary) == {"rows": 2, "unchanged": 2}

    def test_reconsent_for_a_whole_list_of_people_who_left_is_refused(
        self, audience_store: SqlAudience, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("newsletter.store.importing._MOST_LIFTED", 2)
        for key in "abc":
            audience_store.unsubscribe(f"{key}@example.com", "buzz", source="one-click", now=NOW)
        before = contents(database)
        text = "email\na@example.com\nb@example.com\nc@example.com\n"
        with pytest.raises(GuardRefused, match="more than 2 people"):
            import_text(audience_store, text, claims=Claims(reconsent="all of them"))
        assert contents(database) == before

    def test_rows_that_say_somebody_left_suppress_them_once_and_for_good(
        self, audience_store: SqlAudience, database: sa.Engine
    ) -> None:
        import_text(audience_store, "email,consent_at\na@example.com,2025-01-01\nb@example.com,2025-01-01\n")
        left = (
            "email,status,consent_at\na@example.com,unsubscribed,2025-01-01\nB@example.com,bounced,\n"
            "new@example.com,unsubscribed,\nnew@example.com,unsubscribed,\n"
        )
        done = import_text(audience_store, left, claims=Claims(confirmed_by="everybody"), now=LATER)
        assert sums(done.summary) == {"rows": 4, "suppressed": 4}
        found = [(one.key, one.reason.value, one.list) for one in audience_store.suppressions()]
        assert sorted(found) == [
            ("a@example.com", "unsubscribe", "buzz"),
            ("b@example.com", "hard_bounce", None),
            ("new@example.com", "unsubscribe", "buzz"),
        ]
        assert states(audience_store, "a@example.com") == {"buzz": "unsubscribed"}
        assert planned(audience_store) == 0
        before = contents(database)
        import_text(audience_store, left, now=LATER + dt.timedelta(days=1))
        assert contents(database) == before

    def test_the_same_old_file_does_not_undo_a_return(self, audience_store: SqlAudience) -> None:
        left = "email,status\na@example.com,unsubscribed\n"
        import_text(audience_store, left)
        back = "email\na@example.com\n"
        import_text(audience_store, back, claims=Claims(reconsent="came back"), now=LATER)
        import_text(audience_store, left, now=LATER + dt.timedelta(days=1))
        assert planned(audience_store) == 1

    @pytest.mark.parametrize("state", ["unsubscribed", "complained"])
    @pytest.mark.parametrize(
        ("left_at", "again", "news"),
        [
            ("2026-01-01", "2026-02-01", True),
            ("2026-01-01", "2026-01-01", False),
            ("2026-01-01", "2025-06-01", False),
            ("2026-01-01", "2026-01-10", False),  # the day they came back
            ("", "2026-02-01", True),
            ("", "2025-06-01", False),
        ],
    )
    def test_a_departure_after_somebody_came_back_counts_whatever_the_name_of_the_file(
        self, audience_store: SqlAudience, database: sa.Engine, state: str, left_at: str, again: str, news: bool
    ) -> None:
        said = "email,state,left_at,consent_at\na@example.com,{},{},{}\n"
        import_text(audience_store, said.format("subscribed", "", "2025-01-01"), now=at("2025-01-02"))
        import_text(audience_store, said.format(state, left_at, ""), now=at("2026-01-02"))
        assert planned(audience_store) == 0
        ana, came_back = Subscriber("a@example.com", "a@example.com"), Consent("buzz", at("2026-01-10"))
        audience_store.resubscribe(ana, "buzz", consent=came_back, why="wrote to us", now=at("2026-01-10"))
        before = contents(database)
        summary = import_text(audience_store, said.format(state, again, ""), now=at("2026-02-02")).summary
        assert sums(summary) == {"rows": 1, "suppressed" if news else "unchanged": 1}
        assert planned(audience_store) == (not news)
        assert news or contents(database) == before
        after = contents(database)
        assert import_text(audience_store, said.format(state, again, ""), now=at("2026-02-03")).summary == summary
        assert contents(database) == after

    @pytest.mark.parametrize("named", [True, False])
    def test_of_a_file_without_dates_the_name_tells_whether_it_is_an_old_one_and_standard_input_has_none(
        self, audience_store: SqlAudience, named: bool
    ) -> None:
        left = Subscriber("a@example.com", "a@example.com", left=SuppressionReason.UNSUBSCRIBE)
        terms = ImportTerms("buzz", "people.csv" if named else "standard input", named=named)
        for year, told in ((2024, True), (2025, not named)):
            summary = audience_store.import_rows([left], terms, now=at(f"{year}-01-01"))
            assert sums(summary) == {"rows": 1, "suppressed" if told else "unchanged": 1}
            came_back = Consent("buzz", at(f"{year}-02-01"))
            assert audience_store.resubscribe(left, "buzz", consent=came_back, why="", now=came_back.at) == told
        assert sums(audience_store.import_rows([left], replace(terms, source="other.csv"), now=at("2026-01-01"))) == {
            "rows": 1,
            "suppressed": 1,
        }

    def test_somebody_who_left_again_while_they_were_out_stays_out_with_a_consent_from_between(
        self, audience_store: SqlAudience
    ) -> None:
        for day in ("2025-01-01", "2025-08-01"):
            import_text(audience_store, f"email,state,left_at\na@example.com,unsubscribed,{day}\n")
        audience_store.lift("a@example.com", None, by=LiftedBy.OPERATOR, note="", now=NOW)
        for day, subscribed in (("2025-06-01", 0), ("2025-08-02", 1)):
            import_text(audience_store, f"email,consent_at\na@example.com,{day}\n", now=LATER)
            assert planned(audience_store) == subscribed

    def test_who_left_and_who_stays_in_one_file_is_out(self, audience_store: SqlAudience) -> None:
        text = "email,status,consent_at\na@example.com,,2025-01-01\na@example.com,unsubscribed,\n"
        assert sums(import_text(audience_store, text).summary) == {"rows": 2, "suppressed": 2}
        assert audience_store.person("a@example.com") is not None
        assert planned(audience_store) == 0


_KEYS = st.sampled_from(["a@example.com", "b@example.com", "c@example.com"])
_ROWS = st.builds(
    Subscriber,
    key=_KEYS,
    address=st.just("kept@example.com"),
    name=st.sampled_from(["", "Ann", "Bo"]),
    lists=st.sampled_from([(), ("buzz",), ("weekly",), ("buzz", "weekly")]),
    tags=st.sampled_from([(), ("x",), ("y", "x")]),
    language=st.sampled_from(["", "en", "pt"]),
    consent_at=st.none() | st.sampled_from([at("2025-01-01"), at("2025-06-01")]),
    consent_source=st.sampled_from(["", "form"]),
    attributes=st.sampled_from([{}, {"city": "Rome"}, {"city": "Faro", "dog": "Rex"}]),
    left=st.none() | st.none() | st.sampled_from([SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT]),
)


def test_any_file_imported_twice_changes_nothing_the_second_time(database: sa.Engine) -> None:
    store = SqlAudience(database, ERASURE_KEY)

    @settings(max_examples=40 if database.dialect.name == "sqlite" else 15)
    @given(st.lists(_ROWS, max_size=6), st.lists(_ROWS, max_size=6), st.sampled_from(["", "claimed"]))
    def twice(earlier: Sequence[Subscriber], rows: Sequence[Subscriber], claim: str) -> None:
        empty_tables(database)
        store.import_rows(earlier, ImportTerms("buzz", "earlier.csv"), now=NOW)
        terms = ImportTerms("buzz", "file.csv", confirmed_by=claim)
        rows = [replace(row, address=row.key) for row in rows]
        first = store.import_rows(rows, terms, now=LATER)
        before = contents(database)
        again = store.import_rows(rows, terms, now=LATER + dt.timedelta(hours=1))
        assert contents(database) == before
        assert (again.new, again.updated) == (0, 0)
        assert (again.duplicate, again.suppressed) == (first.duplicate, first.suppressed)
        assert again.unchanged == first.new + first.updated + first.unchanged

    twice()
