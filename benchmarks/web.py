"""One-click unsubscribes over HTTP: a server as operators run it, and clients that do not wait for each other.

    .venv/bin/python benchmarks/web.py [--short] [--people N] [--rate N] [--seconds N]

Starts `newsletter web` as a process on SQLite, and a load generator as another. Requests come by chance (a Poisson
process) at the given rate, whether or not the ones before were answered, over connections that are kept; what counts is
the time from when a request was due to the last byte of its answer. Each token is another person's. Afterwards the
database is asked whether everybody who was answered 200 has left. Then the same for the page that asks (GET).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file
from benchmarks.render import commit, processor
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.project_files import copy_project

ROOT = Path(__file__).parents[1]
#: p99 of a one-click POST, in seconds, at 500 a second.
TARGET = 0.020
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
_BODY = b"List-Unsubscribe=One-Click"
#: What Gmail and others send.
_POST = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)
_GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
#: Seconds that the first requests may take: they are sent, and not counted.
_WARM = 1.0


@dataclass(frozen=True)
class Load:
    """What a generator did: seconds each counted request took, all answers by status (0: none), and its own delay."""

    took: list[float]
    statuses: dict[str, int]
    late: float

    @property
    def errors(self) -> int:
        """Answers that were not 200."""
        return sum(number for status, number in self.statuses.items() if status != "200")


class Client(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, idle: list[Client]) -> None:
        self._idle = idle
        self._answer: asyncio.Future[int] | None = None
        self._got = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """The status of the answer, once all of it is there; 0 where the connection ended before."""
        self._answer, self._got = asyncio.get_running_loop().create_future(), b""
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head):
            self._idle.append(self)
            self._end(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        if self in self._idle:
            self._idle.remove(self)
        self._end(0)

    def _end(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def generate(port: int, requests: Sequence[bytes], rate: float) -> Load:
    """Sends the requests at `rate` a second, each at its own time."""
    gc.disable()  # its pauses are not the server's
    loop = asyncio.get_running_loop()
    chance = random.Random(1)  # the same arrivals each time
    due, at = [], loop.time() + 0.2
    for _ in requests:
        at += chance.expovariate(rate)
        due.append(at)
    begin = due[0] + _WARM
    idle: list[Client] = []
    took: list[float] = []
    statuses: Counter[str] = Counter()
    late = 0.0

    async def one(request: bytes, at: float) -> None:
        if idle:
            client = idle.pop()
        else:
            _, client = await loop.create_connection(lambda: Client(idle), "127.0.0.1", port)
        try:
            status = await asyncio.wait_for(client.ask(request), 60)
        except (OSError, TimeoutError):
            status = 0
        statuses[str(status)] += 1
        if at >= begin:
            took.append(loop.time() - at)

    tasks = []
    for request, at in zip(requests, due, strict=True):
        if (pause := at - loop.time()) > 0:
            await asyncio.sleep(pause)
        late = max(late, loop.time() - at)
        tasks.append(asyncio.create_task(one(request, at)))
    await asyncio.gather(*tasks)
    return Load(took, dict(statuses), late)


def loaded(folder: Path, port: int, requests: Sequence[bytes], rate: float) -> Load:
    """`generate` in a process of its own."""
    file = folder / "requests"
    file.write_text(json.dumps([one.decode() for one in requests]), "utf-8")
    command = [sys.executable, __file__, "--generate", str(port), str(file), str(rate)]
    done = subprocess.run(command, env=_ENVIRONMENT, check=True, capture_output=True, text=True)
    return Load(**json.loads(done.stdout))


@contextmanager
def served(project: Path) -> Iterator[int]:
    """The port of `newsletter web`; it is ended with SIGTERM."""
    command = [sys.executable, "-m", "newsletter", "web", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=project, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield int(json.loads(server.stdout.readline())["url"].rstrip("/").rpartition(":")[2])
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        finally:
            server.kill()


def people_of(project: Path, number: int) -> tuple[list[int], LinkMaker]:
    """A project with so many subscribers: their numbers, and what makes their links."""
    copy_project(project)
    rows = "".join(f"p{one:07}@example.com,2025-01-01\n" for one in range(number))
    (project / "subscribers" / "daily-buzz.csv").write_text(f"email,consent_at\n{rows}", "utf-8")
    command = [sys.executable, "-m", "newsletter", "subscribers", "sync"]
    subprocess.run(command, cwd=project, env=_ENVIRONMENT, check=True, capture_output=True)
    with served(project):
        pass  # makes the key
    with closing(sqlite3.connect(project / "var" / "newsletter.db")) as database:
        numbers = [one for (one,) in database.execute("SELECT id FROM subscriber ORDER BY id")]
    key = (project / "var" / "secret.key").read_text("ascii").strip()
    return numbers, LinkMaker("http://localhost:8000", "daily-buzz", [key])


def departed(project: Path) -> int:
    """How many the database says have left by one click."""
    with closing(sqlite3.connect(project / "var" / "newsletter.db")) as database:
        [[number]] = database.execute("SELECT count(DISTINCT key) FROM suppression WHERE source = 'one-click'")
    return int(number)


def told(what: str, load: Load) -> str:
    """One line of figures."""
    took = sorted(load.took)

    def share(of: float) -> str:
        return f"{1000 * took[min(len(took) - 1, int(of * len(took)))]:.1f} ms"

    return (
        f"{what}: {len(took):,} requests, p50 {share(0.5)}, p99 {share(0.99)}, p99.9 {share(0.999)}, worst {share(1)}; "
        f"{load.errors} errors; the generator was late by at most {1000 * load.late:.1f} ms"
    )


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--generate"]:
        requests = [one.encode() for one in json.loads(Path(arguments[2]).read_text("utf-8"))]
        print(json.dumps(vars(asyncio.run(generate(int(arguments[1]), requests, float(arguments[3]))))))
        return 0
    parser = argparse.ArgumentParser(description="Times one-click unsubscribes.")
    parser.add_argument("--short", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args(arguments)
    seconds = 1 if options.short else options.seconds
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as folder:
        project = Path(folder) / "project"
        numbers, links = people_of(project, 2_000 if options.short else options.people)
        paths = [
            f"/{Purpose.UNSUBSCRIBE}/daily-buzz/{links.token(Purpose.UNSUBSCRIBE, one)}".encode()
            for one in numbers[: int(options.rate * (seconds + _WARM))]
        ]
        with served(project) as port:
            posts = loaded(Path(folder), port, [_POST % path for path in paths], options.rate)
            gets = loaded(Path(folder), port, [_GET % path for path in paths[: len(paths) // 5]], options.rate / 5)
        kept = departed(project)
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}; SQLite")
    print(told(f"POST of one click, {options.rate} a second", posts) + f" (target: p99 under {1000 * TARGET:.0f} ms)")
    print(told(f"GET of the page, {options.rate // 5} a second", gets))
    print(f"answered 200: {posts.statuses.get('200', 0):,}; have left by the database: {kept:,}")
    return 0 if kept == posts.statuses.get("200", 0) == len(paths) and not gets.errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
