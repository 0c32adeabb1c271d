"""The archive over real HTTP: the index, the lists, the issues, the feed, and what they never do."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from public_site import CONFIG, NOW, PublicSite, issue_of, said

from newsletter.store.tables import batch, published_issue, run, run_exclusion
from newsletter.wiring.parts import database

ATOM = "{http://www.w3.org/2005/Atom}"
NASTY = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}{% for x in y %}&amp; ]]> \x0b\x00'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    with PublicSite(tmp_path_factory.mktemp("site")) as site:
        site.subscribe()
        site.subscribe("ben@example.com", "weekly")
        site.subscribe("cleo@example.com", "inner-circle")
        yield site


@pytest.fixture
def site(served: PublicSite) -> PublicSite:
    """The site without issues."""
    with database(served.loaded).begin() as connection:
        for table in (batch, run_exclusion, run, published_issue):
            connection.execute(sa.delete(table))
    return served


class TestTheStart:
    def test_it_names_the_public_newsletters_with_where_to_go(self, site: PublicSite) -> None:
        answer = site.get("/")
        assert answer.status_code == 200
        assert "Daily Buzz" in said(answer)
        assert "The Weekly" in said(answer)
        assert "Inner Circle" not in answer.text
        assert "inner-circle" not in answer.text
        for path in ("/subscribe/daily-buzz", "/archive/daily-buzz", "/archive/weekly/feed.atom"):
            assert f'href="{path}"' in answer.text

    def test_what_is_off_is_not_offered(self, tmp_path: Path) -> None:
        config = CONFIG.replace("port = 0\n", "port = 0\narchive = false\n[web.signup]\nenabled = false\n")
        with PublicSite(tmp_path, config) as site:
            page = site.get("/").text
            assert "/archive/" not in page
            assert "/subscribe/" not in page

    def test_links_stand_behind_the_prefix_of_the_base_url(self, tmp_path: Path) -> None:
        config = CONFIG.replace('"http://127.0.0.1:8000"', '"http://127.0.0.1:8000/news"')
        with PublicSite(tmp_path, config) as site:
            site.subscribe()
            site.publish(issue_of())
            pages = [site.get(path).text for path in ("/", "/archive/daily-buzz", "/archive/daily-buzz/2026-01-07")]
            for page in pages:
                targets = re.findall(r'(?:href|action)="(/[^"]*)"', page)
                assert targets
                assert all(target.startswith("/news/") for target in targets)


class TestTheList:
    def test_the_latest_stands_first_and_pages_go_back_without_losing_any(self, site: PublicSite) -> None:
        first = dt.date(2025, 10, 1)
        slots = [(first + dt.timedelta(days=one)).isoformat() for one in range(70)]
        slots.insert(40, f"{slots[39]}.evening")
        for slot in slots:
            site.publish(issue_of(slot, title=f"Issue of {slot}"))
        found: list[str] = []
        path = "/archive/daily-buzz"
        for _ in range(10):
            answer = site.get(path)
            assert answer.status_code == 200
            found += re.findall(r'href="/archive/daily-buzz/([0-9][^"]*)"', answer.text)
            following = re.search(r'rel="next" href="([^"]*)"', answer.text)
            if following is None:
                break
            path = following[1]
        assert found == slots[::-1]
        assert "Wednesday, 1 October 2025" in said(answer)
        assert "Latest issues" in said(answer)

    def test_only_what_began_to_go_out_shows(self, site: PublicSite) -> None:
        site.publish(issue_of("2026-01-07"), began=None)
        site.archive.keep(issue_of("2026-01-08"))  # without a run
        assert "No issue has gone out yet" in said(site.get("/archive/daily-buzz"))
        assert site.get("/archive/daily-buzz/2026-01-07").status_code == 404
        assert site.get("/archive/daily-buzz/2026-01-08").status_code == 404
        assert "<entry>" not in site.get("/archive/daily-buzz/feed.atom").text

    @pytest.mark.parametrize(
        "before", ["x", "2026-1-7", "../2026-01-07", "2026-01-07'", "2026-01-07.A", "%00", "٢٠٢٦-٠١-٠٧"]
    )
    def test_a_place_that_is_none_is_not_looked_for(self, site: PublicSite, before: str) -> None:
        assert site.client.get("/archive/daily-buzz", params={"before": before}).status_code == 404


class TestAnIssue:
    def test_it_is_the_mail_with_a_bar_above_and_a_policy_that_lets_nothing_run(self, site: PublicSite) -> None:
        html = (
            "<!DOCTYPE html>\n<html><head><!-- </head> --><title>T</title></head>\n"
            '<body class="a>b" style="margin:0">\u2028<h1>{{7*7}} News</h1></body></html>'
        )
        site.publish(
            issue_of(html=html, images="https://images.example.com http://a.example:81", preheader='"H" & <i>')
        )
        answer = site.get("/archive/daily-buzz/2026-01-07")
        assert answer.status_code == 200
        page = answer.text
        assert re.sub(r"<nav.*?</nav>|<link[^>]*>|<meta[^>]*>|</?main>", "", page) == html
        assert page.endswith("</h1></main></body></html>")
        assert page.index("<nav") == page.index('style="margin:0">') + len('style="margin:0">')
        assert 'href="/archive/daily-buzz"' in page
        assert 'href="/subscribe/daily-buzz"' in page
        assert '<meta name="description" content="&#34;H&#34; &amp; &lt;i&gt;">' in page
        assert '<link rel="canonical" href="http://127.0.0.1:8000/archive/daily-buzz/2026-01-07">' in page
        policy = dict(one.partition(" ")[::2] for one in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["img-src"] == "data: https://images.example.com http://a.example:81"
        assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
        assert "allow-scripts" not in policy["sandbox"]
        assert "allow-same-origin" not in policy["sandbox"]
        assert "script-src" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "x-robots-tag" not in answer.headers

    def test_what_was_kept_as_an_origin_cannot_open_the_policy(self, site: PublicSite) -> None:
        site.publish(issue_of(images="https://a.example;script-src https://b.example,c *"))
        policy = site.get("/archive/daily-buzz/2026-01-07").headers["content-security-policy"]
        assert "script-src" not in policy
        assert "img-src data:;" in policy

    def test_html_without_head_or_body_stays_as_it_is(self, site: PublicSite) -> None:
        site.publish(issue_of(html="<p>just this"))
        assert site.get("/archive/daily-buzz/2026-01-07").text == "<p>just this"

    def test_an_edition_has_its_own_page(self, site: PublicSite) -> None:
        site.publish(issue_of("2026-01-07", html="<body>morning</body>"))
        site.publish(issue_of("2026-01-07.evening", html="<body>evening</body>"))
        assert "evening" in site.get("/archive/daily-buzz/2026-01-07.evening").text
        assert "morning" in site.get("/archive/daily-buzz/2026-01-07").text

    @pytest.mark.parametrize(
        "since",
        [
            "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
            "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
            "Mon, 01 Jan 2026 99:99:99 GMT",
            "yesterday",
        ],
    )
    def test_a_date_that_is_none_is_as_if_it_were_not_there(self, site: PublicSite, since: str) -> None:
        site.publish(issue_of("2026-01-09"))
        assert site.get("/archive/daily-buzz/2026-01-09", If_Modified_Since=since).status_code == 200

    def test_it_is_asked_for_once_and_then_only_whether_it_changed(self, site: PublicSite) -> None:
        site.publish(issue_of())
        path = "/archive/daily-buzz/2026-01-07"
        first = site.get(path)
        tag = first.headers["etag"]
        assert first.headers["last-modified"] == "Wed, 07 Jan 2026 06:30:00 GMT"
        assert first.headers["cache-control"] == "public, max-age=300"
        for headers in (
            {"If_None_Match": tag},
            {"If_None_Match": f'"other", W/{tag}'},
            {"If_None_Match": "*"},
            {"If_Modified_Since": first.headers["last-modified"]},
        ):
            again = site.get(path, **headers)
            assert (again.status_code, again.content) == (304, b""), headers
            assert again.headers["etag"] == tag
            assert "content-security-policy" in again.headers
        for headers in (
            {"If_None_Match": '"other"'},
            {"If_None_Match": '"other"', "If_Modified_Since": first.headers["last-modified"]},
            {"If_Modified_Since": "Tue, 06 Jan 2026 06:30:00 GMT"},
            {"If_Modified_Since": "nonsense"},
        ):
            assert site.get(path, **headers).status_code == 200, headers
        site.archive.keep(issue_of(html="<body>corrected</body>"))
        assert site.get(path, If_None_Match=tag).status_code == 200

    @pytest.mark.parametrize(
        "slot",
        [
            *("..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "....//", "2026-01-07/../2026-01-07"),
            *("2026-01-07%00", "2026-01-07\\", "2026-01-07.", "2026-01-07.EVENING", "2026-01-07.a.b", "2026-01-07%0a"),
            *("20260107", "2026-1-7", "today", "'%20OR%201=1%20--", "%F0%9F%92%A9", "2026-01-07." + "a" * 65),
            *("9999-99-99", "%252e%252e%252fetc", "..;/", "2026-01-07%2f..%2f..", "feed.atom/", "feed.atom%00"),
        ],
    )
    def test_no_path_leads_anywhere_else(self, site: PublicSite, slot: str) -> None:
        site.publish(issue_of())
        # as it stands here: a client would tidy the path up first
        connection = HTTPConnection(site.client.base_url.host, site.client.base_url.port or 80, timeout=30)
        with closing(connection):
            connection.request("GET", f"/archive/daily-buzz/{slot}")
            answer = connection.getresponse()
            assert answer.status == 404
            assert b"There is nothing here" in answer.read()


class TestWhatIsNotShown:
    @pytest.mark.parametrize("end", ["", "/2026-01-07", "/feed.atom"])
    def test_newsletters_that_are_not_public_and_those_that_are_none_look_alike(
        self, site: PublicSite, end: str
    ) -> None:
        site.publish(issue_of(newsletter="inner-circle", title="Hidden"))
        answers = {
            (answer.status_code, answer.text)
            for answer in (site.get(f"/archive/inner-circle{end}"), site.get(f"/archive/no-such{end}"))
        }
        assert len(answers) == 1
        assert answers.pop()[0] == 404

    def test_switched_off_there_is_none(self, tmp_path: Path) -> None:
        with PublicSite(tmp_path, CONFIG.replace("port = 0\n", "port = 0\narchive = false\n")) as site:
            site.subscribe()
            site.publish(issue_of())
            for end in ("", "/2026-01-07", "/feed.atom"):
                assert site.get(f"/archive/daily-buzz{end}").status_code == 404


class TestTheFeed:
    def test_it_is_an_atom_feed_whatever_the_titles(self, site: PublicSite) -> None:
        site.publish(issue_of("2026-01-06", title=NASTY, preheader=NASTY), began=NOW - dt.timedelta(days=1))
        site.publish(issue_of("2026-01-07.evening", title="Später & mehr"))
        answer = site.get("/archive/daily-buzz/feed.atom")
        assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
        feed = ElementTree.fromstring(answer.content)
        assert feed.tag == f"{ATOM}feed"
        # RFC 4287, 4.1.1: each exactly once
        for name in ("id", "title", "updated"):
            assert len(feed.findall(f"{ATOM}{name}")) == 1
        assert feed.findtext(f"{ATOM}updated") == "2026-01-07T06:30:00Z"
        assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Daily Buzz"
        links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
        assert links == {
            "self": "http://127.0.0.1:8000/archive/daily-buzz/feed.atom",
            "alternate": "http://127.0.0.1:8000/archive/daily-buzz",
        }
        later, nasty = feed.findall(f"{ATOM}entry")
        for entry in (later, nasty):
            for name in ("id", "title", "updated"):
                assert len(entry.findall(f"{ATOM}{name}")) == 1
            [link] = entry.findall(f"{ATOM}link")
            assert link.get("rel") == "alternate"
        assert later.findtext(f"{ATOM}title") == "Später & mehr"
        assert later.find(f"{ATOM}link").get("href") == "http://127.0.0.1:8000/archive/daily-buzz/2026-01-07.evening"  # type: ignore[union-attr]
        assert nasty.findtext(f"{ATOM}title") == NASTY.replace("\x0b", "").replace("\x00", "")
        assert nasty.findtext(f"{ATOM}summary") == NASTY.replace("\x0b", "").replace("\x00", "")
        ids = [feed.findtext(f"{ATOM}id"), *(entry.findtext(f"{ATOM}id") for entry in (later, nasty))]
        assert len(set(ids)) == 3

    def test_ids_stay_when_the_site_moves_and_the_title_changes(self, site: PublicSite, tmp_path: Path) -> None:
        site.publish(issue_of())
        moved = CONFIG.replace("http://127.0.0.1:8000", "https://elsewhere.example").replace("Daily Buzz", "Buzz")
        moved = moved.replace('from = "Buzz <', 'from = "Daily Buzz <')
        with PublicSite(tmp_path, moved) as other:
            other.subscribe()
            other.publish(issue_of(title="Corrected"))
            ids = [re.findall("<id>(.*?)</id>", one.get("/archive/daily-buzz/feed.atom").text) for one in (site, other)]
        assert ids[0] == ids[1]
        assert len(ids[0]) == 2

    def test_it_is_valid_without_issues_and_asked_for_only_when_it_changed(self, site: PublicSite) -> None:
        empty = site.get("/archive/weekly/feed.atom")
        assert ElementTree.fromstring(empty.content).findtext(f"{ATOM}updated") == "1970-01-01T00:00:00Z"
        assert site.get("/archive/weekly/feed.atom", If_None_Match=empty.headers["etag"]).status_code == 304
        site.publish(issue_of(newsletter="weekly"))
        assert site.get("/archive/weekly/feed.atom", If_None_Match=empty.headers["etag"]).status_code == 200


class TestTitlesThatTryToBeMore:
    def test_they_are_text_in_every_page(self, site: PublicSite) -> None:
        site.publish(issue_of(title=NASTY, preheader=NASTY))
        for path in ("/archive/daily-buzz", "/archive/daily-buzz/2026-01-07"):
            page = site.get(path).text
            assert "<script" not in page
            assert "<img" not in page
            assert "{{7*7}}" in page  # and not 49

    def test_pages_load_nothing_from_elsewhere_and_set_no_cookie(self, site: PublicSite) -> None:
        site.publish(issue_of())
        for path in ("/", "/archive/daily-buzz"):
            answer = site.get(path)
            assert "set-cookie" not in answer.headers
            loaded = re.findall(r'(?:src|(?:stylesheet|icon)"[^>]*href)="([^"]*)"', answer.text)
            assert all(one.startswith("/assets/") for one in loaded)
            assert "<script" not in answer.text
            assert " style=" not in answer.text
