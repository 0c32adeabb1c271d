"""Jobs for workers: one for each batch that something is left of, enqueued in the ledger's own transaction.

The queue is Procrastinate's. A job says which batch to look at (`run`, a uid, and `batch`) and nothing more: who sends
is decided in the ledger, so a job too many does no harm, and one too few is made up for by `orphans`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from newsletter.store.person_rows import moment, seconds

if TYPE_CHECKING:
    from procrastinate.manager import JobManager

#: Where jobs for batches wait, and the task that they are for.
QUEUE, TASK = "newsletter", "newsletter.send_batch"
#: Jobs in one statement.
_JOBS_A_TIME = 1_000
#: A job that begins so soon asks for its batch now: whoever finds it in living hands, or leaves it to others, puts it
#: off by less. Seconds.
_SOON = 10


def defer(connection: sa.Connection, uid: str, batches: Iterable[tuple[int, int]]) -> int:
    """Enqueues a job for each (number, seconds since 1970 before which it does not begin); how many."""
    from procrastinate import exceptions  # see _manager
    from procrastinate.jobs import Job

    jobs = [
        Job(
            queue=QUEUE,
            lock=None,
            queueing_lock=None,
            task_name=TASK,
            task_kwargs={"run": uid, "batch": number},
            scheduled_at=moment(due_at),
        )
        for number, due_at in batches
    ]
    driver: Any = connection.connection.driver_connection
    for start in range(0, len(jobs), _JOBS_A_TIME):
        try:
            _manager().batch_defer_jobs(jobs[start : start + _JOBS_A_TIME], connection=driver)
        except exceptions.ConnectorException as error:
            raise error.__cause__ or error from None  # as everything else of the transaction fails
    return len(jobs)


def orphans(connection: sa.Connection, run_id: int, uid: str, now: dt.datetime) -> Sequence[tuple[int, int]]:
    """Batches of the run that are due some time, or in somebody's hands, and that no job asks for then: number, due at.

    One that begins later was meant for something else, as for a retry of a batch that was opened again since.
    """
    which = {"of_run": run_id, "uid": uid, "soon": moment(seconds(now) + _SOON)}
    return [(found.number, found.due_at) for found in connection.execute(_ORPHANS, which)]


@cache
def _manager() -> JobManager:
    # imported here: it is an extra, and takes long to load
    from procrastinate.manager import JobManager
    from procrastinate.sync_psycopg_connector import SyncPsycopgConnector

    return JobManager(SyncPsycopgConnector())  # never opened: each call brings its connection


#: A worker gives a sign of life every three seconds, and takes its row away when it ends.
ANY_WORKER = sa.text(
    "SELECT EXISTS (SELECT FROM procrastinate_workers WHERE last_heartbeat > now() - interval '15 seconds')"
)
_ORPHANS = sa.text("""
    WITH asked AS (
        SELECT (args ->> 'batch')::int AS number,
        min(CASE WHEN status = 'doing' OR scheduled_at IS NULL THEN '-infinity' ELSE scheduled_at END) AS at
        FROM procrastinate_jobs
        WHERE status IN ('todo', 'doing') AND task_name = 'newsletter.send_batch' AND args ->> 'run' = :uid
        GROUP BY 1
    )
    SELECT batch.number, coalesce(batch.due_at, 0) AS due_at FROM batch
    LEFT JOIN asked ON asked.number = batch.number
    AND asked.at <= greatest(to_timestamp(batch.due_at), cast(:soon AS timestamptz))
    WHERE batch.run_id = :of_run AND (batch.due_at IS NOT NULL OR batch.sender_id IS NOT NULL)
    AND asked.number IS NULL ORDER BY batch.number
""")
