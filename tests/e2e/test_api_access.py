"""Who may call the API: tokens, scopes, guesses; and what every answer is like, whoever asks."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from api_projects import EVERY, Api, ApiProject
from projects import SLOT

from newsletter import logs
from newsletter.access.model import Scope, new_token
from newsletter.errors import TemporaryError
from newsletter.web.api_throttle import MOST, Throttle

_METHODS = ("get", "post", "patch", "delete")
_EXAMPLES = {"newsletter": "daily-buzz", "slot": SLOT, "email": "nobody@example.com"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ApiProject:
    return ApiProject(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def api(project: ApiProject) -> Iterator[Api]:
    """One server for the tests that leave it as it was, and try few wrong tokens."""
    with project.api() as api:
        yield api


@pytest.fixture
def other(tmp_path: Path) -> ApiProject:
    """A project of the test's own."""
    return ApiProject(tmp_path)


def operations(api: Api) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(method, path, path with values, operation) of each in the description."""
    paths = api.call("GET", "/openapi.json", as_="").json()["paths"]
    return [
        (method, path, re.sub(r"{(\w+)}", lambda match: _EXAMPLES[match[1]], path), path_item[method])
        for path, path_item in paths.items()
        for method in _METHODS
        if method in path_item
    ]


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    """A body that is no good, where the operation has one: nothing may happen."""
    return {"json": {"no such field": 1}} if "requestBody" in operation else {}


def test_every_operation_lets_in_a_token_of_its_own_scope_and_no_other(api: Api) -> None:
    seen = 0
    for method, path, filled, operation in operations(api):
        [needed] = operation["security"][0]["token"]
        for scope in Scope:
            answer = api.call(method, filled, as_=scope.value, **body_of(operation))
            seen += 1
            if scope == needed:
                assert answer.status_code not in {401, 403}, (method, path, scope, answer.text)
            else:
                assert answer.status_code == 403, (method, path, scope, answer.text)
                assert answer.json()["code"] == "insufficient_scope"
                said = f'Bearer realm="newsletter", error="insufficient_scope", scope="{needed}"'
                assert answer.headers["www-authenticate"] == said
    assert seen == 19 * 3


def test_what_only_looks_needs_read_and_nothing_else_does(api: Api) -> None:
    for method, path, _, operation in operations(api):
        [needed] = operation["security"][0]["token"]
        assert (method == "get") == (needed == Scope.READ), (method, path)


def test_without_a_token_nothing_is_told_not_even_what_there_is(api: Api) -> None:
    answers = [
        api.call(method, filled, as_="", **body_of(operation)) for method, _, filled, operation in operations(api)
    ]
    answers.append(api.call("GET", "/no/such/path", as_=""))
    answers.append(api.call("PUT", "/runs", as_=""))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    # RFC 6750, section 3.1: no error where no token came
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="newsletter"'}


WRONG: tuple[str | bytes, ...] = (
    f"Bearer {new_token()}",
    "Bearer",
    "Basic YTpi",
    "nonsense",
    "Bearer nlt_é".encode("latin-1"),
    b"Bearer \xff\xfe",
    "Bearer " + "a" * 4000,
)


def test_every_wrong_token_gets_the_same_answer(other: ApiProject) -> None:
    with other.api() as api:
        for said in (*WRONG, api.tokens[EVERY], f"Basic {api.tokens[EVERY]}"):
            raw_said = said if isinstance(said, bytes) else said.encode()
            answer = api.client.get(f"{api.url}/runs", headers=[(b"Authorization", raw_said)])
            assert answer.status_code == 401, said
            assert answer.json() == {
                "title": "Unauthorized",
                "status": 401,
                "code": "wrong_token",
                "detail": "this token is not known, or was revoked",
            }
            assert answer.headers["www-authenticate"] == 'Bearer realm="newsletter", error="invalid_token"'


def test_a_token_is_read_from_the_header_and_from_nowhere_else(api: Api) -> None:
    token = api.tokens[EVERY]
    assert api.call("GET", "/runs", as_="", params={"access_token": token}).status_code == 401
    assert api.call("GET", "/runs", as_="", headers={"Cookie": f"token={token}"}).status_code == 401
    form = api.call("POST", "/suppressions", as_="", data={"access_token": token})
    assert form.status_code == 401
    lower = api.call("GET", "/runs", as_="", headers={"Authorization": f"bearer {token}"})
    assert lower.status_code == 200  # RFC 9110, section 11.1: the scheme's case does not matter
    twice = api.client.get(
        f"{api.url}/runs", headers=[("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    )
    assert twice.status_code == 401


def test_a_revoked_token_holds_no_more_from_the_next_call_on(other: ApiProject) -> None:
    with other.api() as api:
        assert api.call("GET", "/runs", as_="read").status_code == 200
        assert other.call("tokens", "revoke", "read").code == 0
        assert api.call("GET", "/runs", as_="read").status_code == 401
        assert api.call("GET", "/runs").status_code == 200


def test_who_guesses_tokens_has_to_wait_and_none_is_looked_up_meanwhile(other: ApiProject) -> None:
    with other.api() as api:
        guesses = [
            api.call("GET", "/runs", as_="", headers={"Authorization": f"Bearer {new_token()}"}) for _ in range(MOST)
        ]
        assert {guess.status_code for guess in guesses} == {401}
        assert len({guess.content for guess in guesses}) == 1
        for headers in ({"Authorization": f"Bearer {new_token()}"}, {"Authorization": f"Bearer {api.tokens[EVERY]}"}):
            answer = api.call("GET", "/runs", as_="", headers=headers)
            assert answer.status_code == 429
            assert answer.json()["code"] == "too_many_wrong_tokens"
            assert 0 < int(answer.headers["retry-after"]) <= 60


def test_the_throttle_counts_an_address_for_a_minute_and_forgets_it() -> None:
    now = 0.0
    throttle = Throttle(most=3, within=60, clock=lambda: now)
    for _ in range(3):
        assert throttle.wait("203.0.113.7") == 0
        throttle.failed("203.0.113.7")
    assert throttle.wait("203.0.113.7") == 61
    assert throttle.wait("203.0.113.8") == 0
    now = 59.5
    assert throttle.wait("203.0.113.7") == 1
    now = 60.0
    assert throttle.wait("203.0.113.7") == 0
    throttle.failed("203.0.113.7")
    assert throttle.wait("203.0.113.7") == 0


def test_the_throttle_counts_a_network_of_ipv6_as_one_and_remembers_so_many() -> None:
    throttle = Throttle(most=2)
    throttle.failed("2001:db8::1")
    throttle.failed("2001:db8::ffff:2")
    assert throttle.wait("2001:db8::77") > 0
    assert throttle.wait("2001:db8:0:1::77") == 0
    for number in range(12_000):
        throttle.failed(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(throttle._wrong) == 10_000


def test_no_token_stands_in_the_log_and_whatever_changed_something_does(other: ApiProject) -> None:
    written = io.StringIO()
    with mock.patch.dict(logs._state), mock.patch("sys.stderr", written), other.api() as api:
        logs.configure(terminal=False)
        api.call("POST", "/subscribers/anna@example.com/unsubscribe", as_="subscribers", json={"note": "asked"})
        api.call("POST", "/suppressions", as_="read", json={"email": "x@example.com"})
        wrong = new_token()
        api.call("GET", f"/{wrong}", headers={"Authorization": f"Bearer {wrong}"})
        api.call("POST", f"/runs/daily-buzz/{SLOT}", as_="send", json={"confirm": 1}, params={"token": wrong})
        tokens = [*api.tokens.values(), wrong]
    said = written.getvalue()
    calls = [json.loads(line) for line in said.splitlines() if '"api_call"' in line]
    assert [(one["token"], one["operation"], one["status"]) for one in calls] == [
        ("subscribers", "unsubscribe", 200),
        ("read", "add_suppression", 403),
        ("send", "send", 422),
    ]
    for secret in (*tokens, "anna@example.com", "Bearer"):
        assert secret not in said


def test_every_answer_is_json_that_nobody_keeps_and_no_browser_reads_as_a_page(api: Api) -> None:
    calls = [
        api.call("GET", "/openapi.json", as_=""),
        api.call("GET", "/subscribers"),
        api.call("GET", "/subscribers", as_=""),
        api.call("GET", "/subscribers", as_="send"),
        api.call("GET", "/no/such/path"),
        api.call("PUT", "/runs"),
        api.call("GET", "/subscribers", params={"limit": "x"}),
        api.call("POST", "/subscribers", content=b"{", headers={"Content-Type": "application/json"}),
        api.call("POST", "/subscribers", content=b"a=b"),
        api.call("GET", "/runs", headers={"Origin": "https://evil.example", "Accept": "text/html"}),
    ]
    for answer in calls:
        kind = "application/json" if answer.status_code == 200 else "application/problem+json"
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "set-cookie"]
        if answer.status_code != 200:
            assert answer.json()["status"] == answer.status_code
            assert answer.json()["title"]
    assert [answer.status_code for answer in calls] == [200, 200, 401, 403, 404, 405, 422, 422, 415, 200]
    assert calls[5].headers["allow"] == "GET, HEAD"


def test_what_nobody_expected_is_a_problem_too_and_stands_in_the_log_alone(
    other: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("of no concern to anybody else")

    written = io.StringIO()
    monkeypatch.setattr("newsletter.store.ledger_views.LedgerViews.runs", broken)
    with mock.patch.dict(logs._state), mock.patch("sys.stderr", written), other.api() as api:
        logs.configure(terminal=False)
        answer = api.call("GET", "/runs")
        assert answer.status_code == 500
        assert answer.json() == {
            "title": "Internal Server Error",
            "status": 500,
            "code": "failed",
            "detail": "something went wrong",
        }
        assert api.call("GET", "/subscribers").status_code == 200
    assert "of no concern" in written.getvalue()
    assert api.tokens[EVERY] not in written.getvalue()


def test_a_database_that_is_away_is_told_and_a_token_is_not_taken_for_a_wrong_one(
    other: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise TemporaryError("the database is locked by another process", hint="Try again.")

    with other.api() as api:
        with monkeypatch.context() as patched:
            patched.setattr("newsletter.store.api_tokens.SqlTokens.find", away)
            for _ in range(MOST + 1):
                answer = api.call("GET", "/runs")
                assert (answer.status_code, answer.json()["code"]) == (503, "later")
            assert int(answer.headers["retry-after"]) > 0
        assert api.call("GET", "/runs").status_code == 200


def test_head_answers_as_get_does_without_a_body(api: Api) -> None:
    answer = api.call("HEAD", "/runs")
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.call("HEAD", "/runs", as_="").status_code == 401


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/jsonp", 415),
        (b'{"email": "a@example.com"', "application/json", 422),
        (b"[" * 60_000, "application/json", 400),
        (b'{"email": ' + b"9" * 60_000 + b"}", "application/json", 400),
        (b'{"email": NaN}', "application/json", 422),
        (b'{"email": "\xff@example.com"}', "application/json", 400),
        (b'{"email": "\\ud800@example.com"}', "application/json", 422),
        (b'{"\\ud800": 1, "email": "a@example.com"}', "application/json", 422),
        (b'{"email": 7}', "application/json", 422),
        (b'{"email": null}', "application/json", 422),
        (b'{"email": "a@example.com", "list": ["daily-buzz"]}', "application/json", 422),
        (b'{"email": "a@example.com", "admin": true}', "application/json", 422),
        (b'[{"email": "a@example.com"}]', "application/json", 422),
        (b'"a@example.com"', "application/json", 422),
        (b"", "application/json", 422),
        (b'{"email": "' + b"a" * 65_536 + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_refused(api: Api, body: bytes, kind: str, status: int) -> None:
    before = api.get("/suppressions")
    answer = api.call("POST", "/suppressions", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert api.get("/suppressions") == before


def test_a_body_that_comes_in_pieces_is_limited_too(api: Api) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    answer = api.call("POST", "/suppressions", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_body_over_the_limit_is_not_even_read_without_a_token(api: Api) -> None:
    answer = api.call("POST", "/suppressions", as_="", content=b" " * 500_000)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query", ["access=1", "limit=1&limit=2", "limit=0", "limit=501", "after=%00", "after=x", "after=cDph"]
)
def test_a_parameter_that_is_not_what_it_should_be_is_refused(api: Api, query: str) -> None:
    answer = api.call("GET", f"/suppressions?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["problems"][0]["at"].startswith("query.")


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..%2fetc", "a%00b", "Daily-Buzz", "daily_buzz", "~root", "%E2%80%AE", "a" * 101]
)
def test_no_name_of_a_newsletter_leads_elsewhere(api: Api, name: str) -> None:
    for path in (f"/issues/{name}", f"/issues/{name}/{SLOT}", f"/runs/{name}/{SLOT}"):
        assert raw(api, path).status_code in {404, 422}, path


@pytest.mark.parametrize(
    "slot",
    ["..%2f2026-01-07", "2026-01-07.txt%2f..", "2026-01-07.", "2026-01-07.E", "today", "2026-02-30", "2026-01-07%0a",
     "issues%2f2026-01-07.txt", "2026-01-07.a%00", "%D9%A2026-01-07", "%2fetc%2fpasswd", "0000-00-00"],
)  # fmt: skip
def test_no_slot_leads_elsewhere(api: Api, slot: str) -> None:
    for path in (f"/issues/daily-buzz/{slot}", f"/runs/daily-buzz/{slot}", f"/runs/daily-buzz/{slot}/deliveries"):
        answer = raw(api, path)
        assert answer.status_code in {404, 422}, (path, answer.text)
        assert "root:" not in answer.text


def raw(api: Api, path: str) -> httpx.Response:
    """GET of a path as it is written: httpx would take the dots away."""
    url = httpx.URL(api.url)
    whole = httpx.URL(scheme=url.scheme, host=url.host, port=url.port, raw_path=f"{url.path}{path}".encode())
    return api.client.get(whole, headers={"Authorization": f"Bearer {api.tokens[EVERY]}"})


def test_the_secret_of_a_token_is_printed_once_and_kept_nowhere(tmp_path: Path) -> None:
    project = ApiProject(tmp_path)
    made = project.call("tokens", "add", "crm", "--scope", "read", "--scope", "subscribers")
    assert made.code == 0
    [secret] = made.out.splitlines()
    assert re.fullmatch(r"nlt_[A-Za-z0-9_-]{43}", secret)
    assert "not shown again" in made.err
    assert secret not in made.err
    listed = project.call("tokens", "list", "--json")
    assert secret not in listed.out
    [token] = listed.json
    assert token["name"] == "crm"
    assert token["scopes"] == ["read", "subscribers"]
    assert token["revoked_at"] is None
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert secret.encode() not in file.read_bytes(), file
    again = project.call("tokens", "add", "crm", "--scope", "read")
    assert again.code == 5
    assert project.call("tokens", "revoke", "crm", "--json").json == {"name": "crm", "revoked": True}
    assert project.call("tokens", "revoke", "crm").code == 4
    second = project.call("tokens", "add", "crm", "--scope", "read", "--json").json
    assert second["token"] != secret
    assert [one["revoked_at"] is None for one in project.call("tokens", "list", "--json").json] == [False, True]


@pytest.mark.parametrize(
    "arguments",
    [("x",), ("", "--scope", "read"), (" x", "--scope", "read"), ("a\nb", "--scope", "read"), ("x", "--scope", "all")],
)
def test_a_token_needs_a_name_and_a_scope(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = ApiProject(tmp_path).call("tokens", "add", *arguments)
    assert ended.code == 2
    assert "Value error" not in ended.err  # no word of the library that reads the command line
    assert ended.out == ""
