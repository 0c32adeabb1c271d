"""The page of a dry run in Chromium, opened from disk: any width, light and dark, without a script, hostile or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it publishes no types
from page_checks import anchors, contrast, standards_mode
from playwright.sync_api import Browser, Frame, Page
from previewed_runs import TEMPLATES, everyday_run, hostile_run

from newsletter.pipeline.preview_page import preview_page

WIDTHS = (320, 375, 700, 900, 1200, 1600)
SCHEMES = ("light", "dark")
WHITE, DARK = "rgb(255, 255, 255)", "rgb(23, 25, 29)"

#: Each closes a tag, attribute or comment the page could be in, and then does something that can be noticed.
ATTACKS = (
    "<script>top.hit=1</script>",
    '"\' onload=top.hit=1 autofocus onfocus=top.hit=1 x="',
    "--></textarea></title></style></pre></p></td></iframe><img src=SERVER/image onerror=top.hit=1>",
    '"></iframe><iframe srcdoc="&lt;script&gt;top.hit=1&lt;/script&gt;"></iframe><form action=SERVER/form>',
    "&quot;&gt;&lt;svg onload=top.hit=1&gt;&amp;quot;",
    "{{ 7 * 7 }}{% include 'page.css' %}",
    '<a href="javascript:top.hit=1">go</a><base href="SERVER/base/">',
    '<meta http-equiv="refresh" content="0;url=SERVER/refresh"><link rel="stylesheet" href="SERVER/style">',
    "<style>@import 'SERVER/import'; p { background: url(SERVER/background) }</style>",
)


@dataclass
class WebServer:
    """A server on loopback that notes the paths it was asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            noted.asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a page")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing, in place of a line on stderr for each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        noted = WebServer(f"http://127.0.0.1:{running.server_port}")
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield noted
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("out") / "index.html"
    file.write_text(preview_page(everyday_run(), [TEMPLATES]), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def opened(browser: Browser, page_file: Path) -> Page:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    return page


def resized(page: Page, width: int, scheme: str, height: int = 900) -> Page:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": height})
    return page


def mail_views(page: Page) -> dict[tuple[str, str], Frame]:
    """The four frames by (scheme, device)."""
    views = {}
    for frame in page.frames[1:]:
        title = frame.frame_element().get_attribute("title") or ""
        views["dark" if "dark mode" in title else "light", "phone" if "phone" in title else "desktop"] = frame
    return views


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_reads_well_at_any_width_in_both_schemes(opened: Page, width: int, scheme: str) -> None:
    page = resized(opened, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    # what reaches over the edge inside a box that scrolls by itself does no harm, so elements are not asked
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert beyond == 0
    assert [fault for check in (standards_mode, anchors, contrast) for fault in check(page)] == []


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1200, "light")])
def test_axe_finds_nothing_on_the_page(opened: Page, width: int, scheme: str) -> None:
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(resized(opened, width, scheme), options={"runOnly": rules, "iframes": False}).response
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []
    passed = {one["id"] for one in found["passes"]}
    assert passed >= {"color-contrast", "frame-title", "heading-order", "scrollable-region-focusable", "region"}


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mail_is_shown_at_both_widths_in_both_schemes_whatever_the_viewer_prefers(
    opened: Page, width: int, scheme: str
) -> None:
    page = resized(opened, width, scheme, height=6000)
    shown = {
        view: (
            frame.evaluate("innerWidth"),
            frame.evaluate("getComputedStyle(document.querySelector('.k')).backgroundColor"),
        )
        for view, frame in mail_views(page).items()
    }
    assert shown == {
        ("light", "desktop"): (700, WHITE),
        ("light", "phone"): (375, WHITE),
        ("dark", "desktop"): (700, DARK),
        ("dark", "phone"): (375, DARK),
    }
    for frame in mail_views(page).values():
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = frame.frame_element().bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_it_asks_nobody_for_anything_and_breaks_none_of_its_own_rules(browser: Browser, page_file: Path) -> None:
    page = browser.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(page_file.as_uri(), wait_until="networkidle")
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
    assert complaints == []
    page.close()


def test_schemes_are_chosen_by_keyboard_and_without_javascript(browser: Browser, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1300, "height": 900})
    page = context.new_page()
    page.goto(page_file.as_uri())
    stages = {scheme: page.locator(f".stage.{scheme}") for scheme in SCHEMES}
    assert all(stage.is_visible() for stage in stages.values())
    page.get_by_label("Light and dark").focus()
    for key, visible in [("ArrowRight", {"light"}), ("ArrowRight", {"dark"}), ("ArrowRight", {"light", "dark"})]:
        page.keyboard.press(key)
        assert {scheme for scheme, stage in stages.items() if stage.is_visible()} == visible
    context.close()


def test_links_in_the_mail_open_beside_it_and_its_contents_lead_to_its_sections(
    browser: Browser, server: WebServer, tmp_path: Path
) -> None:
    run = everyday_run()
    file = tmp_path / "index.html"
    run = dataclasses.replace(run, html=run.html.replace("https://news.example.com", server.url))
    file.write_text(preview_page(run, [TEMPLATES]), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.goto(file.as_uri())
    mail = mail_views(page)["light", "desktop"]
    mail.click("a[href$='#s3']")
    assert mail.evaluate("Math.abs(document.getElementById('s3').getBoundingClientRect().top)") < 60
    with context.expect_page() as beside:
        mail.click("text=Unsubscribe")
    beside.value.wait_for_load_state()
    assert beside.value.url == f"{server.url}/u/1"
    assert beside.value.evaluate("opener") is None
    assert page.url == file.as_uri()
    assert mail.url.startswith("about:srcdoc")
    context.close()


@pytest.mark.parametrize("attacks", [ATTACKS, ATTACKS[::-1]], ids=["in order", "the other way round"])
def test_hostile_text_of_issue_and_subscribers_stays_text_and_a_hostile_mail_does_nothing(
    browser: Browser, server: WebServer, tmp_path: Path, attacks: tuple[str, ...]
) -> None:
    attack = " ".join(attacks).replace("SERVER", server.url)
    file = tmp_path / "index.html"
    file.write_text(preview_page(hostile_run(attack), [TEMPLATES]), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1300, "height": 9000})
    page = context.new_page()
    page.goto(file.as_uri(), wait_until="networkidle")
    assert page.evaluate("window.hit") is None
    assert page.locator("script, img, svg, form, textarea, base, [onload], [onfocus], [autofocus]").count() == 0
    assert page.locator("iframe").count() == 4
    for place in ("h1", "pre", "td.address", ".message bdi", ".headers th[scope=row]", ".files a", ".hint bdi"):
        assert attack in (page.locator(place).last.text_content() or "")
    assert page.title() == f"{attack} · dry run"
    assert server.asked == []
    assert page.url == file.as_uri()
    context.close()


def test_a_script_link_in_the_mail_does_nothing(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(preview_page(hostile_run('<a href="javascript:top.hit=1">go</a>'), [TEMPLATES]), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1400, "height": 3000})
    page = context.new_page()
    page.goto(file.as_uri())
    mail = mail_views(page)["light", "desktop"]
    for target in ("_blank", "_self", "_top", "_parent"):
        mail.evaluate("(target) => document.querySelector('a').target = target", target)
        mail.click("a")
        page.wait_for_timeout(50)
        assert [one.evaluate("window.hit") for one in context.pages] == [None] * len(context.pages)
    context.close()
