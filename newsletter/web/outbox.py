"""Sends the confirmation mails, in a thread beside the web server."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable

from newsletter import logs
from newsletter.audience.masking import masked
from newsletter.errors import NewsletterError, shown
from newsletter.pipeline.send_confirmations import Became, Told
from newsletter.web.public import Public
from newsletter.wiring.confirmations import confirmation_sender, confirmations_folder

#: Seconds between two looks at what is due, besides those when somebody asked: mail that was postponed, and requests
#: that another process took.
LOOK = 5.0
#: Before requests that expired are cleared away again, in seconds.
_SWEEP = 3600.0
#: Seconds that the end waits for the call that is out.
_FAREWELL = 10.0
_LEVELS = {Became.SENT: "info", Became.LATER: "warning", Became.REFUSED: "warning", Became.UNKNOWN: "error"}


class Outbox:
    """Looks whenever `public.asked` is set. `say` hears of mails that were only written to disk: somebody trying the
    program out waits for them. Raises TemplateError where no mail can be made."""

    def __init__(self, public: Public, say: Callable[[str], None] = lambda _: None, *, look: float = LOOK) -> None:
        self._public = public
        self._say = say
        self._look = look
        self._sender = confirmation_sender(public.loaded, public.signups, public.keys)
        self._sender.try_out()
        self._folder = shown(confirmations_folder(public.loaded))
        self._stop = threading.Event()
        self._in_trouble = False
        self._waits_for: tuple[str, dt.datetime | None] | None = None
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """See `Worker`."""
        self._thread.start()

    def stop(self) -> None:
        """See `Worker`."""
        self._stop.set()
        self._public.asked.set()
        if self._thread.ident is not None:
            self._thread.join(_FAREWELL)

    def _run(self) -> None:
        sweep_at = 0.0
        while not self._stop.is_set():
            self._public.asked.clear()
            self._guarded(self._send)
            if time.monotonic() >= sweep_at:
                self._guarded(self._sweep)
                sweep_at = time.monotonic() + _SWEEP
            if not self._stop.is_set():
                self._public.asked.wait(self._look)
        self._sender.close()

    def _send(self) -> None:
        self._sender.send_due(self._stop, self._told)

    def _sweep(self) -> None:
        signup = self._public.loaded.settings.web.signup
        removed = self._public.signups.prune(now=dt.datetime.now(dt.UTC), again_after=signup.again_after)
        if removed:
            logs.write("info", "signups_expired", requests=removed)

    def _guarded(self, work: Callable[[], None]) -> None:
        """The thread outlives whatever goes wrong; the database may be away for hours, and that is said once."""
        try:
            work()
        except NewsletterError as error:
            if not self._in_trouble:
                logs.write("warning", "confirmations_wait", error=str(error))
            self._in_trouble = True
        except Exception as error:  # noqa: BLE001 - see above
            logs.write("exception", "confirmations_failed", error=type(error).__name__)
        else:
            self._in_trouble = False

    def _told(self, one: Told) -> None:
        """The log, which has no address; the number is that of the request. Of all those that wait for the same it has
        the first."""
        if one.became is Became.LATER and not one.serious and (one.reason, one.until) == self._waits_for:
            return
        self._waits_for = (one.reason, one.until)
        fields = {"newsletter": one.signup.request.newsletter, "request": one.signup.id}
        if one.reason:
            fields["said"] = one.reason
        if one.until is not None:
            fields["again"] = one.until.isoformat(timespec="seconds")
        logs.write("error" if one.serious else _LEVELS[one.became], f"confirmation_{one.became}", **fields)
        if one.became is Became.SENT and one.reference.startswith(self._folder):
            self._say(f"Confirmation for {masked(one.signup.request.address)}: {one.reference}")
