"""People over the API: with the same rules as the commands, on the same database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from api_projects import Api, ApiProject
from live_projects import eventually, smtp_server

ASKED = {"at": "2026-01-01T08:00:00+01:00", "source": "shop checkout", "wording": "Yes!", "ip": "2001:DB8::1"}


@pytest.fixture
def project(tmp_path: Path) -> ApiProject:
    project = ApiProject(tmp_path)
    project.people(3)
    assert project.call("subscribers", "sync").code == 0
    return project


@pytest.fixture
def api(project: ApiProject) -> Iterator[Api]:
    with project.api() as api:
        yield api


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One server for tests that are about people of their own."""
    project = ApiProject(tmp_path_factory.mktemp("api"))
    project.people(3)
    assert project.call("subscribers", "sync").code == 0
    with project.api() as api:
        yield api


def adding(email: str, **more: Any) -> dict[str, Any]:
    return {"email": email, "list": "daily-buzz", **more}


def test_somebody_with_a_consent_is_subscribed_and_shown_as_the_command_shows_them(
    project: ApiProject, api: Api
) -> None:
    about = {"name": "Zoë", "language": "pl", "timezone": "Europe/Warsaw", "tags": ["vip", "press"]}
    done = api.post(
        "/subscribers", adding("Zoe@Example.com", consent=ASKED, attributes={"city": "Gdańsk"}, **about), 201
    )
    assert done == {
        "email": "Zoe@example.com",
        "list": "daily-buzz",
        "state": "subscribed",
        "new": True,
        "confirmation": None,
    }
    shown = api.get("/subscribers/zoe@EXAMPLE.com")
    assert shown == project.call("subscribers", "show", "zoe@example.com", "--json").json
    assert {name: shown[name] for name in about} == about | {"tags": ["press", "vip"]}
    assert shown["attributes"] == {"city": "Gdańsk"}
    [consent] = shown["consents"]
    recorded = consent.pop("recorded_at")
    assert abs(dt.datetime.fromisoformat(recorded) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert consent == {
        "list": "daily-buzz",
        "at": "2026-01-01T07:00:00+00:00",
        "source": "shop checkout",
        "wording": "Yes!",
        "ip": "2001:db8::1",
    }
    again = api.post("/subscribers", adding("zoe@example.com", name="Zoe"), 200)
    assert (again["state"], again["new"]) == ("subscribed", False)
    assert api.get("/subscribers/zoe@example.com")["name"] == "Zoe"


def test_somebody_without_a_consent_is_pending(shared: Api) -> None:
    assert shared.post("/subscribers", adding("yan@example.com"), 201)["state"] == "pending"


def test_somebody_who_is_asked_gets_one_mail_and_is_subscribed_by_their_own_click(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ApiProject(tmp_path / "project", server.port)
        with project.api() as api:
            asked = adding("yan@example.com", name="Yan", confirm=True)
            assert api.post("/subscribers", asked, 201)["confirmation"] == "due"
            eventually(lambda: server.addresses() == ["yan@example.com"], 20)
            assert api.post("/subscribers", asked, 200)["confirmation"] == "again"
            message = message_from_bytes(server.taken[0].message, policy=policy.default)
            body = message.get_body(("plain",))
            assert body is not None
            [link] = {word for word in body.get_content().split() if "/confirm/daily-buzz/" in word}
            assert api.get("/subscribers/yan@example.com")["state"] == "pending"
            page = api.url.removesuffix("/api/v1") + link[link.index("/confirm/") :]
            assert api.client.post(page).status_code == 200
            shown = api.get("/subscribers/yan@example.com")
            assert shown["state"] == "subscribed"
            assert shown["consents"][0]["source"].startswith("api:every")
            assert api.post("/subscribers", asked, 200)["confirmation"] is None
        assert len(server.taken) <= 2  # the second is the welcome, where there is one


@pytest.mark.parametrize("reason", ["unsubscribe", "hard_bounce", "complaint", "manual"])
def test_nobody_who_is_suppressed_comes_back_by_a_call(shared: Api, reason: str) -> None:
    api, email = shared, f"{reason}@example.com"
    api.post("/subscribers", adding(email, consent=ASKED), 201)
    api.post("/suppressions", {"email": email, "reason": reason, "note": "wrote to us"}, 201)
    assert api.post("/suppressions", {"email": email, "reason": reason}, 200)["new"] is False
    before = api.get(f"/subscribers/{email}")
    for asked in (adding(email), adding(email, consent=ASKED), adding(email, confirm=True)):
        problem = api.post("/subscribers", asked, 409)
        assert problem["code"] == "suppressed"
        [one] = problem["suppressions"]
        assert (one["reason"], one["source"], one["note"]) == (reason, "api:every", "wrote to us")
    now = {**ASKED, "at": dt.datetime.now(dt.UTC).isoformat()}
    assert api.post("/subscribers", adding(email, consent=now), 409)["code"] == "suppressed"
    assert api.get(f"/subscribers/{email}") == before


def test_who_left_and_was_forgiven_needs_a_consent_from_after_they_left(project: ApiProject, api: Api) -> None:
    email = "p00001@example.com"
    api.post(f"/subscribers/{email}/unsubscribe", {"list": "daily-buzz"})
    assert project.call("suppress", "remove", email, "--why", "a mistake").code == 0
    problem = api.post("/subscribers", adding(email, consent=ASKED), 409)
    assert problem["suppressions"] == []
    assert "no consent is recorded since" in problem["detail"]


def test_leaving_is_for_good_and_may_be_repeated(project: ApiProject, api: Api) -> None:
    email = "p00002@example.com"
    left = {"email": email, "list": None, "state": "unsubscribed"}
    assert api.post(f"/subscribers/{email}/unsubscribe", {"note": "asked\u202e by phone"}) == {**left, "changed": True}
    assert api.post(f"/subscribers/{email}/unsubscribe", {"list": None}) == {**left, "changed": False}
    shown = project.call("subscribers", "show", email, "--json").json
    assert shown["state"] == "unsubscribed"
    assert [(one["source"], one["note"]) for one in shown["suppressions"]] == [("api:every", "asked by phone")]
    unknown = api.post("/subscribers/new@example.com/unsubscribe", {})  # must not be added later, either
    assert unknown["changed"] is True
    api.post("/subscribers", adding("new@example.com", consent=ASKED), 409)


def test_an_address_with_a_slash_is_one_too(shared: Api) -> None:
    api = shared
    api.post("/subscribers", adding("a/b@example.com"), 201)
    assert api.get("/subscribers/a/b@example.com")["email"] == "a/b@example.com"
    assert api.get("/subscribers/a%2Fb%40example.com")["email"] == "a/b@example.com"
    assert api.post("/subscribers/a%2Fb@example.com/unsubscribe", {})["changed"] is True


def test_what_is_said_of_somebody_can_be_changed_and_what_is_not_said_stays(shared: Api) -> None:
    api, email = shared, "p00000@example.com"
    path = f"/subscribers/{email}"
    changed = api.call("PATCH", path, json={"name": " A\u202enna\u0007 ", "language": "pt-BR"}).json()
    assert (changed["name"], changed["language"], changed["timezone"]) == ("Anna", "pt-BR", "")
    changed = api.call("PATCH", path, json={"name": "", "timezone": "Asia/Tokyo"}).json()
    assert (changed["name"], changed["language"], changed["timezone"]) == ("", "pt-BR", "Asia/Tokyo")
    assert api.get(path).items() >= changed.items()
    for wrong in (
        {},
        {"name": None, "x": 1},
        {"timezone": "Mars/Base"},
        {"language": "klingon!"},
        {"state": "subscribed"},
    ):
        assert api.call("PATCH", path, json=wrong).status_code == 422
    assert api.call("PATCH", "/subscribers/nobody@example.com", json={"name": "x"}).status_code == 404
    assert api.get(path).items() >= changed.items()


def test_an_erased_person_is_gone_and_the_files_that_name_them_are_told(project: ApiProject, api: Api) -> None:
    email = "p00001@example.com"
    done = api.call("DELETE", f"/subscribers/{email}").json()
    assert done == {
        "email": email,
        "known": True,
        "clean": True,
        "files": ["subscribers/daily-buzz.csv:3"],
        "unsearched": [],
    }
    assert api.get(f"/subscribers/{email}", 404)["code"] == "not_found"
    [left] = api.get("/suppressions")["items"]
    assert (left["reason"], left["key"][:5]) == ("erased", "hmac:")
    assert api.call("DELETE", f"/subscribers/{email}").json()["known"] is False
    api.post("/subscribers", adding(email, consent=ASKED), 409)
    # of somebody who was never known the same hash is kept: nobody learns who was
    assert api.call("DELETE", "/subscribers/never@example.com").json()["known"] is False
    assert api.call("PATCH", f"/subscribers/{email}", json={"name": "x"}).status_code == 404


def test_every_list_is_seen_whole_in_parts_of_any_size(project: ApiProject, api: Api) -> None:
    project.people(60)
    assert project.call("subscribers", "sync").code == 0
    everybody = [one["email"] for one in api.get("/subscribers", limit=500)["items"]]
    assert everybody == sorted(everybody)
    assert len(everybody) == 60
    for limit in (1, 7, 20, 59, 60, 61):
        assert [one["email"] for one in api.items("/subscribers", limit=limit)] == everybody
    for number in (3, 4, 17):
        api.post("/suppressions", {"email": f"p{number:05}@example.com", "reason": "complaint"}, 201)
        api.post(f"/subscribers/p{number + 20:05}@example.com/unsubscribe", {})
    for state, parameters in (("unsubscribed", {}), ("unsubscribed", {"list": "daily-buzz"})):
        left = api.items("/subscribers", limit=2, state=state, **parameters)
        assert [one["email"][:6] for one in left] == ["p00023", "p00024", "p00037"]
    assert api.get("/subscribers", list="daily-buzz", state="pending") == {"items": [], "next": None}
    suppressed = api.items("/suppressions", limit=1)
    assert [one["key"][:6] for one in suppressed] == ["p00003", "p00023", "p00004", "p00024", "p00017", "p00037"]
    assert project.call("suppress", "remove", "p00003@example.com", "--why", "a mistake").code == 0
    assert len(api.items("/suppressions")) == 5
    with_lifted = api.items("/suppressions", lifted=True)
    assert [one["lift"] and one["lift"]["by"] for one in with_lifted] == ["operator", None, None, None, None, None]


def test_a_part_of_many_people_of_whom_few_are_meant_is_short_and_the_next_goes_on(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.pipeline.listing_parts.LOOKED_AT", 10)
    project.people(35)
    assert project.call("subscribers", "sync").code == 0
    assert project.call("subscribers", "remove", "p00025@example.com").code == 0
    with project.api() as api:
        first = api.get("/subscribers", state="unsubscribed")
        assert first["items"] == []
        assert first["next"]
        assert [one["email"] for one in api.items("/subscribers", state="unsubscribed")] == ["p00025@example.com"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (adding("nobody"), "cannot be mailed"),
        (adding("a@b@example.com"), "cannot be mailed"),
        (adding("a@example.com\nBcc: x@example.com"), "cannot be mailed"),
        ({"email": "a@example.com", "list": "daily-bus"}, "there is no list"),
        (adding("a@example.com", timezone="Mars"), "no time zone"),
        (adding("a@example.com", consent={**ASKED, "source": "\u202e"}), "has no source"),
        (adding("a@example.com", consent={**ASKED, "at": "2999-01-01T00:00:00Z"}), "still to come"),
        (adding("a@example.com", consent={**ASKED, "at": "1900-01-01T00:00:00Z"}), "before there was email"),
        (adding("a@example.com", consent={**ASKED, "at": "2026-01-01"}), "RFC 3339"),
        (adding("a@example.com", consent={**ASKED, "at": "2026-02-30T00:00:00Z"}), "no such time"),
        (adding("a@example.com", consent={**ASKED, "at": 1767225600}), "RFC 3339"),
        (adding("a@example.com", consent={**ASKED, "ip": "300.0.0.1"}), "no IP address"),
        (adding("a@example.com", consent={**ASKED, "by": "me"}), "not permitted"),
        (adding("a@example.com", consent=ASKED, confirm=True), "nothing to confirm"),
        (adding("a@example.com", confirm="yes"), "valid boolean"),
        (adding("a@example.com", confirm=True, newsletter="weekly"), "does not go to the list"),
        (adding("a@example.com", tags=["x"] * 51), "at most 50"),
        (adding("a@example.com", attributes={"a": 1}), "valid string"),
        (adding("a@example.com", attributes={"a": "x" * 2001}), "at most 2000"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words_and_nobody_is_added(
    shared: Api, wrong: dict[str, Any], words: str
) -> None:
    api = shared
    before = api.get("/subscribers")
    problem = api.post("/subscribers", wrong, 422)
    assert words in problem["detail"] + "".join(one["said"] for one in problem.get("problems", []))
    assert api.get("/subscribers") == before


def test_whoever_asked_and_has_not_confirmed_is_somebody_of_whom_something_is_held(
    project: ApiProject, api: Api
) -> None:
    asked = {"email": "Yan@Example.com", "name": "Yan"}
    answer = api.client.post(api.url.removesuffix("/api/v1") + "/subscribe/daily-buzz", json=asked)
    assert answer.status_code == 202
    shown = api.get("/subscribers/yan@example.com")
    assert (shown["email"], shown["memberships"], shown["deliveries"]) == ("Yan@example.com", [], [])
    assert [(one["name"], one["confirmed_at"]) for one in shown["sign_ups"]] == [("Yan", None)]
    told = project.call("subscribers", "show", "yan@example.com", "--json").json
    assert {**told, "sign_ups": [one["name"] for one in told["sign_ups"]]} == {**shown, "sign_ups": ["Yan"]}
    said = project.call("subscribers", "show", "yan@example.com").out
    assert "not a subscriber" in said
    assert "asked     for daily-buzz on" in said
    api.call("DELETE", "/subscribers/yan@example.com")
    assert api.get("/subscribers/yan@example.com", 404)["code"] == "not_found"


def test_names_are_kept_as_text_and_answered_as_text(shared: Api) -> None:
    api = shared
    nasty = "<script>alert(1)</script> {{ 7*7 }} =cmd|' /C calc'!A0"
    api.post("/subscribers", adding("zoe@example.com", name=nasty, attributes={"<b>": "<img src=x onerror=y>"}), 201)
    answer = api.call("GET", "/subscribers/zoe@example.com", headers={"Accept": "text/html"})
    assert answer.json()["name"] == nasty
    assert answer.json()["attributes"] == {"<b>": "<img src=x onerror=y>"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
