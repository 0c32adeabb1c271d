"""Jobs come in: Procrastinate's own workers, one for batches and one for keeping the queue in order.

The second has a job of its own every few seconds, whatever the first is busy with: jobs of workers that died are given
to others (Procrastinate leaves them in `doing`), and batches without a job get one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import DeleteJobCondition
from procrastinate.worker import Worker

from newsletter import logs
from newsletter.errors import NewsletterError

#: A worker's sign of life, and after how long without one its jobs are given to others. Seconds.
SIGN_OF_LIFE, SILENCE = 3.0, 12.0
#: How often jobs are looked for where no notice of one came: one that becomes due gives none. Seconds.
LOOK_EVERY = 1.0
#: When the queue is put in order: every five seconds (cron as croniter reads it, where seconds are the sixth field).
EVERY = "* * * * * */5"
#: How soon a wish to stop is noticed. Seconds.
_GLANCE = 0.1
#: Seconds between two tries to reach a database that is away: the first, doubled up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
#: How long a connection may take to come about. Seconds.
_CONNECT_WAIT = 10.0
#: Two of them listen; the others are in use for a moment when a job begins, and when it ends.
_CONNECTIONS = 6
#: When the journal is made shorter: so long after the start, and then every so often. Seconds.
SHORTEN_AFTER, SHORTEN_EVERY = 3_600.0, 86_400.0
_UPKEEP = "upkeep"
_TROUBLE = (exceptions.ConnectorException, psycopg.Error)


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with jobs: `batch(uid, number, stop)` sends one, in a thread, until `stop` is set; `tend` gives jobs
    to batches that have none, and says to how many. `compare` comes before the first job, and again where the database
    was away: it may be another one then, from a backup or a standby's. `shorten` comes once a day, in a thread."""

    queue: str
    task: str
    batch: Callable[[str, int, threading.Event], None]
    tend: Callable[[], int]
    compare: Callable[[], None]
    shorten: Callable[[], None]


def serve(work: Work, connection: Mapping[str, Any], concurrency: int, stop: threading.Event) -> None:
    """Takes jobs, `concurrency` at a time, until `stop` is set; then what was taken ends, and is put back.

    A database that goes away is waited for. `connection` are psycopg's arguments.
    """
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)  # what matters is in our log
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    asyncio.run(_serve(work, connection, concurrency, stop))


async def _serve(work: Work, connection: Mapping[str, Any], concurrency: int, stop: threading.Event) -> None:
    asyncio.get_running_loop().set_exception_handler(_tell_unheard)
    pause = _FIRST_PAUSE
    shortening = asyncio.create_task(_shorten(work))
    with ThreadPoolExecutor(concurrency, "batch") as threads, ThreadPoolExecutor(1, "upkeep") as upkeep:
        while not stop.is_set():
            shift = _Shift(work, concurrency, stop, threads, upkeep)
            try:
                await shift.work_off(connection)
                pause = _FIRST_PAUSE
            except (*_TROUBLE, NewsletterError) as error:
                said = str(error.__cause__ or error) or type(error).__name__
                logs.write("warning", "database_trouble", error=said.strip(), next_try_seconds=pause)
                end = asyncio.get_running_loop().time() + pause
                while not stop.is_set() and asyncio.get_running_loop().time() < end:
                    await asyncio.sleep(_GLANCE)
                pause = min(_LONGEST_PAUSE, 2 * pause)
    shortening.cancel()


async def _shorten(work: Work) -> None:
    wait = SHORTEN_AFTER
    while True:
        await asyncio.sleep(wait)
        await asyncio.to_thread(_told, work.shorten)  # not the thread for upkeep: a long file takes a while
        wait = SHORTEN_EVERY


def _told(act: Callable[[], None]) -> None:
    """Whatever it raises is told."""
    try:
        act()
    except NewsletterError as error:
        logs.write("error", "job_failed", error=str(error), hint=error.hint)
    except BaseException as error:  # noqa: BLE001 - also what is no Exception (pyo3); others go on
        logs.write("exception", "program_error", error=f"{type(error).__name__}: {error}")


