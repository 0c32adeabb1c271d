"""The log: what happens while mail goes out, as events with fields; never a secret, and no address.

Silent unless `configure` is called. `key=value` on a terminal, a JSON object a line elsewhere.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sys
from collections.abc import MutableMapping
from typing import Any

from newsletter.delivery.names import RunName
from newsletter.delivery.observing import EndedCall, Unobserved
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState
from newsletter.errors import NewsletterError

_ADDRESS = re.compile(r"[^\s<>()\"':;,=]+@[^\s<>()\"':;,]+")
#: Values that must not appear, wherever they come from: a server may repeat the password that it refuses.
_secrets: set[str] = set()
#: Shorter ones are in too many words.
_SHORTEST_SECRET = 4
_FIRST = ("timestamp", "level", "event", "run")


def never(secret: str) -> str:
    """Keeps a secret out of every line from now on, and returns it."""
    if len(secret) >= _SHORTEST_SECRET:
        _secrets.add(secret)
    return secret


def without_secrets(text: str) -> str:
    """The text with every secret that `never` was told of masked."""
    for secret in tuple(_secrets):  # another thread may add one
        text = text.replace(secret, "…")
    return text


def discreet(text: str) -> str:
    """The text without secrets, and with every address masked."""
    return _ADDRESS.sub("<address>", without_secrets(text))


def configure(*, terminal: bool, plain: bool = False) -> None:
    """Writes the log to standard error from now on; `terminal`: for people, `plain`: in words, with the time of day."""
    import structlog  # brings 10 MB of other libraries, and most commands have no log

    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False, default=str)
    if terminal:
        renderer = _in_words if plain else structlog.processors.KeyValueRenderer(key_order=_FIRST, drop_missing=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _discreet,
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=False,
    )
    _state["on"] = True


_state = {"on": False}


def write(level: str, event: str, /, **fields: object) -> None:
    """A line of the log, where that is on; `level`: debug, info, warning or error; exception: error, with the
    traceback of the exception that is being handled."""
    if _state["on"]:
        import structlog  # see configure

        traceback = {"exc_info": True} if level == "exception" else {}
        getattr(structlog.get_logger(), level)(event, **traceback, **fields)


class RunLog(Unobserved):
    """Writes what the send loop tells of one run; calls of which everybody was accepted are no news."""

    def __init__(self, run: RunName, provider: str) -> None:
        self._fields = {"run": str(run), "provider": provider}

    def began(self) -> None:
        """This process is about to take the run."""
        self._write("info", "run_began")

    def shared(self, run: RunRecord) -> None:
        """The run was handed to workers."""
        self._write("info", "run_handed_to_workers", deadline=run.deadline.isoformat(timespec="seconds"))

    def no_worker(self, *, alive: bool) -> None:
        """It was, and none of them has taken up a part of it."""
        self._write("warning", "no_worker_at_work" if alive else "no_worker_alive")

    def over(self, run: RunRecord, balance: Balance) -> None:
        """This process let go of it."""
        counts = {state.name.lower(): number for state, number in sorted(balance.counts.items()) if number}
        reason = {"reason": run.reason} if run.reason else {}
        self._write("info", "run_left", state=run.state.value, recipients=balance.planned, **counts, **reason)

    def failed(self, error: BaseException) -> None:
        """It let go of it because of an error, or never had it."""
        self._write("error", "run_failed", error=f"{type(error).__name__}: {error}")

    def ended(self, call: EndedCall) -> None:
        """See `Observer`."""
        members = sum(call.counts.values())
        if call.of(DeliveryState.ACCEPTED) == members:
            return
        claim = call.report.claim
        said = max(call.words, key=lambda key: call.words[key], default=(DeliveryState.UNKNOWN, ""))[1]
        counts = {state.name.lower(): number for state, number in sorted(call.counts.items())}
        self._write(
            "warning",
            "call_ended",
            batch=claim.batch,
            attempt=claim.attempt,
            seconds=round(call.seconds, 3),
            **counts,
            said=said,
        )

    def waiting(self, until: dt.datetime) -> None:
        """See `Observer`."""
        self._write("info", "run_waits", until=until.isoformat(timespec="seconds"))

    def paused(self, reason: str) -> None:
        """See `Observer`."""
        self._write("warning", "run_paused", reason=reason)

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        """See `Observer`."""
        self._write("warning", "database_trouble", error=str(error), next_try_seconds=round(next_try, 2))

    def database_back(self) -> None:
        """See `Observer`."""
        self._write("info", "database_back")

    def _write(self, level: str, event: str, **fields: object) -> None:
        write(level, event, **self._fields, **fields)


class _StandardError:
    """Writes lines to whatever standard error is at that moment: a progress bar may stand there."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log itself

    debug = info = warning = error = critical = exception = msg


def _in_words(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> str:
    """`06:30:00  daily-buzz/2026-01-07  run left  state finished, recipients 12,481`."""
    at = dt.datetime.fromisoformat(fields.pop("timestamp")).astimezone()
    level, event, run = fields.pop("level"), str(fields.pop("event")).replace("_", " "), fields.pop("run", "")
    said = fields.pop("title", "") or event
    traceback = fields.pop("exception", "")
    for name in ("key", "occasion", "text"):  # of an alert, for machines or too long
        fields.pop(name, None)
    facts = ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in fields.items() if value != "")
    warned = "" if level in ("info", "debug") else f"{level}: "
    words = "  ".join(part for part in (f"{at:%H:%M:%S}", str(run), warned + said, facts) if part)
    return f"{words}\n{traceback}" if traceback else words


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _discreet(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = discreet(value)
    return fields
