"""Counted links and the image of opens over real HTTP: where they lead, what is counted, and what never is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from public_site import CONFIG, NOW, PublicSite, issue_of

from newsletter.delivery.links import Purpose
from newsletter.delivery.names import RunName
from newsletter.errors import TemporaryError
from newsletter.events.tracking import Hit, HitKind, Verdict
from newsletter.pipeline.count_hits import Requested
from newsletter.store.tables import hit, issue_link, personal_hit
from newsletter.store.tracking import SqlTracking
from newsletter.web.hit_counter import HitCounter
from newsletter.web.links import PIXEL
from newsletter.wiring.parts import database

RUN = RunName("daily-buzz", "2026-01-07")
GONE = RunName("cancelled-weekly", "2026-01-07.evening")
URLS = [f"https://example.com/{number}?a=1&b=%C3%A9#top" for number in (1, 2, 3, 4)]
CLICKS = "\n[newsletters.daily-buzz.tracking]\nclicks = true\nopens = true\n"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Accept-Language": "en",
}


class Site(PublicSite):
    """With links of two issues, one of a newsletter that is no longer in the settings."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder, config)
        self.tracking = SqlTracking(database(self.loaded))
        for run in (RUN, GONE):
            self.tracking.keep_links(run, URLS)

    def click(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, headers=BROWSER | named, follow_redirects=False)

    def track(self, number: int) -> str:
        return self.token(number, purpose=Purpose.TRACK)

    def counted(self, run: RunName = RUN) -> dict[tuple[str, int], dict[str, int]]:
        """By kind and number, what was counted by verdict."""
        return {
            (str(one.kind), one.number): {str(verdict): count for verdict, count in one.counts.items()}
            for one in self.tracking.counts(run)
            if one.raw
        }

    def nothing_was_counted(self) -> None:
        """After what is asked for now was counted, which comes behind all that was asked for before."""
        with database(self.loaded).begin() as connection:
            connection.execute(sa.delete(hit))
        self.click("/c/daily-buzz/2026-01-07/4")
        eventually(lambda: self.counted().get(("click", 4)) == {"human": 1})
        assert self.counted() == {("click", 4): {"human": 1}}
        assert self.rows(personal_hit) == 0

    def rows(self, table: sa.Table) -> int:
        with database(self.loaded).connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0


def eventually(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), CONFIG + CLICKS) as site:
        site.subscribe()
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    """The site with nothing counted yet. Each test waits for its clicks to be counted: they are not another one's."""
    with database(served.loaded).begin() as connection:
        for table in (hit, personal_hit):
            connection.execute(sa.delete(table))
    return served


