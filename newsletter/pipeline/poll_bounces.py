"""Reads the mailbox for bounces: keeps what its messages tell, marks them as done, and settles what follows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from newsletter.events.bounce_message import Sort, read_message
from newsletter.events.mailboxes import Mailbox
from newsletter.events.model import Event, EventKind
from newsletter.pipeline.bounce_events import UNPROVEN, events_of
from newsletter.pipeline.take_events import EventTools, Taken, take_events
from newsletter.pipeline.whose_mail import Owners

#: Messages whose events are kept in one transaction, and which are marked as done after it.
_AT_A_TIME = 100
#: Unproven events that are shown one by one.
MOST_SHOWN = 50


@dataclass(slots=True)
class Polled:
    """What was read: messages = those with events + auto_replies + not_understood + unreadable.

    `kinds` counts the events that are proven to be about somebody's mail, `unproven` those that are not, of which
    `shown` holds the first. `new` are those not kept before. `taken` is what came of all that waited.
    """

    messages: int = 0
    kinds: Counter[EventKind] = field(default_factory=Counter)
    unproven: int = 0
    tests: int = 0
    auto_replies: int = 0
    not_understood: int = 0
    unreadable: int = 0
    new: int = 0
    shown: list[Event] = field(default_factory=list)
    #: Why some could not be read or marked, by the words.
    failures: Counter[str] = field(default_factory=Counter)
    taken: Taken = field(default_factory=Taken)

    def count(self, sort: Sort, events: Sequence[Event]) -> None:
        """Adds up one message."""
        self.messages += 1
        if not events:
            self.auto_replies += sort in (Sort.AUTO_REPLY, Sort.GENERATED)
            self.not_understood += sort not in (Sort.AUTO_REPLY, Sort.GENERATED)
        for one in events:
            if one.subscriber_id is not None:
                self.kinds[one.kind] += 1
            elif one.reason.startswith(UNPROVEN):
                self.unproven += 1
                self.shown += [one] if len(self.shown) < MOST_SHOWN else []
            else:
                self.tests += 1

    def fail(self, error: OSError) -> None:
        """Adds up one that stays for the next time."""
        self.failures[str(error)[:200]] += 1

    @property
    def bounces(self) -> Mapping[str, int]:
        """The bounces by what they mean for the person."""
        kinds = {"hard": EventKind.HARD_BOUNCE, "soft": EventKind.SOFT_BOUNCE, "blocked": EventKind.BLOCKED}
        return {word: self.kinds[kind] for word, kind in kinds.items()}


def poll_bounces(
    box: Mailbox, owners: Owners, tools: EventTools, *, now: Callable[[], dt.datetime], dry_run: bool = False
) -> Polled:
    """Reads every message that waits, and settles what follows. One that cannot be read stays, and stops nothing.

    Whatever ends it in between: what was not marked as done is read again, and what was kept is known by then.
    `dry_run` keeps, marks and settles nothing.
    """
    polled = Polled()
    names = box.waiting()
    while some := list(islice(names, _AT_A_TIME)):
        events: list[Event] = []
        read = []
        for name, message in _read(box, some, polled):
            read.append(name)
            returned = read_message(message)
            found = events_of(returned, message, owners, now())
            polled.count(returned.sort, found)
            events += found
        if dry_run:
            continue
        polled.new += tools.inbox.keep(events, now=now())
        for name in read:
            try:
                box.done(name)
            except OSError as error:
                polled.fail(error)
    if not dry_run:
        polled.taken = take_events(tools, now=now)
    return polled


def _read(box: Mailbox, names: Sequence[str], polled: Polled) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            yield name, box.read(name)
        except FileNotFoundError:
            continue  # another process took it meanwhile
        except OSError as error:
            polled.messages += 1
            polled.unreadable += 1
            polled.fail(error)
