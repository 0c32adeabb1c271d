"""What stands around every route: headers, limits, whose forms may come here, and how errors are told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from event_loops import in_a_loop
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from newsletter import logs
from newsletter.errors import TemporaryError
from newsletter.project_files import Shipped, shipped
from newsletter.rendering.words import words_of
from newsletter.web.application import Surroundings, application
from newsletter.web.body_limits import KB, MB
from newsletter.web.client_address import client_ip
from newsletter.web.error_answers import TOLD, ErrorAnswers
from newsletter.web.own_origin import origin_of
from newsletter.web.pages import Pages
from newsletter.web.security_headers import CONTENT_SECURITY_POLICY
from newsletter.web.serving import WebServer

OURS = "https://news.example.com"
TOKEN = "A" * 32


def routes() -> APIRouter:
    """A few routes that do what routes do, and what they should not."""
    found = APIRouter()
    kept: list[int] = []

    @found.get("/page")
    def page() -> Response:
        return HTMLResponse("<p>hello</p>")

    @found.get("/framed")
    def framed() -> Response:
        return HTMLResponse("x", headers={"Content-Security-Policy": "sandbox", "Cache-Control": "public"})

    @found.get("/broken/{token}")
    def broken(token: str) -> Response:
        raise LookupError(f"the password is hunter2, {len(token)}")

    @found.get("/away")
    def away() -> Response:
        raise TemporaryError("postgresql://buzz:hunter2@db.internal is away")

    @found.get("/number/{number}")
    def number(number: int) -> Response:
        return PlainTextResponse(str(number))

    async def take(request: Request) -> Response:
        size = len(await request.body())
        kept.append(size)
        return PlainTextResponse(str(size))

    for path in ("/preferences/a/t", "/subscribe/a", "/unsubscribe/a/t", "/webhooks/x", "/api/v1/x"):
        found.add_api_route(path, take, methods=["POST"])
    found.add_api_route("/taken", lambda: kept, methods=["GET"])
    return found


def errors(language: str = "en") -> ErrorAnswers:
    roots = [shipped(Shipped.TEMPLATES)]
    shared = {"site_name": "The Site", "postal_address": "1 Example Street", "path": lambda path: path}
    return ErrorAnswers(Pages(roots, shared), words_of(language, roots))


def asked(
    method: str,
    path: str,
    *,
    base_url: str = OURS,
    allowed: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
    content: bytes | AsyncIterator[bytes] | None = None,
    told: ErrorAnswers | None = None,
) -> httpx.Response:
    """One request to the application, without a network."""
    app = application(routes(), surroundings=Surroundings(base_url, allowed, told or errors()))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
            return await client.request(method, path, headers=headers, content=content)

    return in_a_loop(ask())


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/page"),
        ("HEAD", "/page"),
        ("GET", "/nothing"),
        ("PUT", "/page"),
        ("GET", f"/broken/{TOKEN}"),
        ("GET", "/away"),
        ("POST", "/subscribe/a"),
        ("GET", "/number/x"),
    ],
)
def test_every_answer_has_the_security_headers(method: str, path: str) -> None:
    headers = asked(method, path).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "set-cookie" not in headers
    assert "server" not in headers


def test_the_policy_lets_no_script_run_and_nothing_come_from_elsewhere() -> None:
    rules = dict(one.split(" ", 1) for one in CONTENT_SECURITY_POLICY.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["style-src"] == rules["img-src"] == rules["form-action"] == "'self'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_a_route_may_have_another_policy() -> None:
    headers = asked("GET", "/framed").headers
    assert headers.get_list("content-security-policy") == ["sandbox"]
    assert headers.get_list("cache-control") == ["public"]


def test_without_https_there_is_no_promise_of_it() -> None:
    assert "strict-transport-security" not in asked("GET", "/page", base_url="http://localhost:8000").headers


@pytest.mark.parametrize("path", ["/unsubscribe/a/t", "/preferences/a/t", "/confirm/a/t", "/c/a/2026-01-07/1/t"])
def test_pages_with_a_token_are_neither_kept_nor_indexed(path: str) -> None:
    for method in ("GET", "POST"):
        headers = asked(method, path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex"
    assert "x-robots-tag" not in asked("GET", "/page").headers
    assert "cache-control" not in asked("GET", "/page").headers
    assert asked("POST", "/subscribe/a").headers["cache-control"] == "no-store"
    assert asked("GET", "/nothing").headers["cache-control"] == "no-store"


# bodies


@pytest.mark.parametrize(
    ("path", "most"),
    [("/subscribe/a", 64 * KB), ("/unsubscribe/a/t", 64 * KB), ("/api/v1/x", MB), ("/webhooks/x", 10 * MB)],
)
def test_a_body_may_be_so_large_and_no_larger(path: str, most: int) -> None:
    async def in_parts(size: int) -> AsyncIterator[bytes]:
        for at in range(0, size, 50_000):
            yield b"x" * min(50_000, size - at)

    assert asked("POST", path, content=b"x" * most).text == str(most)
    assert asked("POST", path, content=in_parts(most)).text == str(most)
    for answer in (asked("POST", path, content=b"x" * (most + 1)), asked("POST", path, content=in_parts(most + 1))):
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "9" * 5000, "\xb2"])
def test_a_length_that_is_none_or_beyond_all_measure_is_refused(length: str) -> None:
    answer = asked("POST", "/subscribe/a", headers={"Content-Length": length.encode("latin-1")}, content=b"x")  # type: ignore[dict-item]  # httpx takes bytes
    assert answer.status_code == 413


# forms of other sites


@pytest.mark.parametrize("path", ["/preferences/a/t", "/subscribe/a"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Sec-Fetch-Site": "same-origin", "Origin": OURS}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": OURS}, 200),
        ({"Origin": OURS.upper()}, 200),
        ({"Origin": "http://other.example:8080", "Host": "other.example:8080"}, 200),  # another name of this server
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OURS}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://shop.example.com"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://news.example.com.evil.example"}, 403),
        ({"Origin": "https://news.example.com:8443"}, 403),
        ({"Origin": "ftp://news.example.com"}, 403),
        ({"Origin": "https://evil.example, https://news.example.com"}, 403),
    ],
)
def test_forms_come_from_our_own_pages(path: str, headers: dict[str, str], status: int) -> None:
    answer = asked("POST", path, headers={**BROWSER, **headers}, content=b"a=b")
    assert answer.status_code == status
    if status == 403:
        assert "That did not come from this site" in answer.text


def test_only_subscribing_is_open_to_the_sites_that_are_named() -> None:
    named = ("https://www.example.com/", "http://localhost:8080")
    crossing = {"Sec-Fetch-Site": "cross-site", "Origin": "https://www.example.com"}
    assert asked("POST", "/subscribe/a", allowed=named, headers=crossing).status_code == 200
    assert asked("POST", "/preferences/a/t", allowed=named, headers=crossing).status_code == 403
    assert asked("POST", "/subscribers", allowed=named, headers=crossing).status_code == 403
    crossing["Origin"] = "https://www.example.com.evil.example"
    assert asked("POST", "/subscribe/a", allowed=named, headers=crossing).status_code == 403


@pytest.mark.parametrize("path", ["/unsubscribe/a/t", "/webhooks/x", "/api/v1/x"])
def test_what_has_a_proof_of_its_own_may_come_from_anywhere(path: str) -> None:
    crossing = {"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example"}
    assert asked("POST", path, headers=crossing).status_code == 200


def test_looking_is_open_to_links_from_anywhere() -> None:
    assert asked("GET", "/page", headers={"Sec-Fetch-Site": "cross-site", "Origin": "null"}).status_code == 200


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://News.Example.com/letters", "https://news.example.com"),
        ("https://news.example.com:443", "https://news.example.com"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:80/x", "http://[::1]"),
        ("", ""),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


# errors


def test_people_get_a_page_and_programs_get_json() -> None:
    page = asked("GET", "/nothing", headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing here" in page.text
    assert "1 Example Street" in page.text
    for path, headers in (("/nothing", {"Accept": "application/json"}), ("/api/v1/nothing", BROWSER)):
        answer = asked("GET", path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json() == {"title": "Not Found", "status": 404}


def test_a_404_is_the_same_whatever_was_asked_for() -> None:
    one, other = (asked("GET", path, headers=BROWSER) for path in (f"/unsubscribe/a/{TOKEN}", "/confirm/b/c"))
    assert one.content == other.content
    assert {**one.headers} == {**other.headers}


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_status_has_words(language: str) -> None:
    told = errors(language)
    told.make_all()
    scope = {"type": "http", "path": "/", "headers": []}
    pages = {status: bytes(told.answer(scope, status).body).decode() for status in (*TOLD, 418, 502)}
    assert len({pages[status] for status in TOLD}) == len(TOLD)
    assert pages[418] == pages[400]
    assert pages[502] == pages[500]
    assert all(f'<html lang="{language}"' in page for page in pages.values())


def test_a_mistake_of_ours_tells_nothing_and_stands_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, str, dict[str, object]]] = []
    monkeypatch.setattr(logs, "write", lambda level, event, **fields: lines.append((level, event, fields)))
    answer = asked("GET", f"/broken/{TOKEN}?q=hunter3", headers=BROWSER)
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    for secret in ("hunter2", "hunter3", "LookupError", "Traceback", TOKEN):
        assert secret not in answer.text
    [(level, event, fields)] = lines
    assert (level, event) == ("exception", "request_failed")
    assert fields["path"] == "/broken/…"
    assert TOKEN not in str(fields)


def test_a_database_that_is_away_is_503_and_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(logs, "write", lambda _level, event, **_fields: lines.append(event))
    answer = asked("GET", "/away", headers=BROWSER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "hunter2" not in answer.text
    assert "Not just now" in answer.text
    assert lines == ["not_answered"]


def test_what_is_not_understood_is_said_by_place_and_not_repeated() -> None:
    answer = asked("GET", "/number/<script>", headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["problems"] == [
        {"at": "path.number", "said": "Input should be a valid integer, unable to parse string as an integer"}
    ]
    assert "script" not in answer.text
    assert "script" not in asked("GET", "/number/<script>", headers=BROWSER).text


def test_a_refused_method_says_which_are_not() -> None:
    answer = asked("DELETE", "/page", headers=BROWSER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


# addresses


def test_the_path_of_base_url_may_be_there_or_not() -> None:
    base = "https://example.com/letters"
    for path in ("/page", "/letters/page"):
        app = application(routes(), surroundings=Surroundings(base, (), errors()))
        transport = httpx.ASGITransport(app)

        async def ask(path: str = path, transport: httpx.ASGITransport = transport) -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="https://example.com") as client:
                return await client.get(path)

        assert in_a_loop(ask()).status_code == 200
    assert asked("GET", "/letterspage").status_code == 404


def told_address(server: WebServer, forwarded: list[str]) -> str:
    headers = [("X-Forwarded-For", one) for one in forwarded]
    return httpx.get(server.url + "who", headers=headers).text


@pytest.fixture
def who() -> APIRouter:
    found = APIRouter()

    @found.get("/who")
    def ask(request: Request) -> Response:
        return PlainTextResponse(client_ip(request))

    return found


@pytest.mark.parametrize(
    ("trusted", "forwarded", "found"),
    [
        ([], ["198.51.100.7"], "127.0.0.1"),
        (["10.0.0.0/8"], ["198.51.100.7"], "127.0.0.1"),  # it did not come through that proxy
        (["127.0.0.0/8"], [], "127.0.0.1"),
        (["127.0.0.0/8"], ["198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8"], ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),  # the left one is what the client said
        (["127.0.0.0/8"], ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["203.0.113.1, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (["127.0.0.1/32"], ["[2001:db8::0:1]:443"], "2001:db8::1"),
        (["127.0.0.1/32"], ["::ffff:198.51.100.7"], "198.51.100.7"),
        (["127.0.0.1/32"], ["203.0.113.1, <script>"], ""),
        (["127.0.0.1/32"], ["fe80::1%eth0"], "fe80::1"),
    ],
)
def test_the_address_is_that_of_the_client_behind_trusted_proxies(
    who: APIRouter, trusted: list[str], forwarded: list[str], found: str
) -> None:
    with WebServer(application(who), "127.0.0.1", 0, trusted_proxies=trusted) as server:
        assert told_address(server, forwarded) == found


# files


@pytest.mark.parametrize("name", ["page.css", "icon.svg"])
def test_the_pages_own_files_are_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    pages = Pages([tmp_path, shipped(Shipped.TEMPLATES)], {})
    assert pages.file(name) == (shipped(Shipped.TEMPLATES) / "pages" / name).read_bytes()
    (tmp_path / "pages" / name).write_text("mine")
    assert pages.file(name) == b"mine"


def test_problem_documents_are_json() -> None:
    scope = {"type": "http", "path": "/api/x", "headers": []}
    body = errors().answer(scope, 409, detail="it is paused").body
    assert json.loads(bytes(body)) == {"title": "Conflict", "status": 409, "detail": "it is paused"}
