"""Rows that are read a column at a time say what they say when they are read one by one, and what is odd is told."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.audience import csv_lines, csv_records
from newsletter.audience.addresses import BadAddress, mailable, plainly_mailable
from newsletter.audience.csv_file import Reject, SubscriberCsv
from newsletter.audience.model import Subscriber, SubscriberColumns
from newsletter.errors import AudienceError
from newsletter.pipeline.repeated_rows import repeated_rows

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)

#: By column, cells as they are and as they are not meant to be.
CELLS: Mapping[str, tuple[str, ...]] = {
    "email": (
        *("ana@example.com", "bo@example.com", "Cy.Lee@Example.COM", "dee@bücher.example", "INFO@example.com"),
        *("mar\u212aeting@example.com", "Marketing@example.com", "dee@xn--bcher-kva.example"),
        *("a(at)example.com", "'=a@example.com", "'a@example.com", " eve@example.com ", "a..b@example.com", "a@b", ""),
        *(
            '"f g"@example.com',
            "x" * 65 + "@example.com",
            "g@" + "y" * 63 + ".com",
            "h@example.test",
            "\ufeffi@example.com",
        ),
    ),
    "name": (
        "Ana Sá",
        "Bo  Li",
        " Cy",
        "Dee ",
        "'=1+1",
        "'Eve",
        "O'Neill",
        "x" * 201,
        "tab\tin",
        "a|b",
        "a| b",
        "",
        "花",
        "\u00a0",
    ),
    "list": ("daily", "weekly;daily", "a|b,c", "", " ", "'=x", "x" * 300),
    "tags": ("vip", "press; vip", "", '"q"', " ", "x" * 300),
    "timezone": ("Europe/Lisbon", "", " Asia/Tokyo ", "Mars/Olympus", " "),
    "language": ("en", "pt ", "", "x" * 36, "'=en"),
    "consent_at": (
        "2025-01-02T07:12:00Z",
        "2025-03-04",
        "",
        " ",
        "yes",
        "2026-01-09",
        "2025-03-04 05:06:07 +0200 CEST",
        "x" * 300,
    ),
    "consent_source": ("form", "", " fair", "x" * 2_001),
    "consent_wording": ("Yes!", "", "a\nb"),
    "consent_ip": ("192.0.2.1", "", " 192.0.2.2"),
    "state": ("subscribed", "", "pending", "unsubscribed", "who knows", "Bounced"),
    "left_at": ("2025-05-06", "", "never", "2027-01-01"),
    "left_scope": ("all", "list", ""),
    "first_name": ("Ana", "", " Bo "),
    "last_name": ("Sá", "", " ", "x" * 200),
    "attributes": ("", "{}", '{"city": "Rome", "n": 3}', "[1]", '{"city": null}'),
    "city": ("Porto", "", " Faro", "'=Rome", "x" * 2_001),
    "note": ("", "seen | met", "a \u2028 b"),
}


def opened(text: str | bytes, own_list: str = "daily", mapped: Mapping[str, str] | None = None) -> SubscriberCsv:
    data = text if isinstance(text, bytes) else text.encode()
    return SubscriberCsv(io.BytesIO(data), "people.csv", own_list=own_list, mapped=mapped, now=NOW)


def said(row: Subscriber) -> dict[str, Any]:
    """What a subscriber is made of."""
    names = [column.name for column in fields(SubscriberColumns)]
    return {name: getattr(row, name) for name in names} | {"attributes": dict(row.attributes)}


def one_by_one(file: SubscriberCsv) -> tuple[list[dict[str, Any]], list[Reject]]:
    found = list(file.rows())
    good = [said(row) for row in found if isinstance(row, Subscriber)]
    return good, [row for row in found if isinstance(row, Reject)]


def singles(columns: SubscriberColumns) -> Iterator[dict[str, Any]]:
    names = [column.name for column in fields(SubscriberColumns)]
    for values in zip(*(getattr(columns, name) for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        yield row | {"attributes": dict(row["attributes"])}


def in_columns(file: SubscriberCsv) -> tuple[list[dict[str, Any]], list[Reject]]:
    good: list[dict[str, Any]] = []
    bad = []
    for found in file.columns_of_rows():
        if isinstance(found, Reject):
            bad.append(found)
        elif isinstance(found, Subscriber):
            good.append(said(found))
        else:
            good += singles(found)
    return good, bad


def assert_alike(text: str, own_list: str = "daily", mapped: Mapping[str, str] | None = None) -> int:
    """Both ways give the same rows, the same rejects and the same notes; how many rows were good."""
    slow, quick = opened(text, own_list, mapped), opened(text, own_list, mapped)
    expected = one_by_one(slow)
    assert in_columns(quick) == expected
    assert quick.notes() == slow.notes()
    return len(expected[0])


def written(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


@st.composite
def files(draw: st.DrawFn) -> str:
    header = ["email", *draw(st.lists(st.sampled_from([*CELLS][1:]), unique=True))]
    cells = st.tuples(*(st.sampled_from(CELLS[name]) for name in header)).map(list)
    rows = draw(st.lists(cells, max_size=12))
    for row in rows:
        # short rows, blank ones, ones that are too long
        change = draw(st.sampled_from(["", "", "", "", "cut", "blank", "more", "much more"]))
        if change == "cut":
            del row[draw(st.integers(1, len(row))) :]
        elif change:
            row[:] = [""] * len(row) if change == "blank" else [*row, "" if change == "more" else "x"]
    return written(header, rows)


@given(files(), st.sampled_from(["daily", ""]))
def test_any_file_says_the_same_read_in_columns_and_row_by_row(text: str, own_list: str) -> None:
    assert_alike(text, own_list)


@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=12)] * 5), max_size=8))
@example([("", " ", "|", "'=", "\r")])
def test_any_text_in_a_cell_says_the_same_both_ways(rows: list[tuple[str, ...]]) -> None:
    header = ["email", "name", "timezone", "consent_at", "list", "city"]
    assert_alike(written(header, [[f"r{number}@example.com", *row] for number, row in enumerate(rows)]))


def test_a_long_file_of_all_kinds_of_cells_says_the_same_both_ways() -> None:
    """Most of its rows are plain, as those of files are; many blocks of it are read."""
    chance = random.Random(20260107)
    header = [*CELLS]
    rows = []
    for number in range(4_000):
        cells = [chance.choice(CELLS[name]) if chance.random() < 0.02 else CELLS[name][0] for name in header]
        rows.append([cells[0] if "bo@" in cells[0] else cells[0].replace("ana", f"r{number}"), *cells[1:]])
    assert assert_alike(written(header, rows)) > 3_800
    assert assert_alike(written(header, rows).replace("\n", "\r\n"), "", {"city": "town", "note": ""}) > 3_800


_PIECES = (
    *(
        "ana@example.com",
        "Bo@Example.COM",
        "dee@bücher.example",
        "a@b",
        "daily",
        "2025-01-02",
        "é",
        "\x00",
        " ",
        "\x85",
    ),
    *(",", ",", ",", ";", '"', '""', "'=", "\n", "\n", "\n", "\r\n", "\r", "\r\r\n", "\n\n", "\u2028", "\ufeff"),
)


def all_said(data: bytes, read: Callable[[SubscriberCsv], tuple[list[dict[str, Any]], list[Reject]]]) -> object:
    """What a file says, or why it cannot be read."""
    try:
        file = opened(data)
        found = read(file)
        return *found, file.notes()
    except AudienceError as error:
        return str(error), error.place


@given(
    st.sampled_from(["email,name,list,consent_at,city", "email;name", "sep=;\nemail;name", '"email",name', "email"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.lists(st.sampled_from(_PIECES), max_size=60).map("".join),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sampled_from([5, 64, 1 << 15]),
)
@example("email,name", "\n", 'a@example.com,"A\n\nb@example.com,B"\n\nc@example.com,C\n', "utf-8", 5)
def test_any_file_says_what_it_does_when_every_line_goes_through_the_csv_module(
    header: str, end: str, body: str, encoding: str, block: int
) -> None:
    data = f"{header}{end}{body}".encode(encoding, "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_lines, "_BLOCK", block)
        quick = all_said(data, in_columns)
        assert quick == all_said(data, one_by_one)
        patch.setattr(csv_records.Records, "_one_a_line", lambda _self, _block: None)
        assert quick == all_said(data, one_by_one)


def test_line_ends_that_were_converted_twice_cost_no_row_and_no_number() -> None:
    text = "email,name\r\r\na@example.com,A\r\r\n\r\r\nbad,B\r\r\n\r\r\nc@example.com,C\r\r\n"
    assert assert_alike(text) == 2
    good, [bad] = in_columns(opened(text))
    assert (bad.line, [row["place"] for row in good]) == (7, ["people.csv:3", "people.csv:11"])


def test_a_wide_header_over_short_rows_takes_little_memory_and_says_the_same() -> None:
    """Filled up at once, they would be 16 million cells."""
    header = ",".join(["email", *(f"c{number}" for number in range(1_000))])
    text = f"{header}\n{' ' * 3}\na@example.com,,x\n" + " \n" * 16_000
    assert assert_alike(text) == 1
    tracemalloc.start()
    try:
        in_columns(opened(text))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("together", [1, 3, 500])
def test_records_of_several_lines_and_faults_say_the_same_both_ways(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "_TOGETHER", together)
    rows = (
        'a@example.com,"A\nB"\n\n , \nb@example.com,B\nc@example.com,"never closed\nd@example.com,D\nbad,"x\ny"\n' * 20
    )
    assert assert_alike(f"email,name\n{rows}") == 60
    assert assert_alike(f"email,name\n{rows}e@example.com,{'y' * 150_000}\nf@example.com,F\n") == 61


def test_files_of_people_who_left_say_the_same_both_ways() -> None:
    header = "Email Address,UNSUB_TIME,UNSUB_REASON,LEID\n"
    assert assert_alike(f"{header}a@example.com,2019-05-06 07:08:09,abuse,1\nbad,,,\nb@example.com,,,2\n") == 2


def test_the_rejects_of_an_import_say_the_same_both_ways() -> None:
    assert assert_alike("row,reason,email,name\n7,no @-sign,a@example.com,Ann\n8,x,bad,\n") == 1


def test_two_columns_whose_names_become_one_keep_the_value_that_they_have_row_by_row() -> None:
    assert assert_alike("email,x,x,x_2\na@example.com,1,2,3\nb@example.com,1,2,\n") == 2


def test_repeated_rows_are_the_same_both_ways() -> None:
    chance = random.Random(7)
    people = [f"{chance.choice(['r', 'R', '', ' r'])}{chance.randrange(1_500)}@example.com" for _ in range(2_000)]
    lists = [chance.choice(["", "weekly", "daily;weekly"]) for _ in people]
    text = written(["email", "list"], [list(row) for row in zip(people, lists, strict=True)])
    slowly = list(repeated_rows(lambda: [row for row in opened(text).rows() if isinstance(row, Subscriber)]))
    columns = [row for row in opened(text).columns_of_rows() if not isinstance(row, Reject)]
    assert not any(isinstance(row, Subscriber) for row in columns)
    assert list(repeated_rows(lambda: columns)) == slowly
    assert len(slowly) > 200


def alone(text: str) -> str:
    try:
        return mailable(text)
    except BadAddress:
        return ""


_LOCALS = (
    "anna",
    "Anna.Lund",
    "o'neill",
    "'x",
    "info",
    "Info",
    "a..b",
    ".a",
    "a.",
    "",
    "a b",
    "jürg",
    "x" * 64,
    "x" * 65,
    "a|b",
    "a\n",
    "\u212a",
    "mar\u212aeting",  # in lower case it would be a role
)
_DOMAINS: tuple[str, ...] = (
    *("example.com", "Example.COM", "bücher.example", "a--b.example", "example.test", "b", "", "ex ample.com"),
    *("x" * 63 + ".com", ".".join(["x" * 60] * 4), ".".join(["é" * 40] * 3) + ".com", "com.", "1.2", "[127.0.0.1]"),
    "\u212a.com",  # the sign of Kelvin, whose lower case is k
)


@given(
    st.lists(
        st.one_of(
            st.emails(),
            st.text(max_size=20),
            st.builds("{}@{}".format, st.sampled_from(_LOCALS), st.sampled_from(_DOMAINS)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_many_addresses_at_once_are_what_each_is_alone_or_left_to_a_closer_look(texts: list[str]) -> None:
    for text, found in zip(texts, plainly_mailable(texts), strict=True):
        assert found in {"", alone(text)}


def test_a_letter_that_becomes_ascii_in_lower_case_makes_nobody_the_role_that_it_looks_like() -> None:
    addresses = ["mar\u212aeting@example.com", "MarKeting@example.com"]
    assert plainly_mailable(addresses) == ["", "marketing@example.com"]
    assert in_columns(opened("email\n" + "\n".join(addresses)))[1][0].line == 2


@pytest.mark.parametrize("spelled", [str, str.upper, " {} ".format])
def test_usual_addresses_need_no_closer_look(spelled: Callable[[str], str]) -> None:
    texts = [spelled(f"{local}@{domain}") for local in _LOCALS[:3] for domain in _DOMAINS[:3]]
    texts += [spelled("info@example.com")]
    for others in ([], ["a..b@example.com"]):
        assert plainly_mailable([*texts, *others])[: len(texts)] == [alone(text) for text in texts]
        assert all(map(alone, texts))
