"""Subscriber files: what is read, what is left out, and what cannot be read at all."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.choose import choose_audience
from newsletter.audience.csv_file import read_subscribers
from newsletter.audience.model import Audience, ConsentState, Excluded, Exclusion, Subscriber
from newsletter.errors import AudienceError

YES = "2025-11-03"


def rows(tmp_path: Path, text: str | bytes, name: str = "daily.csv") -> list[Subscriber | Excluded]:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_subscribers(file, f"subscribers/{name}"))


def audience(tmp_path: Path, text: str, *lists: str) -> Audience:
    return choose_audience(rows(tmp_path, text), lists or ("daily",))


def subscriber(tmp_path: Path, text: str) -> Subscriber:
    (row,) = rows(tmp_path, text)
    assert isinstance(row, Subscriber)
    return row


class TestAddresses:
    def test_the_key_ignores_case_and_the_address_is_kept(self) -> None:
        address = parse_address(" Anna.Lund@Example.COM ")
        assert address.address == "Anna.Lund@example.com"
        assert address.key == "anna.lund@example.com"

    def test_an_idn_domain_is_sent_to_by_its_a_labels_and_both_spellings_are_one_person(self) -> None:
        typed, encoded = parse_address("rui@bücher.example"), parse_address("rui@xn--bcher-kva.example")
        assert typed.address == "rui@xn--bcher-kva.example"
        assert typed.key == encoded.key

    @pytest.mark.parametrize(
        "text",
        ["", " ", "ana", "ana@", "@example.com", "a@b@example.com", "ana@example..com", "jürg@example.com",
         "ana@localhost", "ana\r\nBcc: x@example.com", "<ana@example.com>", "a" * 300 + "@example.com"],
    )  # fmt: skip
    def test_what_cannot_be_mailed_is_refused_with_a_reason(self, text: str) -> None:
        with pytest.raises(BadAddress) as caught:
            parse_address(text)
        assert str(caught.value)

    @given(st.text(max_size=80))
    def test_any_text_is_an_address_or_a_bad_one(self, text: str) -> None:
        try:
            address = parse_address(text)
        except BadAddress:
            return
        assert address.address.isascii()
        assert address.address.count("@") == 1
        assert parse_address(address.address) == address


class TestRows:
    def test_every_column_finds_its_place_and_others_become_attributes(self, tmp_path: Path) -> None:
        row = subscriber(
            tmp_path,
            "Email,Name,List,Tags,Timezone,Language,Consent_at,Consent_source,City\n"
            'ana@example.com,"Sá, Ana",daily;evening,vip|press,Europe/Lisbon,pt,2025-11-03T08:00:00+01:00,form,Porto\n',
        )
        assert row.name == "Sá, Ana"
        assert row.lists == ("daily", "evening")
        assert row.tags == ("vip", "press")
        assert (row.timezone, row.language) == ("Europe/Lisbon", "pt")
        assert row.consent_at == dt.datetime.fromisoformat("2025-11-03T08:00:00+01:00")
        assert row.attributes == {"city": "Porto"}
        assert row.place == "subscribers/daily.csv:2"

    def test_a_file_without_a_list_column_feeds_the_list_of_its_name(self, tmp_path: Path) -> None:
        assert subscriber(tmp_path, "email\nana@example.com\n").lists == ("daily",)

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_comma_semicolon_and_tab_are_told_apart(self, tmp_path: Path, delimiter: str) -> None:
        text = f"\ufeffemail{delimiter}name\r\nana@example.com{delimiter}Ana\r\n"
        assert subscriber(tmp_path, text).name == "Ana"

    def test_without_consent_a_subscriber_is_pending(self, tmp_path: Path) -> None:
        assert subscriber(tmp_path, "email,consent_at\nana@example.com,\n").state is ConsentState.PENDING

    def test_a_consent_that_is_no_date_is_none(self, tmp_path: Path) -> None:
        (row,) = rows(tmp_path, "email,consent_at\nana@example.com,yes\n")
        assert isinstance(row, Excluded)
        assert row.reason is Exclusion.PENDING
        assert "'yes' is no date" in row.detail

    def test_a_bad_name_is_cleaned_and_the_person_kept(self, tmp_path: Path) -> None:
        row = subscriber(tmp_path, 'email,name\nana@example.com,"A\x07na\r\nBcc: x"\n')
        assert row.name == "A na Bcc: x"

    def test_a_bad_address_is_left_out_with_its_row_and_reason(self, tmp_path: Path) -> None:
        bad = rows(tmp_path, "email,name\nana@example.com,Ana\nnot an address,Bo\n")[1]
        assert isinstance(bad, Excluded)
        assert (bad.reason, bad.place) == (Exclusion.INVALID, "subscribers/daily.csv:3")
        assert bad.detail

    def test_a_row_with_more_fields_than_the_header_is_not_guessed_at(self, tmp_path: Path) -> None:
        (bad,) = rows(tmp_path, "email,name\nana@example.com,Lund, Ana\n")
        assert isinstance(bad, Excluded)
        assert "3 fields" in bad.detail

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (b"email\n\xff\xfe\n", "not UTF-8"),
            (b"name\nAna\n", "no column `email`"),
            (b"", "no column `email`"),
            (b"email,name,name\n", "occurs twice"),
            (b'email,name\nana@example.com,"open\n', "not valid CSV"),
            (b"email\n" + b"x" * 200_000, "not valid CSV"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_one_error_with_its_place(
        self, tmp_path: Path, text: bytes, says: str
    ) -> None:
        with pytest.raises(AudienceError, match=says) as caught:
            rows(tmp_path, text)
        assert str(caught.value).startswith("subscribers/daily.csv")

    @given(st.binary(max_size=400))
    def test_any_bytes_are_rows_or_one_error(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        try:
            found = rows(tmp_path_factory.mktemp("csv"), b"email,name,consent_at\n" + data)
        except AudienceError:
            return
        assert all(isinstance(row, Subscriber | Excluded) for row in found)


class TestChoice:
    def test_someone_on_two_lists_counts_once_and_is_no_duplicate(self, tmp_path: Path) -> None:
        text = f"email,list,consent_at\nana@example.com,daily,{YES}\nANA@example.com,evening,{YES}\n"
        chosen = audience(tmp_path, text, "daily", "evening")
        assert [member.address for member in chosen.members] == ["ana@example.com"]
        assert chosen.excluded == ()

    def test_a_second_row_on_the_same_list_is_a_duplicate(self, tmp_path: Path) -> None:
        text = f"email,consent_at\nana@example.com,{YES}\nANA@Example.com,{YES}\n"
        chosen = audience(tmp_path, text)
        assert len(chosen.members) == 1
        assert chosen.excluded_by_reason() == {Exclusion.DUPLICATE: 1}

    def test_consent_in_any_row_is_consent(self, tmp_path: Path) -> None:
        text = f"email,list,consent_at\nana@example.com,daily,\nana@example.com,evening,{YES}\n"
        chosen = audience(tmp_path, text, "daily", "evening")
        assert len(chosen.members) == 1
        assert chosen.excluded == ()

    def test_other_lists_do_not_count_their_bad_rows_included(self, tmp_path: Path) -> None:
        text = f"email,list,consent_at\nana@example.com,evening,{YES}\nnobody,evening,\n"
        assert audience(tmp_path, text) == Audience((), ())

    def test_everyone_else_carries_one_reason(self, tmp_path: Path) -> None:
        text = f"email,consent_at\nana@example.com,{YES}\nbo@example.com,\nnobody,{YES}\nana@example.com,\n"
        chosen = audience(tmp_path, text)
        reasons = {Exclusion.PENDING: 1, Exclusion.INVALID: 1, Exclusion.DUPLICATE: 1}
        assert chosen.excluded_by_reason() == reasons

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "bad"]),
                st.sampled_from(["daily", "evening", "other"]),
                st.sampled_from(["", YES]),
            ),
            max_size=12,
        )
    )
    def test_nobody_without_consent_is_mailed_and_nobody_twice(
        self, tmp_path_factory: pytest.TempPathFactory, people: list[tuple[str, str, str]]
    ) -> None:
        text = "email,list,consent_at\n" + "".join(",".join(person) + "\n" for person in people)
        chosen = audience(tmp_path_factory.mktemp("csv"), text, "daily", "evening")
        keys = [member.key for member in chosen.members]
        asked = {email.casefold() for email, name, when in people if when and name != "other" and email != "bad"}
        assert len(keys) == len(set(keys))
        assert set(keys) == asked
