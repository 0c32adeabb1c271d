"""Counters for Prometheus: recipients by outcome, calls, how long they took, and how runs stand.

https://prometheus.io/docs/practices/naming/ · no address and no run's name is a label: labels are kept for ever.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, write_to_textfile

from newsletter.delivery.observing import EndedCall, Unobserved
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import OutputError, Place

#: Seconds of a call: a fast relay takes milliseconds, the final answer of RFC 5321 up to 600 s.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WHOSE = ("newsletter", "provider")


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recipients = Counter(
            "newsletter_recipients",
            "Recipients of calls that ended, by what the provider answered: accepted, rejected, retry_wait, unknown.",
            (*_WHOSE, "outcome"),
            registry=self.registry,
        )
        self.calls = Counter(
            "newsletter_calls",
            "Provider calls that ended: accepted, partial (not everybody was accepted), failed (nobody was).",
            (*_WHOSE, "result"),
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "newsletter_call_seconds", "How long calls took.", _WHOSE, buckets=_SECONDS, registry=self.registry
        )
        self.pauses = Counter(
            "newsletter_run_pauses", "Runs that stopped by themselves.", _WHOSE, registry=self.registry
        )
        self.events = Counter(
            "newsletter_events",
            "Events that providers posted, repetitions included, by kind: delivered, hard_bounce, complained, …",
            ("source", "kind"),
            registry=self.registry,
        )
        self.run_state = Gauge(
            "newsletter_run_state",
            "1 for the state that the newsletter's last run was left in, 0 for the others.",
            ("newsletter", "state"),
            registry=self.registry,
        )
        self.run_recipients = Gauge(
            "newsletter_run_recipients",
            "Recipients of the newsletter's last run, by state.",
            ("newsletter", "state"),
            registry=self.registry,
        )
        self.run_left = Gauge(
            "newsletter_run_left_timestamp_seconds",
            "When the newsletter's last run ended; 0 where it is not over.",
            ("newsletter",),
            registry=self.registry,
        )

    def run_over(self, run: RunRecord, balance: Balance) -> None:
        """A process let go of a run."""
        newsletter = run.name.newsletter
        for state in RunState:
            self.run_state.labels(newsletter, state.value).set(state is run.state)
        for member_state in DeliveryState:
            self.run_recipients.labels(newsletter, member_state.name.lower()).set(balance.of(member_state))
        self.run_left.labels(newsletter).set(run.ended_at.timestamp() if run.ended_at else 0)

    def write(self, path: Path) -> None:
        """Writes them in Prometheus' text format, whole or not at all, for node_exporter's textfile collector."""
        try:
            write_to_textfile(str(path), self.registry)
        except OSError as error:
            raise OutputError(f"the metrics cannot be written: {error.strerror}", place=Place(path)) from None


class RunMetrics(Unobserved):
    """Counts what the send loop tells of one run."""

    def __init__(self, metrics: Metrics, newsletter: str, provider: str) -> None:
        self._metrics = metrics
        self._whose = (newsletter, provider)

    def ended(self, call: EndedCall) -> None:
        """See `Observer`."""
        if not call.made:
            return
        for state, number in call.counts.items():
            self._metrics.recipients.labels(*self._whose, state.name.lower()).inc(number)
        accepted, members = call.of(DeliveryState.ACCEPTED), sum(call.counts.values())
        result = "accepted" if accepted == members else "partial" if accepted else "failed"
        self._metrics.calls.labels(*self._whose, result).inc()
        self._metrics.call_seconds.labels(*self._whose).observe(call.seconds)

    def paused(self, reason: str) -> None:  # noqa: ARG002 - a label of it would be kept for ever
        """See `Observer`."""
        self._metrics.pauses.labels(*self._whose).inc()
