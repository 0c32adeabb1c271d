"""`subscribers import --send-confirmations`: those who stay pending are asked by mail, there and then."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from newsletter.cli.console import Console, count
from newsletter.cli.draining import draining
from newsletter.cli.exit_codes import ExitCode
from newsletter.errors import shown

if TYPE_CHECKING:
    from newsletter.audience.model import Subscriber
    from newsletter.pipeline.ask_imported import AskedPeople
    from newsletter.pipeline.mail_requests import Mailed
    from newsletter.settings.loaded import Loaded

#: Reasons that are told; more of them are counted.
_MOST_REASONS = 5
_FIRST = "Ending after the mail that is out; the others wait."
_SECOND = "Left at once: nobody knows whether the last mail went out."


def ask_pending(
    console: Console,
    loaded: Loaded,
    rows: Callable[[], Iterable[Subscriber]],
    file: str,
    newsletter: str | None,
) -> tuple[dict[str, object], ExitCode]:
    """Asks everybody in `rows` who is pending, and sends the mails; the answer for programs, and how it ended."""
    from newsletter import wiring  # loads every room; `--help` needs none
    from newsletter.pipeline.ask_imported import ask_imported
    from newsletter.pipeline.mail_requests import mail_requests
    from newsletter.wiring.confirmations import confirmation_sender, confirmations_folder, signup_store, writes_to_disk

    signups = signup_store(loaded)
    stop = threading.Event()
    with console.progress("asking") as progress:
        asked = ask_imported(
            wiring.audience_store(loaded),
            signups,
            loaded,
            rows(),
            file=file,
            newsletter=newsletter,
            now=dt.datetime.now(dt.UTC),
            progress=lambda done: progress(done, done),
        )
    patience = max(one.delivery.retry_for for one in loaded.settings.newsletters.values())
    with (
        draining(stop, first=_FIRST, second=_SECOND),
        console.progress("sending confirmations") as progress,
        closing(confirmation_sender(loaded, signups, wiring.signing_keys(loaded))) as sender,
    ):
        mailed = mail_requests(
            sender,
            stop,
            patience=patience,
            progress=lambda done: progress(done, max(done, asked.requested)),
        )
    folder = shown(confirmations_folder(loaded)) if writes_to_disk(loaded) else ""
    _print(console, asked, mailed, folder)
    return _document(asked, mailed), _ended(mailed, stop)


def _print(console: Console, asked: AskedPeople, mailed: Mailed, folder: str) -> None:
    from newsletter.pipeline.send_confirmations import Became  # see ask_pending

    parts = [f"asked {asked.requested:,}", f"mailed {mailed.count(Became.SENT):,}"]
    named = (("refused", Became.REFUSED), ("unknown", Became.UNKNOWN), ("waiting", Became.LATER))
    parts += [f"{word} {number:,}" for word, became in named if (number := mailed.count(became))]
    if asked.lately:
        parts.append(f"asked lately {asked.lately:,}")
    console.say(f"  {' · '.join(parts)}")
    if folder and mailed.count(Became.SENT):
        console.say(f"  The provider `disk` sends nothing: the mails are in {folder}/")
    for name, number in asked.unclear.items():
        many = count(number, "person", "people")
        console.note(f"  not asked: {many} on {name}, which not one newsletter alone goes to; name one with -n")
    for reason, number in mailed.reasons.most_common(_MOST_REASONS):
        console.note(f"  {number:,} × {reason}")
    if mailed.count(Became.LATER):
        console.note("  Those that wait go out by `newsletter web`, or by the same command again.")


def _document(asked: AskedPeople, mailed: Mailed) -> dict[str, object]:
    from newsletter.pipeline.send_confirmations import Became  # see ask_pending

    became = {one.value: mailed.count(one) for one in Became}
    return {"requested": asked.requested, "asked_lately": asked.lately, "unclear": asked.unclear, **became}


def _ended(mailed: Mailed, stop: threading.Event) -> ExitCode:
    from newsletter.pipeline.send_confirmations import Became  # see ask_pending

    if stop.is_set():
        return ExitCode.INTERRUPTED
    if mailed.count(Became.REFUSED) or mailed.count(Became.UNKNOWN):
        return ExitCode.INCOMPLETE
    return ExitCode.TEMPORARY if mailed.count(Became.LATER) else ExitCode.OK
