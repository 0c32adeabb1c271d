"""Subscribing in a real browser: a proof of work by our script, and the form on somebody else's site."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from altcha.v1 import Challenge, Payload, solve_challenge
from playwright.sync_api import Browser, Page
from public_site import CONFIG
from signup_sites import SignUpSite, signup_site

from newsletter.wiring.confirmations import signup_store

PAGE = "/subscribe/daily-buzz"
TIMEOUT = 20_000


@contextmanager
def site_at_its_address(folder: Path, signup: str) -> Iterator[SignUpSite]:
    """A site whose base_url is where it is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = CONFIG.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}").replace("port = 0", f"port = {port}")
    with signup_site(folder, signup=signup, config=config) as site:
        yield site


@contextmanager
def another_site(html: list[str]) -> Iterator[str]:
    """Somebody else's page, at an origin of its own; its text may be set later."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(f"<!DOCTYPE html><html lang=en><title>Mine</title><body>{html[0]}</body>".encode())

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what went wrong in it; it must not load anything from elsewhere."""
    context = browser.new_context(viewport={"width": 375, "height": 700}, **options)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page, faults
    context.close()


def snippet_of(site: SignUpSite) -> str:
    """The form that the page shows to be copied."""
    return unescape(site.get(f"{PAGE}/snippet").text.partition("<code>")[2].partition("</code>")[0])


def asked(site: SignUpSite, address: str) -> list[str]:
    """The pages on which somebody asked for it."""
    return [one.request.source for one in signup_store(site.loaded).of_person(address)]


@pytest.fixture(scope="module")
def proving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SignUpSite, str, list[str]]]:
    """A site that asks for work, another site that it knows, and the text of that one's page."""
    html = [""]
    with another_site(html) as origin:
        folder = tmp_path_factory.mktemp("proving")
        lines = f'proof_of_work = true\nallowed_origins = ["{origin}"]\nper_ip = "1000/h"'
        with site_at_its_address(folder, lines) as site:
            yield site, origin, html


def test_the_snippet_subscribes_people_from_another_site(browser: Browser, tmp_path: Path) -> None:
    html = [""]
    with another_site(html) as origin, site_at_its_address(tmp_path, f'allowed_origins = ["{origin}"]') as site:
        html[0] = snippet_of(site)
        assert "<script" not in html[0]
        with opened(browser, java_script_enabled=False) as (page, faults):
            page.goto(origin)
            page.get_by_label("Your email address").fill("anna@example.com")
            page.get_by_label("Your name").fill("Anna")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("heading", name="Check your inbox").wait_for()
            assert page.url == f"{site.loaded.settings.site.base_url}{PAGE}"
        assert faults == []
        assert asked(site, "anna@example.com") == [f"web {origin}"]
        assert site.mail()["To"] == "anna@example.com"
        [kept] = signup_store(site.loaded).of_person("anna@example.com")
        assert kept.request.wording in html[0]


def test_a_site_that_is_not_named_cannot(browser: Browser, tmp_path: Path) -> None:
    html = [""]
    with another_site(html) as origin, site_at_its_address(tmp_path, "") as site:
        html[0] = snippet_of(site)
        with opened(browser) as (page, _):
            page.goto(origin)
            page.get_by_label("Your email address").fill("anna@example.com")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("heading", name="That did not come from this site").wait_for()
        assert asked(site, "anna@example.com") == []


class TestProofOfWork:
    def test_the_browser_works_it_out(self, browser: Browser, proving: tuple[SignUpSite, str, list[str]]) -> None:
        site = proving[0]
        with opened(browser) as (page, faults):
            scripts: list[str] = []
            page.on("request", lambda one: scripts.append(one.url))
            page.goto(f"{site.loaded.settings.site.base_url}{PAGE}")
            page.get_by_label("Your email address").fill("anna@example.com")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("heading", name="Check your inbox").wait_for()
            assert {url.rpartition("127.0.0.1:")[0] for url in scripts} == {"http://"}
            # back, and once more: the button works, and the work is done anew
            page.go_back()
            page.get_by_label("Your email address").fill("ben@example.com")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("heading", name="Check your inbox").wait_for()
        assert faults == []
        assert len(asked(site, "anna@example.com")) == len(asked(site, "ben@example.com")) == 1

    def test_the_snippet_works_it_out_on_another_site(
        self, browser: Browser, proving: tuple[SignUpSite, str, list[str]]
    ) -> None:
        site, origin, html = proving
        html[0] = snippet_of(site)
        with opened(browser) as (page, faults):
            page.goto(origin)
            page.get_by_label("Your email address").fill("carla@example.com")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("heading", name="Check your inbox").wait_for()
        assert faults == []
        assert asked(site, "carla@example.com") == [f"web {origin}"]

    def test_without_javascript_the_page_says_what_it_needs(
        self, browser: Browser, proving: tuple[SignUpSite, str, list[str]]
    ) -> None:
        site = proving[0]
        with opened(browser, java_script_enabled=False) as (page, _):
            page.goto(f"{site.loaded.settings.site.base_url}{PAGE}")
            said = page.locator("noscript p")  # whose text other locators pass over
            said.wait_for()
            assert "This form needs JavaScript" in said.inner_text()
            page.get_by_label("Your email address").fill("dora@example.com")
            page.get_by_role("button", name="Subscribe").click()
            page.get_by_role("alert").get_by_text("Switch JavaScript on").wait_for()
            assert page.get_by_label("Your email address").input_value() == "dora@example.com"
        assert asked(site, "dora@example.com") == []

    def test_a_program_solves_it_and_may_use_it_once(self, proving: tuple[SignUpSite, str, list[str]]) -> None:
        site = proving[0]
        assert "script-src 'self'" in site.get(PAGE).headers["content-security-policy"]
        assert "script-src" not in site.get(f"{PAGE}/snippet").headers["content-security-policy"]
        given = site.get(f"{PAGE}/challenge")
        assert given.headers["cache-control"] == "no-store"
        challenge = Challenge(
            *(given.json()[name] for name in ("algorithm", "challenge", "maxnumber", "salt", "signature"))
        )
        found = solve_challenge(challenge, max_number=challenge.max_number)
        assert found is not None
        proof = Payload("SHA-256", challenge.challenge, found.number, challenge.salt, challenge.signature).to_base64()

        def post(**fields: str) -> httpx.Response:
            return site.client.post(PAGE, json={"email": "eve@example.com", **fields})

        assert post().status_code == 422
        assert post(altcha="x").status_code == 422
        assert post(altcha=proof).status_code == 202
        again = post(altcha=proof)
        assert (again.status_code, list(again.json()["errors"])) == (422, ["form"])
        assert len(asked(site, "eve@example.com")) == 1
