"""`worker`: a process that sends batches of runs, one of any number on any number of machines."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.context import Globals, globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption
from newsletter.cli.sending import MetricsOption
from newsletter.errors import NewsletterError, TemporaryError, UsageError

if TYPE_CHECKING:
    from newsletter.metrics import Metrics
    from newsletter.settings.loaded import Loaded
    from newsletter.wiring.workers import WorkerParts

_FIRST = "Ending after the calls that are out; the rest is put back for others. Once more leaves at once."
_SECOND = "Left at once: what was out is unknown, and the rest is taken up by another worker."
#: Seconds between two writings of the metrics.
_METRICS_EVERY = 5.0
#: Seconds between two tries to reach a database at the start: the first, doubled up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


def worker(
    context: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", min=1, max=256, help="Batches at a time; else the settings' calls."),
    ] = None,
    metrics: MetricsOption = None,
    json: JsonOption = False,
) -> None:
    """Send batches of runs that others hand over, until SIGTERM: on as many machines as you like (PostgreSQL).

    For newsletters with delivery.engine = "procrastinate". SIGTERM or Ctrl-C finishes the calls that are out, puts the
    rest back for other workers, and ends. All workers need the same version, config.toml, templates and issues.

    \b
    Examples:
      newsletter worker
      newsletter worker --concurrency 8 --metrics /var/lib/node_exporter/newsletter.prom
    """
    options = globals_of(context, json=json)
    if options.newsletter is not None:
        raise UsageError("a worker is for all newsletters that workers send", hint="Leave out -n.")
    from newsletter.wiring.workers import refuse_unfit_worker  # not needed by --help, like all below

    loaded = options.settings()
    refuse_unfit_worker(loaded)
    from newsletter import logs
    from newsletter.cli.frugality import keep_little

    logs.configure(terminal=sys.stderr.isatty(), plain=not options.console.verbose)
    keep_little()
    _work(options, concurrency, metrics)
    raise typer.Exit(ExitCode.OK)


def _work(options: Globals, concurrency: int | None, metrics_file: Path | None) -> None:
    from newsletter import logs
    from newsletter.cli.draining import draining
    from newsletter.metrics import Metrics
    from newsletter.wiring.workers import most_threads
    from newsletter.worker.batches import Batches
    from newsletter.worker.serving import Work, serve

    loaded, stop, metrics = options.settings(), threading.Event(), Metrics()
    many = concurrency or most_threads(loaded)
    with draining(stop, first=_FIRST, second=_SECOND), ExitStack() as opened:
        parts = _opened(loaded, metrics, stop)
        if parts is None:
            return
        opened.callback(parts.close)
        batches = Batches(parts)
        work = Work(parts.queue, parts.task, batches.one, batches.tend, batches.compare, batches.shorten)
        with suppress(OSError):  # the journal needs it, and says so; what is written for metrics may
            (loaded.folder / "var").mkdir(exist_ok=True)
        logs.write("info", "worker_began", concurrency=many)
        writer = threading.Thread(target=_write, args=(metrics, metrics_file, stop), name="metrics", daemon=True)
        writer.start()
        serve(work, parts.connection, many, stop)
        stop.set()
        writer.join()
    logs.write("info", "worker_ended")


def _opened(loaded: Loaded, metrics: Metrics, stop: threading.Event) -> WorkerParts | None:
    """The worker's parts; a database that is away, as after a machine's start, is waited for. None: it is to end."""
    from newsletter import logs
    from newsletter.wiring.workers import worker_parts

    pause = _FIRST_PAUSE
    while not stop.is_set():
        try:
            return worker_parts(loaded, lambda text: logs.write("info", "note", title=text), metrics)
        except TemporaryError as error:
            logs.write("error", "database_trouble", error=str(error), next_try_seconds=pause)
        stop.wait(pause)
        pause = min(_LONGEST_PAUSE, 2 * pause)
    return None


def _write(metrics: Metrics, file: Path | None, stop: threading.Event) -> None:
    """Writes the metrics every few seconds, and at the end."""
    from newsletter import logs

    while file is not None:
        ends = stop.wait(_METRICS_EVERY)
        try:
            metrics.write(file)
        except NewsletterError as error:  # the mail matters more
            logs.write("error", "metrics_not_written", error=str(error))
        if ends:
            return
