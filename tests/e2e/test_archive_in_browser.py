"""An issue of the archive in a real browser: it shows, its links work, and nothing in it runs or loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route
from public_site import PublicSite, issue_of

HOSTILE = """<!DOCTYPE html>
<html><head><title>The issue</title><base href="https://evil.example/"><script>document.title = 'ran'</script>
<meta http-equiv="refresh" content="3600;url=https://evil.example/">
<link rel="stylesheet" href="https://evil.example/a.css">
</head><body onload="document.title = 'ran'" style="color:rgb(1, 2, 3)">
<h1>News</h1><img src="https://images.example/a.png">
<img src="https://evil.example/b.png" onerror="document.title = 'ran'">
<iframe src="https://evil.example/"></iframe><svg onload="document.title = 'ran'"></svg>
<form action="/preferences" method="post"><button>Press</button></form>
<a id="out" href="javascript:document.title = 'ran'">Click</a></body></html>"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_in_an_issue_runs_or_loads_but_its_own_images(browser: Browser, tmp_path: Path, scheme: str) -> None:
    with PublicSite(tmp_path) as site:
        site.subscribe()
        site.publish(issue_of(html=HOSTILE, images="https://images.example"))
        page = browser.new_context(color_scheme="dark" if scheme == "dark" else "light").new_page()
        asked: list[str] = []

        def elsewhere(route: Route) -> None:
            asked.append(route.request.url)
            route.abort()

        page.route("https://*/**", elsewhere)
        start = str(site.client.base_url).rstrip("/")
        answer = page.goto(f"{start}/archive/daily-buzz/2026-01-07")
        assert answer is not None
        assert answer.status == 200
        assert page.locator("h1").text_content() == "News"
        assert page.locator("h1").evaluate("e => getComputedStyle(e).color") == "rgb(1, 2, 3)"  # its own styles hold
        page.locator("button").click()
        page.locator("#out").click()
        assert page.title() == "The issue"
        assert page.url == f"{start}/archive/daily-buzz/2026-01-07"
        assert asked == ["https://images.example/a.png"]
        page.locator("nav a").first.click()
        page.wait_for_url(f"{start}/archive/daily-buzz")
        assert page.locator(".issues a").count() == 1
        page.context.close()
