"""`subscribers add`, `remove`, `show`, `erase` and `suppress`, run as an operator runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from projects import SLOT, Project

ANNA = "anna@example.com"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def shown(project: Project, email: str = ANNA) -> Any:
    """What `subscribers show --json` prints."""
    return project.call("subscribers", "show", email, "--json").json


def test_a_person_is_added_leaves_and_comes_back_by_an_operators_word(project: Project) -> None:
    added = project.run(
        "subscribers", "add", "Anna@Example.com", "--name", "Anna", "--consent-source", "fair", "--json"
    )
    assert added.code == 0, added.err
    assert added.json == {"email": "Anna@example.com", "list": "daily-buzz", "state": "subscribed", "lifted": 0}

    left = project.call("subscribers", "remove", ANNA, "--note", "by phone")
    assert (left.code, left.out) == (0, f"{ANNA} has left all lists; nothing is sent to them there\n")
    assert project.call("subscribers", "remove", ANNA).code == 4
    document = shown(project)
    assert (document["state"], document["name"]) == ("unsubscribed", "Anna")

    refused = project.call("subscribers", "add", ANNA, "--consent-source", "an old sheet")
    assert refused.code == 5
    assert "kept off daily-buzz: unsubscribe on " in refused.err
    assert "--reconsent" in refused.err
    assert shown(project) == document

    back = project.call("subscribers", "add", ANNA, "--reconsent", "wrote on 7 January", "--json")
    assert back.json == {"email": ANNA, "list": "daily-buzz", "state": "subscribed", "lifted": 1}
    assert shown(project)["state"] == "subscribed"


def test_without_a_consent_a_person_is_pending(project: Project) -> None:
    assert project.call("subscribers", "add", ANNA).out == f"{ANNA} is pending on daily-buzz\n"
    assert shown(project)["state"] == "pending"


def test_a_list_that_nobody_knows_is_a_typo_and_is_not_made(project: Project) -> None:
    refused = project.call("subscribers", "add", ANNA, "--list", "daily-buz", "--consent-source", "fair")
    assert refused.code == 2
    assert "there is no list 'daily-buz'" in refused.err
    assert "Did you mean `daily-buzz`?" in refused.err
    assert project.call("subscribers", "stats", "--json").json == []
    # known by the settings, and by an import
    assert project.call("subscribers", "add", ANNA, "--list", "daily-buzz").code == 0
    (project.folder / "people.csv").write_text(f"email\n{ANNA}\n")
    project.call("subscribers", "import", "people.csv", "--list", "weekly")
    assert project.call("subscribers", "add", "ben@example.com", "--list", "weekly").code == 0


def test_an_idn_is_shown_in_its_own_script_whichever_way_it_was_typed(project: Project) -> None:
    added = project.call("subscribers", "add", "Rui@xn--bcher-kva.example.com", "--consent-source", "fair")
    assert added.out == "Rui@bücher.example.com is subscribed on daily-buzz\n"
    assert shown(project, "rui@BÜCHER.example.com")["email"] == "Rui@bücher.example.com"
    assert project.call("subscribers", "show", "rui@bücher.example.com").out.startswith("Rui@bücher.example.com  ")
    assert project.call("subscribers", "list").out.startswith("Rui@bücher.example.com  ")


def test_show_has_everything_that_somebody_may_ask_for(project: Project) -> None:
    given = ["--name", "Anna", "--tag", "vip", "--tag", "press", "--timezone", "Europe/Warsaw", "--language", "pl"]
    project.call("subscribers", "add", ANNA, *given, "--consent-source", "fair", "--wording", "Yes, please")
    project.call("suppress", "add", ANNA, "--reason", "complaint", "--list", "daily-buzz", "--note", "she called")
    project.call("suppress", "remove", ANNA, "--why", "a mistake")
    document = shown(project)
    assert {"email", "state", "lists", "suppressions", "consents", "deliveries"} <= document.keys()
    assert (document["email"], document["state"], document["lists"]) == (ANNA, "subscribed", ["daily-buzz"])
    assert (document["tags"], document["timezone"], document["language"]) == (["press", "vip"], "Europe/Warsaw", "pl")
    [consent] = document["consents"]
    assert (consent["list"], consent["source"], consent["wording"]) == ("daily-buzz", "fair", "Yes, please")
    [suppression] = document["suppressions"]
    assert (suppression["reason"], suppression["list"]) == ("complaint", "daily-buzz")
    assert (suppression["source"], suppression["note"]) == ("cli", "she called")
    assert (suppression["lift"]["by"], suppression["lift"]["note"]) == ("operator", "a mistake")
    assert document["deliveries"] == []

    lines = project.call("subscribers", "show", ANNA).out.splitlines()
    assert lines[0] == f"{ANNA}  subscribed"
    assert any("suppressed complaint for daily-buzz" in line and "by operator: a mistake" in line for line in lines)


def test_erasing_wants_the_address_twice_and_leaves_a_hash(project: Project) -> None:
    project.call("subscribers", "add", ANNA, "--consent-source", "fair")
    unsure = project.call("subscribers", "erase", ANNA)
    assert unsure.code == 2
    assert f"--confirm {ANNA}" in unsure.err
    assert project.call("subscribers", "erase", ANNA, "--confirm", "ann@example.com").code == 2
    assert shown(project)["state"] == "subscribed"

    old = project.folder / "subscribers" / "old.csv"
    old.write_text("name,email\nJo,joanna@example.com\nAnna,ANNA@example.com\n", "utf-16")
    project.call("subscribers", "sync")
    assert project.call("send", SLOT, "--dry-run").code == 0
    (project.folder / "subscribers" / "long.csv").write_text("email\n" + "x" * 200_000, "utf-8")
    erased = project.call("subscribers", "erase", ANNA, "--confirm", "Anna@example.com")
    assert erased.code == 0, erased.err
    assert "still in subscribers/old.csv:3: take it out yourself" in erased.out
    assert "old.csv:2" not in erased.out
    assert f"still in out/daily-buzz/{SLOT}/recipients.csv:" in erased.out
    assert "could not search subscribers/long.csv: look yourself" in erased.out
    again = project.call("subscribers", "erase", ANNA, "--confirm", ANNA, "--json").json
    assert again["erased"] is False

    document = shown(project)
    assert (document["lists"], document["consents"]) == ([], [])
    [left] = document["suppressions"]
    assert (left["reason"], left["key"][:5]) == ("erased", "hmac:")
    assert ANNA not in project.call("suppress", "list", "--all", "--json").out
    assert not [
        file
        for file in (project.folder / "var").iterdir()
        if ANNA.encode() in file.read_bytes().lower().replace(b"joanna", b"")
    ]
    assert project.call("subscribers", "add", ANNA, "--consent-source", "old.csv").code == 5


def test_a_suppression_is_added_listed_and_lifted(project: Project) -> None:
    assert project.call("suppress", "add", ANNA, "--reason", "hard_bounce", "--json").json == {
        "email": ANNA,
        "reason": "hard_bounce",
        "list": None,
    }
    assert project.call("suppress", "add", ANNA, "--reason", "hard_bounce").code == 4
    assert project.call("suppress", "list").out.startswith(f"{ANNA}  suppressed hard bounce for all lists on ")
    assert project.call("suppress", "remove", ANNA).code == 2  # --why is missing
    assert project.call("suppress", "remove", ANNA, "--why", "mailbox is back").code == 0
    assert project.call("suppress", "remove", ANNA, "--why", "mailbox is back").code == 4
    assert project.call("suppress", "list").out == ""
    *rows, last = project.call("suppress", "list", "--all", "--json").out.splitlines()
    assert (len(rows), last) == (1, '{"count": 1}')
    assert '"lift": {' in rows[0]


def test_a_file_of_addresses_is_suppressed_and_bad_rows_are_told(project: Project) -> None:
    project.call("subscribers", "add", ANNA, "--consent-source", "fair")
    file = project.folder / "bounces.csv"
    text = f'status,reason,email\n5.1.1,hard bounce,{ANNA}\n5.0.0,"550 no such\nuser",=b@example.com\n,,nobody\n'
    file.write_bytes(text.encode() + b'9,complaint,\x00"c@example.com\n')
    first = project.call("suppress", "import", "bounces.csv", "--json")
    assert first.code == 0, first.err
    assert (first.json["rows"], first.json["new"], first.json["known"], first.json["invalid"]) == (4, 2, 0, 2)
    assert [one["line"] for one in first.json["rejects"]] == [5, 6]
    assert "bounces.csv:5: " in first.err
    second = project.call("suppress", "import", "bounces.csv", "--json").json
    assert (second["new"], second["known"], second["invalid"]) == (0, 2, 2)
    out = project.call("suppress", "list").out
    assert f"{ANNA}  suppressed hard bounce" in out
    assert "550 no such user" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("subscribers", "add", "nobody"), "'nobody' cannot be mailed"),
        (("subscribers", "add", ANNA, "--timezone", "Mars/Olympus"), "is no time zone"),
        (("subscribers", "remove", ANNA, "--list", "dialy-buzz"), "The lists are: daily-buzz"),
        (("suppress", "add", ANNA, "--reason", "erased"), "--reason"),
    ],
)
def test_a_command_that_makes_no_sense_says_what_does(project: Project, arguments: tuple[str, ...], said: str) -> None:
    ended = project.call(*arguments)
    assert ended.code == 2
    assert said in ended.err


def test_nothing_held_is_an_answer_of_its_own(project: Project) -> None:
    ended = project.call("subscribers", "show", ANNA)
    assert (ended.code, ended.out) == (4, "")
    assert f"nothing is held about {ANNA}" in ended.err
