"""A worker's part of a run: batches that it was given, sent by the send loop as a whole run is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from newsletter.delivery.breakers import Breakers
from newsletter.delivery.ledger import BatchLedger
from newsletter.delivery.observing import EndedCall
from newsletter.delivery.pace_records import TallyRecords
from newsletter.delivery.send import SendResult
from newsletter.pipeline.prepare import Prepared
from newsletter.pipeline.send_issue import SendTools, keep_links, send_taken
from newsletter.rendering.model import RenderedIssue, Variant


class RunAtWork:
    """One run as this worker sends it: its issue is rendered once, and its calls are judged together, whatever batches
    they are of. Used by several threads at once.

    `tally` counts the calls of all workers; `changes` gives, while its block lasts, an event that is set when the run
    may have been paused or cancelled.
    """

    def __init__(
        self,
        prepared: Prepared,
        tools: SendTools,
        tally: TallyRecords,
        changes: Callable[[], AbstractContextManager[threading.Event]],
    ) -> None:
        self.prepared = prepared
        self._tools = tools
        self._breakers = Breakers(prepared.newsletter.delivery.pause_on_failure_rate, tally)
        self._changes = changes
        self._judging, self._rendering = threading.Lock(), threading.Lock()

    def begin(self) -> None:
        """Before the first mail of it: the issue is in the archive, and its counted links lead somewhere. Raises what
        the store does."""
        self._tools.publish(self.prepared)
        keep_links(self.prepared, self._tools.tracking)

    def send(self, taken: BatchLedger, stop: threading.Event) -> SendResult:
        """Sends the batch, a call at a time, until it halts or `stop` is set; then lets go of it.

        Raises what `send_run` raises; then the batch must be abandoned.
        """
        tools = replace(self._tools, stop=stop)
        with self._changes() as changed:
            return send_taken(
                self.prepared,
                taken,
                taken.run.deadline,
                tools,
                concurrency=1,
                tripped=self._tripped,
                rendered=self._render,
                begun_at=taken.run.started_at,
                changed=changed,
            )

    def _tripped(self, call: EndedCall) -> str:
        with self._judging:
            return self._breakers.tripped(call)

    def _render(self, variant: Variant) -> RenderedIssue:
        with self._rendering:  # the renderer keeps what it made
            return self.prepared.renderer.render(self.prepared.issue, variant)
