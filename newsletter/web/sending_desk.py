"""Runs that were started over the API, each sent by a thread of this process until it is over or the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from newsletter import logs
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.errors import GuardRefused, NewsletterError, TemporaryError
from newsletter.metrics import Metrics
from newsletter.pipeline.request import IssueRequest
from newsletter.wiring import sending
from newsletter.wiring.sending import LiveSend, Watchers


@dataclass(slots=True)
class SendingDesk:
    """The guards are those of `newsletter send`; they speak before a run begins. What a killed process leaves, `resume`
    goes on with, here or on the command line.

    Methods are for any thread. `close` has every run stop after its calls in flight, and waits for them.
    """

    runs: Ledger
    people: AudienceStore
    metrics: Metrics = field(default_factory=Metrics)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: None: it is being looked at, and no thread has it yet
    _busy: dict[RunName, threading.Thread | None] = field(default_factory=dict)

    def send(self, request: IssueRequest, *, confirmed: int, limit: int | None) -> RunRecord:
        """Plans the run of an issue and begins to send it; the run as it was planned.

        Raises GuardRefused and ChecksFailed, with nothing changed, and what `wiring.sending.live_send` raises.
        """

        def planned() -> tuple[LiveSend, RunRecord]:
            live = sending.live_send(request, say, runs=self.runs, people=self.people)
            try:
                return live, live.plan(live.ready(say), confirmed=confirmed)
            except BaseException:
                live.close()
                raise

        return self._begin(_run_of(request), planned, limit)

    def resume(self, request: IssueRequest, *, confirmed: int | None, limit: int | None) -> RunRecord:
        """Goes on with the run of an issue. Raises NothingToDo, GuardRefused, and what `wiring.sending` does."""

        def found() -> tuple[LiveSend, RunRecord]:
            live, run = sending.resumed_send(request, say, runs=self.runs, people=self.people)
            try:
                if confirmed is not None:
                    live.refuse_other_count(run, confirmed)
            except BaseException:
                live.close()
                raise
            return live, run

        return self._begin(_run_of(request), found, limit)

    def close(self) -> None:
        """Ends what is being sent, after the calls in flight. May be called twice."""
        self._stop.set()
        while True:
            with self._lock:
                threads = [one for one in self._busy.values() if one is not None]
            if not threads:
                return
            for thread in threads:
                thread.join()

    def _begin(self, name: RunName, prepare: Callable[[], tuple[LiveSend, RunRecord]], limit: int | None) -> RunRecord:
        with self._lock:
            if self._stop.is_set():
                raise TemporaryError("this process is about to end", hint="Ask again once it was started anew.")
            if name in self._busy:
                raise GuardRefused(f"{name} is being sent by this process", hint=f"To stop it: newsletter pause {name}")
            self._busy[name] = None
        live = None
        try:
            live, run = prepare()
            thread = threading.Thread(target=self._send, args=(name, live, run, limit), name=f"api {name}", daemon=True)
            with self._lock:
                thread.start()
                self._busy[name] = thread
        except BaseException:
            if live is not None:
                live.close()
            with self._lock:
                del self._busy[name]
            raise
        return run

    def _send(self, name: RunName, live: LiveSend, run: RunRecord, limit: int | None) -> None:
        try:
            live.resume(run, Watchers(self._stop, metrics=self.metrics), limit=limit)
        except NewsletterError:
            pass  # the run's own log has it, and its state says where it stands
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            logs.write("exception", "sending_failed", run=str(name), error=type(error).__name__)
        finally:
            live.close()
            with self._lock:
                del self._busy[name]


def _run_of(request: IssueRequest) -> RunName:
    return RunName(request.name, str(request.ref))


def say(words: str) -> None:
    """What the program has to say beside its answer, such as a copy of the database that it made."""
    logs.write("info", "said", words=words)