class TestALink:
    def test_it_leads_to_the_stored_target_and_is_counted_as_a_readers(self, site: Site) -> None:
        answer = site.click("/c/daily-buzz/2026-01-07/2")
        assert (answer.status_code, answer.headers["location"]) == (302, URLS[1])
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-robots-tag"] == "noindex"
        assert "set-cookie" not in answer.headers
        eventually(lambda: site.counted() == {("click", 2): {"human": 1}})
        assert site.rows(personal_hit) == 0

    def test_head_answers_as_get_and_counts_as_a_machines(self, site: Site) -> None:
        answer = site.click("/c/daily-buzz/2026-01-07/1", "HEAD")
        assert (answer.status_code, answer.headers["location"], answer.content) == (302, URLS[0], b"")
        site.click("/c/daily-buzz/2026-01-07/1", User_Agent="curl/8")
        site.click("/c/daily-buzz/2026-01-07/1", Sec_Purpose="prefetch")
        eventually(lambda: site.counted() == {("click", 1): {"machine": 3}})

    def test_many_links_of_an_issue_at_once_are_a_machines_whatever_it_calls_itself(self, site: Site) -> None:
        for number in (1, 2, 3):
            site.click(f"/c/daily-buzz/2026-01-07/{number}")
        eventually(lambda: site.counted() == {("click", number): {"machine": 1} for number in (1, 2, 3)})

    @pytest.mark.parametrize(
        "path",
        [
            "/c/daily-buzz/2026-01-07/5",
            "/c/daily-buzz/2026-01-07/0",
            "/c/daily-buzz/2026-01-07/01",
            "/c/daily-buzz/2026-01-07/-1",
            "/c/daily-buzz/2026-01-07/1e0",
            "/c/daily-buzz/2026-01-07/99999999999999999999",
            "/c/daily-buzz/2026-01-08/1",
            "/c/daily-buzz/2026-01-07.evening/1",
            "/c/weekly/2026-01-07/1",
            "/c/nothing/2026-01-07/1",
            "/c/daily-buzz/..%2F2026-01-07/1",
            "/c/daily-buzz/2026-01-07/1/" + "A" * 32,
            "/c/daily-buzz/2026-01-07/1/x",
            "/c/daily-buzz/2026-01-07/%D9%A1",
            "/c/daily-buzz/2026-01-07/5?url=https://evil.example/",
        ],
    )
    def test_what_was_not_stored_leads_nowhere_and_looks_like_everything_else_that_is_not_there(
        self, site: Site, path: str
    ) -> None:
        answer = site.click(path)
        assert answer.status_code == 404
        assert "location" not in answer.headers
        assert answer.text == site.click("/nothing/at/all").text

    @pytest.mark.parametrize("name", ["%00", "a%00b", "A", "%C3%A9"])
    def test_what_cannot_be_a_newsletter_is_not_looked_for(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """PostgreSQL fails over a NUL."""
        asked = []
        monkeypatch.setattr(SqlTracking, "target", lambda _, run, number: asked.append((run, number)))
        assert site.click(f"/c/{name}/2026-01-07/1").status_code == 404
        assert asked == []

    def test_nothing_in_the_request_changes_where_it_leads(self, site: Site) -> None:
        answer = site.click(
            "/c/daily-buzz/2026-01-07/1?url=https://evil.example/&next=//evil.example", Host="evil.example"
        )
        assert answer.headers["location"] == URLS[0]
        eventually(lambda: site.counted() == {("click", 1): {"human": 1}})

    @pytest.mark.parametrize(
        "stored", ["javascript:alert(1)", "//evil.example", "https://a.example/\r\nSet-Cookie: x", "", "ftp://x"]
    )
    def test_a_target_that_is_no_address_of_a_page_is_not_followed(self, site: Site, stored: str) -> None:
        """Nothing of ours stores one; the database may have been written to by somebody else."""
        run = RunName("daily-buzz", f"2026-02-{10 + len(stored) % 17}")
        with database(site.loaded).begin() as connection:
            row = {"newsletter": run.newsletter, "slot": run.slot, "number": 1, "url": stored}
            connection.execute(sa.insert(issue_link), row)
        assert site.click(f"/c/{run}/1").status_code == 404

    def test_of_a_test_or_of_a_newsletter_that_is_gone_nothing_is_counted_and_the_links_lead_on(
        self, site: Site
    ) -> None:
        assert site.click(f"/c/daily-buzz/2026-01-07/1/{site.track(0)}").headers["location"] == URLS[0]
        assert site.click(f"/c/{GONE}/3").headers["location"] == URLS[2]
        assert site.click(f"/o/daily-buzz/2026-01-07/{site.track(0)}.gif").content == PIXEL
        site.nothing_was_counted()
        assert site.counted(GONE) == {}

    def test_a_token_is_of_no_use_elsewhere(self, site: Site) -> None:
        number = site.number()
        for token in (site.token(number), site.token(number, "weekly", Purpose.TRACK)):
            assert site.click(f"/c/daily-buzz/2026-01-07/1/{token}").status_code == 404
        assert site.click(f"/preferences/daily-buzz/{site.track(number)}").status_code == 404

    def test_a_person_is_kept_only_where_the_settings_say_so(self, site: Site) -> None:
        assert site.click(f"/c/daily-buzz/2026-01-07/1/{site.track(site.number())}").status_code == 302
        eventually(lambda: site.counted() == {("click", 1): {"human": 1}})
        assert site.rows(personal_hit) == 0


class TestWhereItIsOff:
    def test_old_links_lead_on_and_nothing_is_counted(self, tmp_path: Path) -> None:
        with Site(tmp_path, CONFIG) as site:
            number = site.subscribe()
            site.store.measure_opens(number, True, wording="yes", ip="", now=NOW)
            assert site.click("/c/daily-buzz/2026-01-07/1").headers["location"] == URLS[0]
            assert site.click(f"/c/daily-buzz/2026-01-07/2/{site.track(number)}").headers["location"] == URLS[1]
            assert site.click(f"/o/daily-buzz/2026-01-07/{site.track(number)}.gif").content == PIXEL
        assert site.rows(hit) == 0, "also not what waited when the server stopped"


class TestTheImage:
    def test_it_counts_the_opens_of_who_consents_at_that_moment(self, site: Site) -> None:
        number = site.number()
        site.publish(issue_of("2026-01-07"))
        path = f"/o/daily-buzz/2026-01-07/{site.track(number)}.gif"
        site.store.measure_opens(number, False, wording="no", ip="", now=NOW)
        assert site.click(path).content == PIXEL
        site.nothing_was_counted()
        site.store.measure_opens(number, True, wording="yes", ip="", now=NOW)
        answer = site.click(path)
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/gif", PIXEL)
        assert answer.headers["cache-control"] == "no-store"
        eventually(lambda: site.counted().get(("open", 0)) == {"human": 1})
        assert site.rows(personal_hit) == 0
        # of an issue that was never sent there is nothing to count
        site.click(f"/o/daily-buzz/2031-01-01/{site.track(number)}.gif")
        site.nothing_was_counted()
        assert site.counted(RunName("daily-buzz", "2031-01-01")) == {}

    @pytest.mark.parametrize("image", ["x.gif", "A" * 32 + ".gif", ".gif", "A" * 32, "A" * 32 + ".png"])
    def test_without_a_token_of_ours_there_is_none(self, site: Site, image: str) -> None:
        answer = site.click(f"/o/daily-buzz/2026-01-07/{image}")
        assert answer.status_code == 404
        assert answer.text == site.click("/nothing/at/all").text

    def test_it_is_an_image_of_one_pixel(self) -> None:
        assert PIXEL[:6] == b"GIF89a"
        assert PIXEL[6:10] == b"\x01\x00\x01\x00"
        assert len(PIXEL) == 43


def test_per_person_who_it_was_is_kept_and_nothing_of_who_was_erased(tmp_path: Path) -> None:
    with Site(tmp_path, CONFIG + CLICKS + "per_person = true\n") as site:
        anna, ben = site.subscribe(), site.subscribe("ben@example.com")
        token = site.track(ben)
        site.store.erase("ben@example.com", source="test", now=NOW)
        site.click(f"/c/daily-buzz/2026-01-07/1/{site.track(anna)}")
        site.click(f"/c/daily-buzz/2026-01-07/1/{token}")
        eventually(lambda: site.counted() == {("click", 1): {"human": 2}})
        [kept] = site.tracking.of_person(anna)
        assert (kept.run, kept.kind, kept.number, kept.verdict) == (RUN, HitKind.CLICK, 1, Verdict.HUMAN)
        assert site.rows(personal_hit) == 1


def test_readers_get_there_while_the_database_takes_no_writes_and_are_counted_later(tmp_path: Path) -> None:
    with Site(tmp_path, CONFIG + CLICKS) as site:
        with database(site.loaded).begin() as connection:  # nobody else may write as long as this lasts
            connection.execute(sa.delete(hit))
            for _ in range(3):
                began = time.monotonic()
                assert site.click("/c/daily-buzz/2026-01-07/1").headers["location"] == URLS[0]
                assert time.monotonic() - began < 5
            time.sleep(2)
        eventually(lambda: site.counted() == {("click", 1): {"human": 3}})


def test_what_waits_when_the_server_stops_is_counted_before_it_ends(tmp_path: Path) -> None:
    with Site(tmp_path, CONFIG + CLICKS) as site:
        assert site.click("/c/daily-buzz/2026-01-07/1").status_code == 302
    assert site.counted() == {("click", 1): {"human": 1}}


class TestTheCounter:
    """What nobody waits for."""

    @staticmethod
    def requested(number: int = 1) -> Requested:
        return Requested(RUN, HitKind.CLICK, number, Verdict.HUMAN, NOW)

    def test_a_database_that_is_away_loses_nothing_and_any_other_fault_only_what_it_hits(self) -> None:
        written: list[Requested] = []
        faults: list[Exception] = [TemporaryError("away"), TemporaryError("away"), ValueError("odd")]
        tried = threading.Event()

        def write(some: list[Requested]) -> None:
            if faults:
                fault = faults.pop(0)
                if isinstance(fault, ValueError):
                    tried.set()
                raise fault
            written.extend(some)

        with ExitStack() as stack:
            counter = HitCounter(write)  # type: ignore[arg-type]  # a list is what it gets
            stack.callback(counter.close)
            counter.count(self.requested(), "a")
            assert tried.wait(20)
            counter.count(self.requested(2), "b")
        assert [one.number for one in written] == [2]

    def test_it_takes_no_more_than_it_can_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("newsletter.web.hit_counter.MOST_WAITING", 5)
        written: list[Hit] = []
        counter = HitCounter(written.extend)  # type: ignore[arg-type]  # only counted here
        for number in range(100):
            counter.count(self.requested(number), "a")
        counter.close()
        counter.close()
        assert len(written) == 5
