"""The audience of one issue, as the database has it: whom it goes to, in the order of their ids, and whom not, and why.

People are read when they are needed; what is held of a million of them are their ids, 8 bytes each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.model import Audience, Excluded, Exclusion, Member
from newsletter.audience.people import PlannedAudience, Selection
from newsletter.audience.store import AudienceStore
from newsletter.errors import AudienceError, UsageError
from newsletter.issue.model import Issue
from newsletter.pipeline.issue_lists import lists_named
from newsletter.pipeline.left_out_rows import LeftOutRows
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.sync_subscribers import subscriber_files
from newsletter.settings.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class AudienceNumbers:
    """How many members an issue has, and how many else are on its lists: all that a send asks before it plans a run.

    `numbers` is what `AudienceStore.count` says; `rows` are the rows of subscriber files that came to nothing;
    `previous` is how many members the newsletter's last run had, None before the first.
    """

    store: AudienceStore
    selection: Selection
    numbers: Mapping[str, int]
    rows: LeftOutRows
    previous: int | None

    @property
    def planned(self) -> int:
        """How many members there are."""
        return self.numbers["planned"]

    def timezones(self) -> Sequence[str]:
        """The time zones of the members, each once, as they are kept."""
        return self.store.timezones(self.selection)

    def left_out(self) -> dict[Exclusion, int]:
        """How many are left out for each reason that occurs, in the order of `Exclusion`."""
        counts = {reason: self.numbers.get(reason, 0) + self.rows.counts.get(reason, 0) for reason in Exclusion}
        return {reason: count for reason, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class IssueAudience(AudienceNumbers):
    """The members of an issue and everyone else on its lists, one by one."""

    plan: PlannedAudience

    def members(self) -> Iterator[Member]:
        """The members, by id."""
        return self.store.members(self.plan.members)

    def excluded(self) -> Iterator[Excluded]:
        """Everyone left out: people first, by reason and id, then rows of files."""
        for reason in Exclusion:
            if ids := self.plan.excluded.get(reason):
                yield from self.store.left_out(reason, ids, self.selection)
        yield from self.rows

    def shown(self, members: int, excluded: int) -> Audience:
        """The audience in numbers, with so many of the first members and of those left out by name."""
        first = tuple(self.store.members(self.plan.members[:members]))
        return Audience(self.planned, self.left_out(), first, tuple(islice(self.excluded(), excluded)))

    def member_at(self, address: str | None) -> Member | None:
        """The member with this address (None: the first one); None where there are no members.

        Raises UsageError, with the reason, where `address` gets no mail.
        """
        if address is None:
            return next(self.store.members(self.plan.members[:1]), None)
        try:
            key = parse_address(address).key
        except BadAddress:
            key = address.strip().casefold()
        person = self.store.person(key)
        number = person.id if person else None
        if number is not None and _holds(self.plan.members, number):
            return next(self.store.members([number]), None)
        raise UsageError(
            f"{address} would not get this issue: {self._why_not(key, number)}",
            hint="--as takes the address of a recipient",
        )

    def _why_not(self, key: str, number: int | None) -> str:
        found = self._excluded_person(number) or next((row for row in self.rows if row.address.casefold() == key), None)
        return f"{found.reason}: {found.detail} ({found.place})" if found else "is on none of its lists"

    def _excluded_person(self, number: int | None) -> Excluded | None:
        for reason, ids in self.plan.excluded.items():
            if number is not None and _holds(ids, number):
                return next(self.store.left_out(reason, [number], self.selection), None)
        return None


def lists_of(request: IssueRequest, issue: Issue) -> Selection:
    """Whom the issue is for. Raises IssueError where it names a list that is not the newsletter's."""
    return Selection(lists=lists_named(request, issue))


def refuse_unknown_lists(request: IssueRequest, selection: Selection, store: AudienceStore, rows: LeftOutRows) -> None:
    """Raises AudienceError where nobody was ever on one of the lists and no file is for it: a name that was mistyped
    must not look like an audience of nobody. `rows` are what came of the subscriber files."""
    known = {*store.lists(), *(file.stem for file in subscriber_files(request.loaded)), *rows.named}
    for name in selection.lists:
        if name not in known:
            raise AudienceError(
                f"nobody was ever on the list {name!r}, and no file is for it",
                place=request.loaded.place(f"newsletters.{request.name}.lists"),
                hint=did_you_mean(name, known)
                or f"Put people on it: newsletter subscribers import FILE --list {name}"
                + (f". Lists there are: {', '.join(sorted(known))}" if known else ""),
            )


def numbers_of(request: IssueRequest, selection: Selection, store: AudienceStore, rows: LeftOutRows) -> AudienceNumbers:
    """The audience as the database has it now, counted; `rows` are what came of the subscriber files."""
    return AudienceNumbers(store, selection, store.count(selection), rows, store.last_planned(request.name))


def audience_of(request: IssueRequest, selection: Selection, store: AudienceStore, rows: LeftOutRows) -> IssueAudience:
    """The same with everybody in it."""
    plan = store.plan(selection)
    numbers = {"planned": len(plan.members)} | {str(reason): len(ids) for reason, ids in plan.excluded.items()}
    return IssueAudience(store, selection, numbers, rows, store.last_planned(request.name), plan)


def _holds(ids: Sequence[int], number: int) -> bool:
    at = bisect_left(ids, number)
    return at < len(ids) and ids[at] == number
