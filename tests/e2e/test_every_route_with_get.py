"""Link scanners fetch every URL they find: whoever walks over all routes with GET and HEAD finds nothing changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from projects import SLOT
from public_sites import PublicSite, public_site
from starlette.routing import BaseRoute, Mount, Route

from newsletter import wiring
from newsletter.access.model import Scope
from newsletter.audience.people import Selection
from newsletter.delivery.links import Purpose
from newsletter.metrics import Metrics
from newsletter.web.api import PREFIX
from newsletter.web.health import health_routes
from newsletter.web.routes import public_routes
from newsletter.web.serving import public_of

#: What may be requested and counted: a reader's click on a link, and the image of opens.
COUNTED = ("/c/", "/o/")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    folder = tmp_path_factory.mktemp("walked") / "project"
    with public_site(folder) as site:
        assert site.project.send().code == 0
        yield site


def routes_below(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, Route]]:
    """Every route with its whole path, those of mounted applications included."""
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_below(route.routes, prefix + route.path)
        else:
            assert isinstance(route, Route | APIRoute), route
            yield prefix + route.path, route


def walked(site: PublicSite) -> dict[str, set[str]]:
    """Every path, each parameter filled with a value that leads somewhere, and the methods that it has."""
    public = public_of(wiring.settings(site.project.config))
    with ExitStack() as ending:
        routers = [*public_routes(public, ending), health_routes({}, Metrics())]
        found = [(path, set(route.methods or ())) for router in routers for path, route in routes_below(router.routes)]
    # the API stands behind a gate of its own, and describes itself
    described = httpx.get(f"{site.url}{PREFIX}/openapi.json").json()["paths"]
    found += [(PREFIX + path, {method.upper() for method in operations}) for path, operations in described.items()]
    [person] = public.audience.people(Selection(("daily-buzz",)), limit=1)
    assert person.id is not None
    paths: dict[str, set[str]] = {}
    for path, methods in found:
        first = path.split("/")[1]
        purpose = Purpose(first) if first in set(Purpose) else Purpose.TRACK
        token = public.links("daily-buzz").token(purpose, 1 if purpose is Purpose.CONFIRM else person.id)
        values = {
            "newsletter": "daily-buzz",
            "slot": SLOT,
            "token": token,
            "image": f"{token}.gif",
            "number": "1",
            "provider": "sendgrid",
            "email": person.address,
            "name": "page.css",
        }
        filled = path.replace(":path}", "}").format_map(values)
        paths.setdefault(filled, set()).update(methods)
    return paths


def everything_in(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Each table, whole."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}


def test_nothing_is_changed_by_looking(site: PublicSite) -> None:
    project = site.project
    asked = {"email": "somebody.new@example.com"}
    assert httpx.post(f"{site.url}/subscribe/daily-buzz", data=asked).status_code in {200, 303}
    site.mail(asked["email"])  # what was asked for is done
    secret = project.call("tokens", "add", "walker", *(f"--scope={scope}" for scope in Scope)).out.strip()
    database = project.folder / "var" / "newsletter.db"
    paths = walked(site)
    assert len(paths) > 30
    files = sorted(project.folder.rglob("*"))
    before = everything_in(database)
    statuses = set()
    with httpx.Client(base_url=site.url, follow_redirects=False) as client:
        for path, methods in paths.items():
            if path.startswith(COUNTED):
                continue
            for method in ("GET", "HEAD"):
                for headers in ({}, {"Authorization": f"Bearer {secret}"}):
                    answer = client.request(method, path, headers=headers)
                    statuses.add(answer.status_code)
                    assert answer.status_code < 500, (method, path, answer.status_code)
                    if path.startswith(PREFIX) and headers and "GET" in methods:
                        assert answer.status_code == 200, path
                    assert "GET" in methods or answer.status_code in {401, 405}, (method, path)
                assert everything_in(database) == before, (method, path)
    assert {200, 401, 405} <= statuses
    assert sorted(project.folder.rglob("*")) == files
