"""Subscriber files: what is read, what is rejected and why, and what cannot be read at all."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tracemalloc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from newsletter.audience import csv_lines
from newsletter.audience.csv_columns import Origin
from newsletter.audience.csv_file import Reject, SubscriberCsv
from newsletter.audience.model import Subscriber
from newsletter.audience.people import SuppressionReason
from newsletter.audience.spreadsheets import guarded, unguarded
from newsletter.errors import AudienceError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def opened(text: str | bytes, mapped: Mapping[str, str] | None = None, own_list: str = "daily") -> SubscriberCsv:
    data = text.encode() if isinstance(text, str) else text
    return SubscriberCsv(io.BytesIO(data), "people.csv", own_list=own_list, mapped=mapped)


def rows(text: str | bytes, mapped: Mapping[str, str] | None = None) -> list[Subscriber | Reject]:
    return list(opened(text, mapped).rows())


def subscriber(text: str | bytes, mapped: Mapping[str, str] | None = None) -> Subscriber:
    (row,) = rows(text, mapped)
    assert isinstance(row, Subscriber)
    return row


def summed(found: list[Subscriber | Reject]) -> list[str | tuple[int, str]]:
    """Addresses of the good rows; line and reason of the bad ones."""
    return [(row.line, row.reason) if isinstance(row, Reject) else row.address for row in found]


OPEN = "a quotation mark is left open"
TOO_LONG = "the line has more than 100,000 characters"


class TestColumns:
    def test_every_column_finds_its_place_and_others_become_attributes(self) -> None:
        row = subscriber(
            "Email,Name,List,Tags,Timezone,Language,Consent_at,Consent_source,Home town\n"
            'ana@example.com,"Sá, Ana",daily;evening,vip|press,Europe/Lisbon,pt,2025-11-03T08:00:00+01:00,form,Porto\n',
        )
        assert row.name == "Sá, Ana"
        assert row.lists == ("daily", "evening")
        assert row.tags == ("vip", "press")
        assert (row.timezone, row.language) == ("Europe/Lisbon", "pt")
        assert (row.consent_at, row.consent_source) == (dt.datetime.fromisoformat("2025-11-03T08:00:00+01:00"), "form")
        assert row.attributes == {"home_town": "Porto"}
        assert row.place == "people.csv:2"

    def test_a_column_is_mapped_to_a_meaning_or_left_out(self) -> None:
        row = subscriber(
            "Mail 2,Who,Age,Town\na@example.com,Ann,7,Rome\n", {"Mail 2": "email", "who": "name", "Age": ""}
        )
        assert (row.address, row.name, row.attributes) == ("a@example.com", "Ann", {"town": "Rome"})

    def test_two_columns_of_one_name_keep_both_values(self) -> None:
        assert subscriber("email,x,x,\na@example.com,1,2,3\n").attributes == {"x": "1", "x_2": "2", "column_4": "3"}

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_told_by_the_header(self, delimiter: str) -> None:
        assert subscriber(f"email{delimiter}name\r\nana@example.com{delimiter}Ana\r\n").name == "Ana"

    def test_a_spreadsheet_may_name_the_delimiter(self) -> None:
        assert subscriber("sep=;\r\nemail;name\r\nana@example.com;Ana\r\n").place == "people.csv:3"

    @pytest.mark.parametrize(
        ("text", "mapped", "says"),
        [
            ("name\nAna\n", {}, "people.csv:1: no column `email`; found name"),
            ("", {}, "no column `email`; found nothing"),
            ("email,name,Name\n", {}, "two columns for `name`"),
            ("email,name\n", {"nmae": "name"}, "no column 'nmae'"),
            ('email,"name\n', {}, "not valid CSV: a quotation mark is left open"),
            (
                b"PK\x03\x04" + bytes(range(256)),
                {},
                "people.csv:1: this is no CSV file: it looks like an Excel workbook",
            ),
        ],
    )
    def test_a_header_that_names_no_address_is_one_error(
        self, text: str | bytes, mapped: Mapping[str, str], says: str
    ) -> None:
        with pytest.raises(AudienceError) as caught:
            rows(text, mapped)
        assert says in str(caught.value)


class TestCells:
    def test_without_consent_a_subscriber_is_pending(self) -> None:
        row = subscriber("email,consent_at\nana@example.com, \n")
        assert (row.left, row.consent_at, row.consent_unclear) == (None, None, False)

    @pytest.mark.parametrize("value", ["yes", "no", "0001-01-01T00:00:00Z", "1970-01-01", "2025-13-01", "07/01/2025"])
    def test_a_consent_that_is_no_date_is_none_and_is_told(self, value: str) -> None:
        csv = opened(f"email,consent_at\nana@example.com,{value}\n")
        (row,) = csv.rows()
        assert isinstance(row, Subscriber)
        assert (row.consent_at, row.consent_unclear) == (None, True)
        assert csv.notes()[0].startswith(f"line 2: {value!r} is no date")

    def test_an_unknown_time_zone_is_left_empty_and_told(self) -> None:
        csv = opened("email,timezone\na@example.com,Mars/Olympus\nb@example.com,X\nc@example.com,Asia/Tokyo\n")
        assert [row.timezone for row in csv.rows() if isinstance(row, Subscriber)] == ["", "", "Asia/Tokyo"]
        assert csv.notes() == ["line 2: 'Mars/Olympus' is no time zone (Europe/Lisbon), left empty (2 rows)"]

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("A\x07na\r\nBcc: x@example.com", "A na Bcc: x@example.com"),
            ("Ana\x00\x1b[31m", "Ana [31m"),
            ("  Ana\u00a0 Sá\t", "Ana Sá"),
            ("=HYPERLINK(1)", "=HYPERLINK(1)"),
            ("'=1+1", "=1+1"),
            ("'Ana", "'Ana"),
            ("x" * 5000, "x" * 200),
        ],
    )
    def test_a_bad_name_is_cleaned_and_the_person_kept(self, name: str, kept: str) -> None:
        quoted = name.replace('"', '""')
        assert subscriber(f'email,name\nana@example.com,"{quoted}"\n').name == kept

    def test_what_is_missing_at_the_end_of_a_row_is_empty(self) -> None:
        assert summed(rows("email,name,city\na@example.com\nb@example.com,B,,,\n")) == [
            "a@example.com",
            "b@example.com",
        ]

    @given(st.text(max_size=40))
    @example("'=1")
    @example("''+")
    def test_the_guard_against_formulas_comes_off_again(self, text: str) -> None:
        assert unguarded(guarded(text)) == text
        assert guarded(text)[:1] not in {*"=+-@\t\r"} - {""}


class TestEncodings:
    TEXT = "email,name\r\nj@bücher.example,Jürg €\r\n"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_the_encoding_is_found(self, encoding: str) -> None:
        row = subscriber(self.TEXT.encode(encoding))
        assert (row.address, row.name) == ("j@xn--bcher-kva.example", "Jürg €")

    def test_utf_16_of_the_other_end_with_its_mark(self) -> None:
        assert subscriber(b"\xfe\xff" + self.TEXT.encode("utf-16-be")).name == "Jürg €"

    def test_a_file_pasted_together_from_two_encodings_comes_out_right_and_is_told(self) -> None:
        csv = opened(b"email,name\na@example.com,J\xc3\xbcrg\nb@example.com,J\xfcrg\nc@example.com,\x81\x80\n")
        assert [row.name for row in csv.rows() if isinstance(row, Subscriber)] == ["Jürg", "Jürg", "\ufffd€"]
        assert csv.notes() == ["line 3: not UTF-8, read as Windows-1252 (2 lines)"]

    def test_half_a_character_at_the_end_costs_no_row(self) -> None:
        found = rows(b"\xff\xfe" + "email\na@example.com\n".encode("utf-16-le") + b"x")
        assert summed(found[:1]) == ["a@example.com"]
        assert isinstance(found[1], Reject)


#: Of which files are made that break the format now and then.
_PIECES = [
    "a@example.com",
    "b@example.com,B\n",
    "c@example.com,C\r\n",
    ',"',
    '"',
    ",",
    "\n",
    "\r",
    "\r\n",
    "x",
    "\udcfc",
]


class TestBadRows:
    def test_a_bad_address_is_rejected_with_its_row_and_reason(self) -> None:
        (_, bad) = rows("email,name\nana@example.com,Ana\nnot an address,Bo\n")
        assert isinstance(bad, Reject)
        assert (bad.line, list(bad.fields)) == (3, ["not an address", "Bo"])
        assert bad.reason == "An email address must have an @-sign"

    def test_a_row_with_more_fields_than_the_header_is_not_guessed_at(self) -> None:
        found = rows("email,name\nana@example.com,Lund, Ana\n")
        assert summed(found) == [(2, "3 fields where the header names 2")]

    def test_a_row_that_names_no_list_where_nobody_can_tell_is_rejected(self) -> None:
        csv = opened("email,list\na@example.com,\nb@example.com,weekly\n", own_list="")
        assert summed(list(csv.rows())) == [(2, "names no list"), "b@example.com"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('a@example.com,"A\nB"\nb@example.com,B\n', ["a@example.com", "b@example.com"]),
            ('a@example.com,"A "x" B"\nb@example.com,B"\n', ["a@example.com", "b@example.com"]),
            ('a@example.com,"A\nb@example.com,B\nc@example.com,C\n', [(2, OPEN), "b@example.com", "c@example.com"]),
            ('a@example.com,"A\nb@example.com,"B"\nc@example.com,C\n', [(2, OPEN), "b@example.com", "c@example.com"]),
            ('a@example.com,A\nb@example.com,"', ["a@example.com", (3, OPEN)]),
            ('a@example.com,"A\n\n\n' + "b@example.com,B\n" * 200, [(2, OPEN), *["b@example.com"] * 200]),
            ('"', [(2, OPEN)]),
        ],
    )
    def test_an_open_quotation_mark_costs_its_line_and_no_other(
        self, text: str, expected: list[str | tuple[int, str]]
    ) -> None:
        assert summed(rows("email,name\n" + text)) == expected

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_lines_are_counted_whatever_ends_them(self, end: str) -> None:
        found = rows(end.join(["email,name", "", '"a@example.com","A', 'B"', " , ", "bad,x", ""]))
        assert [row.line if isinstance(row, Reject) else row.place for row in found] == ["people.csv:3", 6]

    @given(st.binary(max_size=400))
    @example(b'"\n"\n"\xff\n')
    @example(b"\x00,\x00\r\r\n\xc3")
    def test_any_bytes_are_rows_or_one_error(self, data: bytes) -> None:
        try:
            found = rows(b"email,name,consent_at\n" + data)
        except AudienceError:
            return
        assert all(isinstance(row, Subscriber | Reject) for row in found)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join), st.integers(1, 12))
    def test_wherever_the_text_is_cut_the_rows_are_the_same(
        self, monkeypatch: pytest.MonkeyPatch, text: str, size: int
    ) -> None:
        data = ("email,name\n" + text).encode("utf-8", "surrogateescape")
        monkeypatch.setattr(csv_lines, "_BLOCK", 1 << 15)
        whole = opened(data)
        expected = [(row, row.place) if isinstance(row, Subscriber) else (row, "") for row in whole.rows()]
        monkeypatch.setattr(csv_lines, "_BLOCK", size)
        cut = opened(data)
        assert [(row, row.place) if isinstance(row, Subscriber) else (row, "") for row in cut.rows()] == expected
        assert cut.notes() == whole.notes()

    @given(st.lists(st.tuples(st.integers(0, 10**6), st.text(st.characters(codec="utf-8"), max_size=30)), max_size=20))
    def test_no_row_that_was_written_as_csv_is_lost(self, people: list[tuple[int, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerows([("email", "name"), *((f"r{number}@example.com", name) for number, name in people)])
        assert summed(rows(text.getvalue())) == [f"r{number}@example.com" for number, _ in people]


class Endless(io.RawIOBase):
    """`head`, and 100 MB of `more` that are made as they are read."""

    def __init__(self, head: bytes, more: bytes) -> None:
        super().__init__()
        self._head = head
        self._more = more
        self.handed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        room = memoryview(buffer)
        part = self._head or (self._more * len(room) if self.handed < 100_000_000 else b"")
        part, self._head = part[: len(room)], part[len(room) :] if self._head else b""
        room[: len(part)] = part
        self.handed += len(part)
        return len(part)


class TestSize:
    def test_100_mb_without_a_line_break_is_one_error_at_once(self) -> None:
        file = Endless(b"", b"x")
        with pytest.raises(AudienceError, match=r"people\.csv:1: a line of more than 100,000 characters"):
            SubscriberCsv(io.BufferedReader(file), "people.csv", own_list="daily")
        assert file.handed < 2_000_000

    @pytest.mark.parametrize("more", ["email,name\nx", 'email,name\na@example.com,"', "email,name\na,b\r"])
    def test_a_line_of_100_mb_is_a_reject_at_little_memory(self, more: str) -> None:
        tracemalloc.start()
        try:
            *_, bad = SubscriberCsv(io.BufferedReader(Endless(more.encode(), b"y")), "people.csv").rows()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(bad, Reject)
        assert (bad.line, bad.reason) == (3 if "\r" in more else 2, TOO_LONG)
        assert sum(map(len, bad.fields)) <= 1_000
        assert peak < 5_000_000

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("name", ["y" * 150_000, '"' + "y" * 150_000, '"' + "y" * 150_000 + '"', "y" * 100_000])
    def test_a_line_that_is_too_long_costs_itself_and_no_other(self, end: str, name: str) -> None:
        long = f"b@example.com,{name}"
        lines = ["email,name", "a@example.com,A", long, "c@example.com,C", '"d@example.com","D', 'D"', long]
        found = rows(end.join([*lines, "e@example.com,E"]))
        expected = ["a@example.com", (3, TOO_LONG), "c@example.com", "d@example.com", (7, TOO_LONG), "e@example.com"]
        assert summed(found) == expected
        assert [row.place for row in found if isinstance(row, Subscriber)][-1] == "people.csv:8"

    def test_a_line_that_is_too_long_behind_an_open_quotation_mark_leaves_the_others(self) -> None:
        found = rows('email,name\na@example.com,"A\n' + "y" * 200_000 + "\nc@example.com,C\n")
        assert summed(found) == [(2, OPEN), (3, TOO_LONG), "c@example.com"]

    def test_a_line_as_long_as_may_be_is_a_row(self) -> None:
        row = "a@example.com," + "y" * (100_000 - 15)
        assert summed(rows(f"email,name\n{row}\n")) == ["a@example.com"]

    def test_a_long_file_of_open_quotation_marks_is_rejected_row_by_row_at_little_memory(self) -> None:
        text = "email,name\n" + 'a@example.com,"A\n' * 3_000
        tracemalloc.start()
        try:
            bad = sum(isinstance(row, Reject) for row in opened(text).rows())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert bad == 3_000
        assert peak < 5_000_000


LISTMONK = (
    "uuid,email,name,attributes,status,created_at,updated_at\n"
    '5b1,a@example.com,Ann,"{""city"": ""Rome"", ""n"": 3, ""l"": [1, ""x""], ""none"": null}",enabled,'
    "2024-01-02 15:04:05.123456 +0000 UTC,2024-01-02 15:04:05.123456 +0000 UTC\n"
    "5b2,b@example.com,Bo,{},blocklisted,2024-01-02 15:04:05 +0000 UTC,2024-05-06 15:04:05.9 +0200 CEST\n"
    "5b3,c@example.com,Cy,{},disabled,2024-01-02 15:04:05 +0000 UTC,2024-01-02 15:04:05 +0000 UTC\n"
)
MAILCHIMP = (
    '"Email Address","First Name","Last Name",Address,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,'
    "LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES,TAGS\n"
    'a@example.com,Ann,Lee,,2,"2018-04-13 10:57:02",192.0.2.1,"2018-04-13 10:58:00",192.0.2.2,'
    '48.8,2.3,1,2,Europe/Paris,fr,idf,"2018-04-14 10:57:02",123,abc,,"""Press List"",""vip"""\n'
    'b@example.com,Bo,,,2,"2018-04-13 10:57:02",192.0.2.1,,,,,,,,,,"2018-04-14 10:57:02",124,abd,"met at a fair",\n'
)


class TestOtherPrograms:
    def test_a_listmonk_export_keeps_its_attributes_and_its_blocklist(self) -> None:
        csv = opened(LISTMONK)
        ann, bo, cy = csv.rows()
        assert csv.columns.origin is Origin.LISTMONK
        assert isinstance(ann, Subscriber)
        assert (ann.name, ann.left, ann.consent_at) == ("Ann", None, None)
        assert ann.attributes == {"city": "Rome", "n": "3", "l": '[1, "x"]'}
        assert isinstance(bo, Subscriber)
        assert bo.left is SuppressionReason.MANUAL
        assert bo.left_at == dt.datetime(2024, 5, 6, 13, 4, 5, tzinfo=dt.UTC)
        assert isinstance(cy, Subscriber)
        assert cy.left is SuppressionReason.MANUAL

    def test_a_mailchimp_export_keeps_who_confirmed_and_when(self) -> None:
        csv = opened(MAILCHIMP)
        ann, bo = csv.rows()
        assert csv.columns.origin is Origin.MAILCHIMP
        assert isinstance(ann, Subscriber)
        assert (ann.name, ann.timezone, ann.tags) == ("Ann Lee", "Europe/Paris", ("Press List", "vip"))
        assert ann.consent_at == dt.datetime(2018, 4, 13, 10, 58, tzinfo=dt.UTC)
        assert (ann.consent_source, ann.consent_ip) == ("Mailchimp", "192.0.2.2")
        assert ann.attributes == {"cc": "fr", "region": "idf"}
        assert isinstance(bo, Subscriber)
        assert (bo.name, bo.left, bo.consent_at) == ("Bo", None, None)  # signed up, never confirmed
        assert bo.attributes == {"notes": "met at a fair"}

    @pytest.mark.parametrize(
        ("columns", "reason"),
        [
            ("UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON", SuppressionReason.UNSUBSCRIBE),
            ("CLEAN_TIME,CLEAN_CAMPAIGN_TITLE,CLEAN_CAMPAIGN_ID", SuppressionReason.HARD_BOUNCE),
        ],
    )
    def test_mailchimps_files_of_those_who_left_or_bounced_subscribe_nobody(
        self, columns: str, reason: SuppressionReason
    ) -> None:
        text = f"Email Address,CONFIRM_TIME,{columns},LEID\na@example.com,2018-04-13 10:57:02,2019-05-06 07:08:09,,,\n"
        row = subscriber(text)
        assert row.left is reason
        assert row.left_at == dt.datetime(2019, 5, 6, 7, 8, 9, tzinfo=dt.UTC)

    @pytest.mark.parametrize(
        ("status", "left"),
        [
            ("Unsubscribed", SuppressionReason.UNSUBSCRIBE),
            ("blocklisted", SuppressionReason.MANUAL),
            ("cleaned", SuppressionReason.HARD_BOUNCE),
            ("complained", SuppressionReason.COMPLAINT),
            ("unsub", SuppressionReason.UNSUBSCRIBE),
            ("inactive", SuppressionReason.UNSUBSCRIBE),
            ("Non-Subscribed", SuppressionReason.UNSUBSCRIBE),
            ("removed", SuppressionReason.UNSUBSCRIBE),
            ("deleted", SuppressionReason.UNSUBSCRIBE),
            ("erased", SuppressionReason.UNSUBSCRIBE),
            ("left ", SuppressionReason.UNSUBSCRIBE),
            ("opted__out", SuppressionReason.UNSUBSCRIBE),
            ("Hard \u00a0Bounce", SuppressionReason.HARD_BOUNCE),
            ("hard-bounced", SuppressionReason.HARD_BOUNCE),
            ("ABUSE", SuppressionReason.COMPLAINT),
            ("active", None),
            ("confirmed", None),
            ("", None),
        ],
    )
    def test_a_status_that_says_they_left_counts_in_any_file(self, status: str, left: SuppressionReason | None) -> None:
        row = subscriber(f"email,status,consent_at\na@example.com,{status},2025-01-01\n")
        assert (row.left, row.attributes) == (left, {})

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            ("pending", "says that they did not confirm"),
            ("Un-Confirmed", "says that they did not confirm"),
            ("soft bounced", "is no state that is known"),
            ("abgemeldet", "is no state that is known"),
            ("0", "is no state that is known"),
            ("x" * 5_000, "is no state that is known"),
        ],
    )
    def test_no_word_that_is_not_known_is_a_consent(self, status: str, says: str) -> None:
        rows = f"a@example.com,{status},2025-01-01\nb@example.com,{status},\n"
        csv = opened(f"email,status,consent_at\n{rows}")
        for row in csv.rows():
            assert isinstance(row, Subscriber)
            assert (row.left, row.consent_at) == (None, None)
            assert row.consent_unclear  # no claim of an operator covers it
        (note,) = csv.notes()
        assert note.startswith(f"line 2: '{status[:40]}' {says}")
        assert note.endswith("(2 rows)")

    @pytest.mark.parametrize(
        "said", ["ABUSE", "abuse (reported by the recipient)", "Marked as SPAM", "spam complaint", "I complained"]
    )
    def test_mailchimps_file_of_those_who_left_names_those_who_complained(self, said: str) -> None:
        header = "Email Address,UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_REASON,LEID\n"
        row = subscriber(f"{header}a@example.com,2019-05-06 07:08:09,,{said},1\n")
        assert row.left is SuppressionReason.COMPLAINT
        row = subscriber(f"{header}a@example.com,2019-05-06 07:08:09,,NORMAL (Unsubscribed by member),1\n")
        assert row.left is SuppressionReason.UNSUBSCRIBE

    def test_a_state_that_is_no_consent_is_an_attribute(self) -> None:
        assert subscriber("email,state\na@example.com,CA\n").attributes == {"state": "CA"}
        both = subscriber("email,state,status\na@example.com,CA,unsubscribed\n")
        assert (both.attributes, both.left) == ({"state": "CA"}, SuppressionReason.UNSUBSCRIBE)

    def test_the_rejects_of_an_import_are_read_without_their_reasons(self) -> None:
        row = subscriber("row,reason,email,name\n7,no @-sign,a@example.com,Ann\n")
        assert (row.name, row.attributes) == ("Ann", {})
