"""/healthz, /readyz and /metrics: whether the process lives, whether it can do its work, and what it has done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from newsletter.metrics import Metrics

#: '' where all is well, else why not: in a few words that anybody may read. May take a while; raises nothing.
Check = Callable[[], str]

#: The daemon looks every few seconds; one that did not for so long (in seconds) hangs.
MOST_SINCE_LOOK = 60.0
#: Seconds that /readyz waits for its checks.
PATIENCE = 5.0
#: An answer is true only now.
_NOW = {"Cache-Control": "no-store"}


class LastLook:
    """When the daemon last looked for what is due."""

    def __init__(self, most: float = MOST_SINCE_LOOK, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._at: float | None = None

    def note(self) -> None:
        """It looks now."""
        self._at = self._clock()

    def check(self) -> str:
        """See `Check`."""
        if self._at is None:
            return "it has not looked yet"
        passed = self._clock() - self._at
        return f"it last looked {passed:.0f} s ago" if passed > self._most else ""


class Readiness:
    """Makes the checks, in a thread; whoever asks meanwhile gets the same answer. So one that hangs holds up nobody."""

    def __init__(self, checks: Mapping[str, Check], patience: float = PATIENCE) -> None:
        self._checks = dict(checks)
        self._patience = patience
        self._lock = threading.Lock()
        self._looking: Future[dict[str, str]] | None = None

    async def found(self) -> dict[str, str]:
        """What each check says; where that takes too long, that it does."""
        looking = asyncio.wrap_future(self._shared())
        try:
            return await asyncio.wait_for(asyncio.shield(looking), self._patience)
        except TimeoutError:
            return dict.fromkeys(self._checks, "no answer yet")

    def _shared(self) -> Future[dict[str, str]]:
        with self._lock:
            if self._looking is None or self._looking.done():
                self._looking = Future()
                threading.Thread(target=self._look, args=(self._looking,), name="readiness", daemon=True).start()
            return self._looking

    def _look(self, answer: Future[dict[str, str]]) -> None:
        found = {}
        for name, check in self._checks.items():
            try:
                found[name] = check()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, this process is not ready
                found[name] = f"the check failed ({type(error).__name__})"
        answer.set_result(found)


def health_routes(checks: Mapping[str, Check], metrics: Metrics, *, patience: float = PATIENCE) -> APIRouter:
    """The three routes. None needs a login, and none says more than anybody may know."""
    routes = APIRouter()
    readiness = Readiness(checks, patience)

    @routes.get("/healthz")
    async def healthz() -> Response:
        """The process lives and answers. It looks at nothing else: a restart would not mend a database."""
        return JSONResponse({"status": "ok"}, headers=_NOW)

    @routes.get("/readyz")
    async def readyz() -> Response:
        """200 where every check is content, else 503."""
        found = await readiness.found()
        ready = not any(found.values())
        document = {"ready": ready, "checks": {name: said or "ok" for name, said in found.items()}}
        return JSONResponse(document, status_code=200 if ready else 503, headers=_NOW)

    @routes.get("/metrics")
    async def show_metrics() -> Response:
        """The counters of this process in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4, headers=_NOW)

    return routes