def _tell_unheard(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What a task of Procrastinate's raised and nobody waited for: one line, and no traceback. The shift ends by what
    its workers raise, and a new one begins."""
    error = context.get("exception")
    said = str(context.get("message", "")) if error is None else f"{type(error).__name__}: {error}"
    if isinstance(error, _TROUBLE):
        logs.write("warning", "database_trouble", error=_in_one_line(str(error.__cause__ or error) or said))
    else:
        logs.write("error", "queue_trouble", error=_in_one_line(said))


def _in_one_line(said: str) -> str:
    return " ".join(said.split())


class _Shift:
    """From one connection to the queue until it breaks, or the end: then sends end too, and the rest is put back."""

    def __init__(
        self,
        work: Work,
        concurrency: int,
        stop: threading.Event,
        threads: ThreadPoolExecutor,
        upkeep: ThreadPoolExecutor,
    ) -> None:
        self._work = work
        self._concurrency = concurrency
        self._stop = stop
        self._threads = threads
        self._upkeep = upkeep
        #: of this shift's sends
        self._over = threading.Event()

    async def work_off(self, connection: Mapping[str, Any]) -> None:
        """Works until `stop`. Raises what the queue's connection does, and `Work.compare`."""
        connector = procrastinate.PsycopgConnector(
            kwargs=dict(connection), min_size=1, max_size=_CONNECTIONS, timeout=_CONNECT_WAIT
        )
        app = procrastinate.App(connector=connector)
        self._give_tasks(app)
        await asyncio.get_running_loop().run_in_executor(self._upkeep, self._work.compare)
        if self._stop.is_set():
            return
        async with app.open_async():
            workers = [
                self._worker(app, self._work.queue, self._concurrency),
                self._worker(app, f"{self._work.queue}-{_UPKEEP}", 1),
            ]
            running = [asyncio.create_task(one.run()) for one in workers]  # type: ignore[no-untyped-call]
            while not self._stop.is_set() and not any(one.done() for one in running) and not self._over.is_set():
                await asyncio.wait(running, timeout=_GLANCE, return_when=asyncio.FIRST_COMPLETED)
            self._over.set()
            pending = set(running)
            while pending:  # who is told before it has begun forgets it
                for one in workers:
                    one.stop()  # type: ignore[no-untyped-call]
                _, pending = await asyncio.wait(pending, timeout=_GLANCE)
            ended = await asyncio.gather(*running, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    def _worker(self, app: procrastinate.App, queue: str, concurrency: int) -> Worker:
        return _TellingWorker(
            self._over,
            app=app,
            queues=[queue],
            name=queue,
            concurrency=concurrency,
            fetch_job_polling_interval=LOOK_EVERY,
            update_heartbeat_interval=SIGN_OF_LIFE,
            stalled_worker_timeout=SILENCE,
            delete_jobs=DeleteJobCondition.ALWAYS,  # what became of a batch is in the ledger
            install_signal_handlers=False,
        )

    def _give_tasks(self, app: procrastinate.App) -> None:
        queue = f"{self._work.queue}-{_UPKEEP}"

        @app.task(name=self._work.task, queue=self._work.queue)
        async def send_batch(run: str, batch: int) -> None:
            await self._in_thread(self._threads, lambda: self._work.batch(run, batch, self._over))

        @app.periodic(cron=EVERY)
        @app.task(name=f"{self._work.queue}.retry_stalled", queue=queue)
        async def retry_stalled(timestamp: int) -> None:  # noqa: ARG001 - Procrastinate gives it
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=SILENCE):
                with contextlib.suppress(exceptions.ConnectorException):  # another worker was quicker
                    await app.job_manager.retry_job(job)
                    logs.write("warning", "job_of_a_dead_worker", task=job.task_name, **job.task_kwargs)

        @app.periodic(cron=EVERY)
        @app.task(name=f"{self._work.queue}.tend", queue=queue)
        async def tend(timestamp: int) -> None:  # noqa: ARG001 - as above
            await self._in_thread(self._upkeep, self._tended)

    def _tended(self) -> None:
        if given := self._work.tend():
            logs.write("warning", "batches_had_no_job", batches=given)

    async def _in_thread(self, pool: ThreadPoolExecutor, act: Callable[[], None]) -> None:
        """Whatever it raises is told; the job is over all the same, and its batch gets another."""
        await asyncio.get_running_loop().run_in_executor(pool, _told, act)


class _TellingWorker(Worker):
    """Sets `over` when it stops, for whatever reason: it waits for the jobs that it has, and they should end."""

    def __init__(self, over: threading.Event, **given: Any) -> None:
        super().__init__(**given)
        self._told_over = over

    def stop(self) -> None:
        """See Worker."""
        self._told_over.set()
        super().stop()  # type: ignore[no-untyped-call]
